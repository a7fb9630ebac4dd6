"""Findings at the door: what somebody else than its agent found in a system."""

from __future__ import annotations

from expunge.domain.admission.door import Door, Origin, canonical
from expunge.domain.events import CloudEvent
from expunge.domain.signatures import key_id
from expunge.errors import InvalidMessage
from expunge.wire import inlets, probes
from expunge.wire.cases.case import ProbeAnswered


def finding(door: Door, event: CloudEvent, came: Origin, system: str, received: str) -> ProbeAnswered:
    """An answer as the case will see it; `received` names the part of `plans` in which it is kept as it came.

    Raises:
        InvalidMessage: it is none, speaks of another system than its topic's, or is not signed by that one's prober.
    """
    if event.type != probes.ANSWERED:
        raise InvalidMessage("unknown_type")
    said = inlets.read(probes.ProbeAnswered, event, came.at)
    owner = door.registry.system(system)
    if said.system != system or owner is None:
        raise InvalidMessage("wrong_system", "data.system")
    if not came.signers:
        raise InvalidMessage("unsigned", "a finding is signed with the key of the system's prober (probe_key)")
    mine = sorted(came.signers.intersection(owner.probe_key))
    if not mine:
        raise InvalidMessage("bad_signature", "signed by somebody else")
    plain = said.model_dump(mode="json", exclude={"looked_at"}, exclude_none=True)
    return ProbeAnswered(
        case_id=said.case_id,
        number=said.number,
        command_id=said.command_id,
        system=system,
        by=key_id(mine[0]),
        all=said.all,
        answers=tuple((each.asset, each.finding) for each in said.results),
        received=received,
        content=door.keys.content(canonical(plain)),
        place=came.place,
    )
