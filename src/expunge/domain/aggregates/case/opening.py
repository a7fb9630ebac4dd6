"""How a case begins: a request, taken at the door."""

from __future__ import annotations

from datetime import datetime

from expunge.domain.aggregates.case import confirm, resolution
from expunge.domain.aggregates.case.deadlines import end_term
from expunge.domain.aggregates.case.effects import Reject, WriteRoot
from expunge.domain.aggregates.case.fact import CaseFact
from expunge.domain.aggregates.case.state import Case, Deadline
from expunge.domain.aggregates.case.turn import Turn
from expunge.domain.digest import digest
from expunge.domain.planning.policy.clocks import deadlines
from expunge.domain.planning.policy.rules import Policy
from expunge.domain.scope import ScopeKind
from expunge.domain.values import Hex
from expunge.domain.vocabulary import Regime
from expunge.wire.cases.case import RequestTaken, Root


class Opened(CaseFact):
    """A request became a case."""

    fact = "opened"
    scope: ScopeKind
    regime: Regime
    publisher: str
    received_at: datetime
    clamped: bool
    clock: str
    """The rule of policy that the dates come from; they stand in the zone where its days begin."""
    acknowledge_by: datetime | None = None
    """Until when the requester must have heard that it was received, where the law says so."""
    acknowledged_late: bool = False
    due_at: datetime
    warn_at: datetime
    extendable_to: datetime | None = None
    extended_warn_at: datetime | None = None
    provisions: tuple[tuple[str, datetime], ...] = ()
    """Of an order: id and deadline of each."""
    dry_run: bool
    forget_at: datetime | None = None
    """Of a dry run, which ends with its plan: until when it is kept."""
    commitment: Hex
    """Digest of salt and content: it binds the ledger to the request without telling what it was."""

    def begin(self, root: Root, now: datetime) -> Case:
        """The first state; what may not stand in the ledger comes from the root part in `plans`."""
        return Case(
            case_id=root.case_id,
            request_id=root.request_id,
            source=root.source,
            publisher=self.publisher,
            policy=root.policy,
            scope=self.scope,
            regime=self.regime,
            received_at=self.received_at,
            clamped=self.clamped,
            clock=self.clock,
            due_at=self.due_at,
            warn_at=self.warn_at,
            extendable_to=self.extendable_to,
            extended_warn_at=self.extended_warn_at,
            deadlines=tuple(Deadline(provision=provision, due_at=due_at) for provision, due_at in self.provisions),
            opened_at=now,
            dry_run=self.dry_run,
            correlation_id=root.correlation_id,
            batch=root.batch,
            content=root.content,
            now=now,
            sequence=1,
            watermark=root.watermark,
            until=root.scope.until,
            forget_at=self.forget_at,
        )


def open_case(turn: Turn, message: RequestTaken) -> None:
    """A request: a new case, a repetition of one, or another request under the same id."""
    root = message.root
    if turn.case_or_none is not None:
        if turn.case.content != root.content:
            turn.emit(Reject(root, "request_id_reused"))
        return
    fact = _first_fact(root, turn.policy_of(root.policy), turn.now)
    turn.open(fact.begin(root, turn.now), fact)
    turn.emit(WriteRoot(root))
    confirm.say(turn, "acknowledged")
    resolution.begin(turn)
    end_term(turn)  # of what is overdue when it comes its requester hears so before it hears anything else


def _first_fact(root: Root, policy: Policy, now: datetime) -> Opened:
    dates = deadlines(policy, root.regime, root.jurisdiction, root.received_at)
    return Opened(
        scope=root.scope.kind,
        regime=root.regime,
        publisher=root.publisher,
        received_at=root.received_at,
        clamped=root.clamped,
        clock=dates.clock,
        acknowledge_by=dates.acknowledge,
        acknowledged_late=dates.acknowledge is not None and now > dates.acknowledge,
        due_at=max((each.due_at for each in root.scope.provisions), default=dates.due),
        warn_at=min((each.due_at for each in root.scope.provisions), default=dates.due) - dates.warning,
        extendable_to=dates.extended,
        extended_warn_at=dates.extended - dates.warning if dates.extended else None,
        provisions=tuple((each.id, each.due_at) for each in root.scope.provisions),
        dry_run=root.dry_run,
        forget_at=policy.retention.until(now) if root.dry_run else None,
        commitment=digest("commitment", root.salt, root.content).hex(),
    )
