"""Controls at the door: operators' words, for one case or for every case of a partition."""

from __future__ import annotations

from typing import Any

from expunge.domain.admission.door import Door, Origin, canonical, check_sizes
from expunge.domain.aggregates.standing.state import EVERYTHING, name_of_word
from expunge.domain.events import CloudEvent, millis
from expunge.domain.identity import Keys
from expunge.domain.registry import Operator
from expunge.domain.scope import one_person
from expunge.errors import InvalidMessage
from expunge.wire import inlets
from expunge.wire.cases.said import Order, Place
from expunge.wire.cases.words import (
    ApprovalSaid,
    CancellationSaid,
    Control,
    Covering,
    DecisionSaid,
    ExtensionSaid,
    ForgetSaid,
    Hold,
    HoldKind,
    HoldSaid,
    Pause,
    PauseSaid,
    ProbeSaid,
    RejectionSaid,
    Release,
    ReleaseSaid,
    RetrySaid,
    Said,
    ThawSaid,
)
from expunge.wire.controls import (
    CONTROLS,
    KNOWN_FIELDS,
    CaseControl,
    CaseForgotten,
    CaseRetried,
    CaseThawed,
    DeadlineExtended,
    EmissionPaused,
    EmissionResumed,
    HoldPlaced,
    HoldScope,
    ObligationDecided,
    PauseScope,
    PlanApproval,
    PlanRejection,
    ProbeRequested,
)
from expunge.wire.form import Inlet


def control(door: Door, event: CloudEvent, came: Origin) -> Control | Said:
    """An operator's word.

    Raises:
        InvalidMessage: what is wrong, by field; or the operator is not declared, or not for this.
    """
    if event.type not in CONTROLS:
        raise InvalidMessage("unknown_type")
    role, model = CONTROLS[event.type]
    said = inlets.read(model, event, came.at, KNOWN_FIELDS)
    operator = door.registry.operator(said.operator)
    if operator is None:
        raise InvalidMessage("undeclared_operator", "data.operator")
    door.refuse_unless_said_by(operator, event, came)
    if role not in operator.roles:
        raise InvalidMessage("not_allowed", "data.operator")
    content, place = content_of(door.keys, said, event.type, event.id), came.place
    spoken: dict[str, Any] = {"operator": operator.identity, "content": content, "place": place}
    if isinstance(said, CaseControl):
        return _of_case(door, said, spoken | {"case_id": said.case_id})
    if isinstance(said, EmissionPaused | EmissionResumed):
        return PauseSaid(pause=_pause(door, said, operator, came, event.id))
    word = name_of_word(event.id)
    if isinstance(said, HoldPlaced):
        return HoldSaid(hold=_hold(door, said, operator, came, content, word), place=place)
    release = Release(at=came.at, operator=operator.identity, order=_order(came), word=word)
    return ReleaseSaid(hold_id=said.hold_id, release=release, content=content, place=place)


def content_of(keys: Keys, said: Inlet, kind: str, identity: str) -> str:
    """The name of a word by what it says: cases and dead letters know it by that."""
    whole = said.model_dump(mode="json", exclude_none=True) | {"type": kind, "id": identity}
    return keys.content(canonical(whole))


def _of_case(door: Door, said: CaseControl, spoken: dict[str, Any]) -> Control:
    kind: type[Control] = ForgetSaid if isinstance(said, CaseForgotten) else CancellationSaid
    more: dict[str, Any] = {}
    match said:
        case PlanApproval(plan_digest=plan):
            kind, more = ApprovalSaid, {"plan_digest": plan}
        case PlanRejection(plan_digest=plan, reason=reason):
            kind, more = RejectionSaid, {"plan_digest": plan, "reason": reason}
        case DeadlineExtended(reason=reason):
            kind, more = ExtensionSaid, {"reason": reason}
        case ObligationDecided(asset=asset, system=system, option=option, due_at=due_at):
            model = door.keys.asset(asset).hex() if asset is not None else ""
            kind, more = DecisionSaid, {"system": system or "", "model": model, "option": option, "due_at": due_at}
        case CaseThawed(places=places, skip=skip):
            named = tuple(Place(**place.model_dump()) for place in places)
            kind, more = ThawSaid, {"places": named, "skip": skip or ""}
        case CaseRetried(system=system):
            kind, more = RetrySaid, {"system": system or ""}
        case ProbeRequested(sample=sample, again_days=again):
            kind, more = ProbeSaid, {"sample": sample or 0, "again_days": tuple(sorted(set(again)))}
    return kind(**more, **spoken)


def _order(came: Origin) -> Order:
    return Order(millis(came.at), came.place.partition, came.place.offset, came.leader_epoch)


def _pause(
    door: Door, said: EmissionPaused | EmissionResumed, operator: Operator, came: Origin, identity: str
) -> Pause:
    return Pause(
        scope=_whose(door, said.scope),
        paused=isinstance(said, EmissionPaused),
        operator=operator.identity,
        at=came.at,
        order=_order(came),
        word=name_of_word(identity),
    )


def _whose(door: Door, scope: PauseScope) -> str:
    if scope.system is not None:
        if door.registry.system(scope.system) is None:
            raise InvalidMessage("undeclared_system", "data.scope.system")
        return f"system:{scope.system}"
    if scope.publisher is not None:
        if all(each.name != scope.publisher for each in door.registry.publishers):
            raise InvalidMessage("undeclared_publisher", "data.scope.publisher")
        return f"publisher:{scope.publisher}"
    return f"case:{scope.case_id}" if scope.case_id is not None else EVERYTHING


def _hold(door: Door, said: HoldPlaced, operator: Operator, came: Origin, content: str, word: str) -> Hold:
    return Hold(
        hold_id=said.hold_id,
        scope=_held(door, said.scope),
        basis=said.basis,
        custodian=said.custodian,
        operator=operator.identity,
        review_by=said.review_by,
        placed_at=came.at,
        word=word,
        content=content,
        order=_order(came),
    )


def _held(door: Door, scope: HoldScope) -> Covering:
    if scope.subject is not None:
        person = one_person([each.hex() for each in door.pseudonyms(scope.subject)])
        return Covering(kind=HoldKind.SUBJECT, value=person)
    if scope.data_source is not None:
        door.check_data_sources([scope.data_source])
        return Covering(kind=HoldKind.DATA_SOURCE, value=scope.data_source)
    if scope.asset is not None:
        check_sizes([scope.asset])
        return Covering(kind=HoldKind.ASSET, value=door.keys.asset(scope.asset).hex())
    if scope.system is not None:
        if door.registry.system(scope.system) is None:
            raise InvalidMessage("undeclared_system", "data.scope.system")
        return Covering(kind=HoldKind.SYSTEM, value=scope.system)
    return Covering(kind=HoldKind.CASE, value=scope.case_id or "")
