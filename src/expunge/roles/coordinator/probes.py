"""What probers are asked: are these still there?"""

from __future__ import annotations

from datetime import UTC, datetime

from expunge.domain.aggregates.case.chunks import ChunkState
from expunge.domain.digest import name
from expunge.domain.events import Event, Outgoing
from expunge.domain.planning.chunks import Chunk
from expunge.roles.common import COORDINATOR
from expunge.roles.coordinator.commands import sealed_to, targets_of
from expunge.wire.cases.case import Root
from expunge.wire.probes import ASKED, ProbeAsked


def question(state: ChunkState, chunk: Chunk, root: Root, answer_by: datetime, now: datetime) -> Outgoing:
    """About the targets of a chunk of which nobody has told yet, as their command has named them."""
    looked = state.looked
    if looked is None:
        raise RuntimeError("probes: of a chunk that nobody asks about")
    said = ProbeAsked(
        number=looked.number,
        case_id=root.case_id,
        command_id=state.command_id,
        system=chunk.system,
        purposes=chunk.purposes,
        collected_until=datetime.fromtimestamp(root.scope.until, UTC) if root.scope.until else None,
        answer_by=answer_by,
        people=sealed_to(root, chunk.system),
        targets=targets_of(chunk, root, looked.silent),
    )
    event = Event(ASKED, COORDINATOR, name(ASKED, root.case_id, looked.number, state.summary.digest), now, said.data())
    return Outgoing(f"probes.{chunk.system}", state.command_id, event)
