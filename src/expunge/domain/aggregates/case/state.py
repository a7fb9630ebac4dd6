"""The state of a case: a bounded record; its chunks stand beside it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any, Protocol

from pydantic import Field, field_serializer

from expunge.domain.aggregates.case.chunks import GONE, LETTERS, ChunkState, Tally
from expunge.domain.limits import MAX_SMALL_OBLIGATIONS
from expunge.domain.planning.chunks import Chunk
from expunge.domain.scope import Granted, ScopeKind
from expunge.domain.values import A_DAY, Hex, Value
from expunge.domain.vocabulary import CLOSED, OVER, UNDONE, Action, Regime, Status
from expunge.wire.cases.case import Root


class HeldBack(Value):
    """A late asset that waits for the next generation."""

    key: Hex
    arrival: int
    holding: bool = False
    returned: int = 0


class Generation(Value):
    """One plan of a case: its walk, and how far its purge has come. What is found later is the next generation."""

    number: int
    announced: frozenset[str] = frozenset()
    answered: frozenset[str] = frozenset()
    pending: dict[str, int] = Field(default_factory=dict)
    """Containers to be made anew, and when they came back (milliseconds since 1970; 0: they were never gone). They are
    planned when the walk has ended, so that all they must leave out is known."""
    settles_at: datetime | None = None
    """Until when it collects what is late; the first generation waits for nothing."""
    fixed: bool = False
    fixed_at: datetime | None = None
    plan_digest: str = ""
    sizes: dict[int, int] = Field(default_factory=dict)
    """Stage -> chunks that can be commanded."""
    sent: dict[int, int] = Field(default_factory=dict)
    unsettled: dict[int, int] = Field(default_factory=dict)
    chunks: int = 0
    obligations: int = 0
    dues: dict[int, datetime] = Field(default_factory=dict)
    """Stage -> the earliest due date of what is in it, where an order sets one."""
    counted: dict[str, dict[str, int]] = Field(default_factory=dict)
    """System -> kind -> obligations."""
    approvals: int = 0
    """Distinct operators who must approve the plan; 0: it need not wait."""
    approved_by: tuple[str, ...] = ()
    rates: dict[str, tuple[int, int]] = Field(default_factory=dict)
    """Rate -> group and place, for those that have not let the plan go; (0, 0): not answered yet."""
    rejected: bool = False
    guard: tuple[str, ...] = ()
    """The thresholds that it lies above."""
    stage: int = 0
    """The stage under way; 0 before the first."""
    stage_ends_at: datetime | None = None
    done: bool = False
    """Every stage has ended."""
    reopened: bool = False
    """The case was reopened for it: that is said once."""

    @field_serializer("announced", "answered")
    def _sorted(self, ids: frozenset[str]) -> list[str]:
        """The same state is the same bytes in every process."""
        return sorted(ids)

    @property
    def awaiting(self) -> bool:
        """Whether it waits for operators."""
        return not self.rejected and (len(self.approved_by) < self.approvals or any(g for g, _ in self.rates.values()))

    @property
    def waits(self) -> bool:
        """Whether it may not go yet, for operators or because it is still being counted."""
        return self.awaiting or (bool(self.rates) and not self.rejected)

    @property
    def free(self) -> bool:
        """Whether it may be carried out, as far as it is concerned itself."""
        return self.fixed and not self.waits and not self.rejected

    @property
    def walked(self) -> bool:
        """Whether every announced task has answered (an answer may precede its announcement)."""
        return bool(self.announced) and self.announced == self.answered


class Probe(Value):
    """The last probe of a case: somebody was asked whether what was said to be gone is gone."""

    number: int
    seed: Hex
    """Says which obligations are chosen; before the probe nobody knows it who has not the deployment's secret."""
    sample: int
    """So many; 0: all."""
    of: int
    """Of so many, about, that could be looked at when it began."""
    ends_at: datetime
    """Who has not answered by then is waited for no longer."""
    after: str = ""
    """The last chunk about which it was asked, or not."""
    passed: int = 0
    """Of how many obligations it was asked, or not."""
    is_asked: bool = False
    """Whether all questions were put."""
    is_over: bool = False
    """Whether nobody is waited for any more; what is found still counts."""
    asked: int = 0
    absent: int = 0
    found: int = 0
    unknown: int = 0
    besides: int = 0
    """Found, and not asked about by it."""

    @property
    def silent(self) -> int:
        """Obligations of which nobody has said anything."""
        return self.asked - self.absent - self.found - self.unknown


