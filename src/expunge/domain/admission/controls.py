"""Controls at the door: operators' words."""

from __future__ import annotations

from expunge.domain import inlets
from expunge.domain.admission.door import Door, canonical
from expunge.domain.case.messages import Approved, Control, Extended, Rejected
from expunge.domain.events import CloudEvent, Record
from expunge.errors import InvalidMessage


def control(door: Door, event: CloudEvent, record: Record) -> Control:
    """An operator's word about one case.

    Raises:
        InvalidMessage: what is wrong, by field; or the operator is not declared, or not for this.
    """
    if event.type not in inlets.CONTROLS:
        raise InvalidMessage("not_carried_out" if event.type in inlets.LATER_TYPES else "unknown_type")
    if not door.allow_unsigned:
        raise InvalidMessage("unsigned", "controls must be signed, or allow_unsigned be set")
    role, model = inlets.CONTROLS[event.type]
    said = inlets.read(model, event)
    operator = door.registry.operator(said.operator)
    if operator is None:
        raise InvalidMessage("undeclared_operator", "data.operator")
    if role not in operator.roles:
        raise InvalidMessage("not_allowed", "data.operator")
    content = door.keys.content(canonical(said.model_dump(mode="json") | {"type": event.type, "id": event.id}))
    spoken = {
        "case_id": said.case_id,
        "operator": operator.name,
        "content": content,
        "place": door.place_of(record),
    }
    match said:
        case inlets.PlanApproved(plan_digest=plan):
            return Approved(plan_digest=plan, **spoken)
        case inlets.PlanRejected(plan_digest=plan, reason=reason):
            return Rejected(plan_digest=plan, reason=reason, **spoken)
        case inlets.DeadlineExtended(reason=reason):
            return Extended(reason=reason, **spoken)
    raise InvalidMessage("unknown_type")
