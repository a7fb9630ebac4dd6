"""Messages of what concerns many cases: suppressions, holds, rates and groups of plans."""

from __future__ import annotations

from datetime import datetime

from expunge.domain.aggregates.case import hearing
from expunge.domain.aggregates.rate import Answer
from expunge.domain.aggregates.standing import Standing
from expunge.domain.aggregates.suppression import Suppression
from expunge.domain.digest import name
from expunge.domain.events import CloudEvent, Event, Outgoing, Record, stamp
from expunge.domain.scope import Granted
from expunge.domain.values import Value
from expunge.wire import ledger
from expunge.wire.cases.case import GrantedAgain, RateAnswered
from expunge.wire.cases.rate import RateAsked, Verdict
from expunge.wire.cases.table import TYPE_OF
from expunge.wire.cases.words import GroupSaid

SOURCE = "/expunge/coordinator"
SUPPRESSION_TYPE = "expunge.suppression.set.v1"
HOLD_TYPE = "expunge.hold.set.v1"


def published(state: Suppression, record: Record, event: CloudEvent) -> Outgoing:
    """A suppression as ingesters see it: the newest message of a key holds everything."""
    identity = name(event.source, event.id, SUPPRESSION_TYPE, state.suppression, state.sequence)
    told = Event(SUPPRESSION_TYPE, SOURCE, identity, record.appended_at, state.data())
    return Outgoing("suppressions", state.suppression, told if state.entries else None)


def granted_again(case_id: str, granted: Granted, record: Record, event: CloudEvent) -> Outgoing:
    """Tell a case that a purpose which it revoked was granted again."""
    kind = TYPE_OF[GrantedAgain]
    message = GrantedAgain(case_id=case_id, granted=granted)
    identity = name(event.source, event.id, kind, case_id, granted.purpose)
    return Outgoing("cases", case_id, Event(kind, SOURCE, identity, record.appended_at, message.model_dump()))


def hold_published(standing: Standing, hold_id: str, time: datetime) -> list[Outgoing]:
    """A hold as it stands on `holds`: the newest message of an id holds everything. Nothing of one never placed."""
    hold, sequence = standing.holds.get(hold_id), hearing.sequence(standing, hold_id)
    if hold is None:
        return []
    data = hold.model_dump(mode="json", exclude={"content", "order", "number", "watermark", "word"}, exclude_none=True)
    end = standing.release_of(hold_id)
    data |= {"sequence": sequence}
    data |= {"released_at": stamp(end.at), "released_by": end.operator} if end else {}
    event = Event(HOLD_TYPE, SOURCE, name(HOLD_TYPE, hold_id, sequence), time, data)
    return [Outgoing("holds", hold_id, event)]


def rate_answered(asked: RateAsked, answer: Answer, record: Record, event: CloudEvent) -> Outgoing:
    """The answer to a plan's question."""
    kind = TYPE_OF[RateAnswered]
    said = RateAnswered(
        case_id=asked.case_id,
        generation=asked.generation,
        rate=asked.rate,
        group=answer.group,
        place=answer.place,
        rules=answer.rules,
    )
    identity = name(event.source, event.id, kind)
    return Outgoing("cases", asked.case_id, Event(kind, SOURCE, identity, record.appended_at, said.model_dump()))


def group_said(rate: str, verdict: Verdict, partitions: int, record: Record, event: CloudEvent) -> list[Outgoing]:
    """What operators have said about a group, to every partition of `cases`."""
    kind, said = TYPE_OF[GroupSaid], GroupSaid(rate=rate, verdict=verdict)
    return [
        Outgoing(
            "cases",
            rate,
            Event(kind, SOURCE, name(event.source, event.id, kind, number), record.appended_at, said.model_dump()),
            number,
        )
        for number in range(partitions)
    ]


def ledger_fact(case_id: str, policy: str, sequence: int, fact: Value, record: Record, at: datetime) -> Outgoing:
    """A fact on the ledger: named by case or aggregate and its sequence, with what caused it and the policy."""
    kind = ledger.type_of(type(fact))
    data = {
        "case_id": case_id,
        "sequence": sequence,
        "cause": {
            "partition": record.partition,
            "leader_epoch": record.position.leader_epoch,
            "offset": record.position.offset,
        },
        "policy": policy,
        "body": fact.model_dump(mode="json"),
    }
    return Outgoing("ledger", case_id, Event(kind, SOURCE, name(kind, case_id, sequence), at, data))