class ProbeDue(Value):
    """A probe to come."""

    at: datetime
    sample: int


class Deadline(Value):
    """The deadline of a provision of an order."""

    provision: str
    due_at: datetime
    ended: bool = False


class Case(Value):
    """Expunge's record of carrying a request out. Its size does not grow with the number of assets."""

    case_id: Hex
    request_id: str
    source: str
    publisher: str
    policy: Hex
    """Pinned: everything in this case is planned and carried out under it (rule "pinned policy")."""
    scope: ScopeKind
    regime: Regime
    received_at: datetime
    clamped: bool
    clock: str
    due_at: datetime
    warn_at: datetime
    extended_warn_at: datetime | None = None
    extendable_to: datetime | None
    """Until when an operator may put the due date off; None where the law knows no extension."""
    deadlines: tuple[Deadline, ...] = ()
    opened_at: datetime
    dry_run: bool
    correlation_id: str | None
    batch: str | None
    content: Hex
    now: datetime
    told_at: datetime | None = None
    """When its last fact was told, which the ledger says, too; `now` also moves with messages that change nothing."""
    sequence: int = 0
    status: Status = Status.RESOLVING
    until: int = 0
    """See `Scope.until`."""
    granted: tuple[Granted, ...] = ()
    """Revoked purposes that were granted again since."""
    held: tuple[HeldBack, ...] = ()
    """Late assets that wait for the next generation, at most `late.MAX_HELD`."""
    watermark: dict[str, dict[str, int]] = Field(default_factory=dict)
    """What the indexers must still apply before the case may close; empty when they have."""
    walk_retry_at: datetime | None = None
    walk_waits: int = 0
    generations: tuple[Generation, ...] = ()
    population: dict[str, int] = Field(default_factory=dict)
    """System -> how many assets it had registered when the request was resolved, about."""
    counts: tuple[tuple[Tally, int], ...] = ()
    unfinished: int = 0
    """Commandable chunks from which something may still come."""
    out: int = 0
    """Chunks whose systems have a command that they may still carry out."""
    live: int = 0
    """Chunks that operators' words may concern; see `ChunkState.live`."""
    unsettled: dict[str, int] = Field(default_factory=dict)
    """Word -> chunks in which a system may still act against it."""
    reconsidering: dict[str, int] = Field(default_factory=dict)
    """Words that are being held against its chunks, page by page, and the number of the pass."""
    index_changes: int = 0
    """How often the lineage of something changed that holds were held against."""
    accepted: tuple[str, ...] = ()
    """Systems whose misses an operator has accepted."""
    exempted: tuple[str, ...] = ()
    """Systems of which an operator has decided that what cannot be commanded there is kept."""
    happened: tuple[tuple[str, str], ...] = ()
    """What happened for which commands may wait, and in which system; without one, perhaps in any."""
    grace_until: datetime | None = None
    """Until when it can be taken back before anything is done for it."""
    cancelling: bool = False
    """Its request was cancelled; the case ends when no system has a command of it any more."""
    controls: tuple[Hex, ...] = ()
    """Operators' words that were taken: said again they are the same."""
    warned: bool = False
    extended: bool = False
    overdue: bool = False
    forget_at: datetime | None = None
    """Until when what names people and assets in it is kept as evidence."""
    probes: int = 0
    """How often it was looked whether what was said to be gone is gone."""
    probe: Probe | None = None
    """The last of them."""
    probes_due: tuple[ProbeDue, ...] = ()
    """Those to come, in order."""
    forgotten: int = 0
    """So many of its generations are forgotten: their chunks are not there any more."""
    forgotten_at: datetime | None = None
    forgotten_gone: dict[str, int] = Field(default_factory=dict)
    """System -> how much of what is forgotten it called gone: nobody can be asked about that."""

    @property
    def open_generation(self) -> Generation | None:
        """The generation that still collects chunks; at most one does."""
        last = self.generations[-1] if self.generations else None
        return last if last and not last.fixed else None

    @property
    def generation(self) -> Generation:
        """The newest generation."""
        return self.generations[-1]

    @property
    def let_go(self) -> tuple[Generation, ...]:
        """Generations that are carried out: none does while an earlier one waits for operators."""
        first = min((each.number for each in self.generations if each.waits), default=len(self.generations) + 1)
        return tuple(each for each in self.generations if each.free and each.number < first)

    def has_happened(self, event: str, system: str) -> bool:
        """Whether something happened for which a command of a system waits."""
        return (event, system) in self.happened or (event, "") in self.happened

    @property
    def probing(self) -> Probe | None:
        """The probe that is going on."""
        return self.probe if self.probe is not None and not self.probe.is_over else None

    @property
    def is_forgotten(self) -> bool:
        """Whether nothing has been planned since it was forgotten."""
        return bool(self.forgotten) and self.forgotten == len(self.generations)

    @property
    def patient_until(self) -> datetime:
        """Before this it is not said that something is missing: what was overdue when it came has a day."""
        return max(self.due_at, self.opened_at + A_DAY)

    def due_of(self, provision: str) -> datetime:
        """The due date of what falls under a provision of the order; the case's, where none is named."""
        return next((each.due_at for each in self.deadlines if each.provision == provision), self.due_at)

    def open_under(self, provision: str) -> int:
        """Open obligations that fall under a provision of the order."""
        return sum(number for line, number in self.counts if line.provision == provision and line.claim in UNDONE)

    def with_generation(self, number: int, **changes: Any) -> Case:
        """The case with one generation changed."""
        changed = tuple(each.model_copy(update=changes) if each.number == number else each for each in self.generations)
        return self.model_copy(update={"generations": changed})

    def forward(self, status: Status) -> Case:
        """The case in a later state; a later generation does not take it back to one that it has passed."""
        order = (Status.RESOLVING, Status.PLANNED, Status.AWAITING_APPROVAL, Status.PURGING)
        ahead = self.status in order and order.index(status) > order.index(self.status)
        return self.model_copy(update={"status": status}) if ahead else self

    def numbered(self, number: int) -> Generation:
        """A generation by its number."""
        return next(generation for generation in self.generations if generation.number == number)

    @property
    def alive(self) -> bool:
        """Whether something said to all cases may concern it."""
        return self.status not in OVER and (self.status not in CLOSED or self.live > 0)

    @property
    def awaits_index(self) -> bool:
        """Whether it must hear how far the indexers have come."""
        return bool(self.watermark) and self.status not in OVER and not self.cancelling

    @property
    def small(self) -> bool:
        """Whether it has so few chunks that they are kept, and read, as a whole."""
        return sum(number for _, number in self.counts) <= MAX_SMALL_OBLIGATIONS

    @property
    def words(self) -> frozenset[str]:
        """The words that are not in force in it yet."""
        return frozenset({*self.unsettled, *self.reconsidering})

    def count(self, claims: frozenset[str]) -> int:
        """Obligations whose claim is one of these."""
        return sum(number for line, number in self.counts if line.claim in claims)


_GONE_CLAIMS = frozenset(claim for claim, letter in LETTERS.items() if letter in GONE)


def gone_in(case: Case) -> Counter[str]:
    """System -> obligations that it calls gone, but for those that are commanded for several cases at once."""
    found: Counter[str] = Counter()
    for line, number in case.counts:
        if line.claim in _GONE_CLAIMS and line.action != Action.RETRAIN_WITHOUT:
            found[line.system] += number
    return found


class CaseReader(Protocol):
    """The part of the state that is too large to hand over whole, read piece by piece. Reading changes nothing."""

    def root(self, case_id: str) -> Root | None:
        """What a case was opened with."""

    def chunk(self, case_id: str, digest: str) -> ChunkState | None:
        """The state of one chunk."""

    def chunk_of(self, case_id: str, command: str) -> ChunkState | None:
        """The chunk that a command carries."""

    def body(self, case_id: str, digest: str) -> Chunk:
        """The targets of a chunk.

        Raises:
            Unavailable: the body is not there: the store forgot, and the partition must wait (rule "frontiers").
        """

    def digests(self, case_id: str, generation: int) -> list[str]:
        """All chunks of a generation."""

    def waiting(self, case_id: str, generation: int, stage: int, limit: int) -> list[str]:
        """Chunks to which their stage has not come yet, in order, at most `limit`."""

    def live(self, case_id: str, after: str, limit: int) -> list[str]:
        """Chunks that are live (`ChunkState.live`), in order, behind `after`, at most `limit`."""
