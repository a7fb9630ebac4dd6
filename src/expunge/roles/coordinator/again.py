"""Notes on marks, made again (rule "notes again").

What systems have said is gone is noted beside the asset, and the case's state is written after that. On a Redis Cluster
the two lie on several servers, of which one may forget its last writes while the other does not. So whatever is read
again there, or answered again, has its notes looked at, though it decides on nothing any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from expunge.domain.aggregates.case.receipts import purged_by
from expunge.domain.events import CloudEvent, Record, millis
from expunge.domain.identity import Keys
from expunge.domain.lineage.marks import MarkState
from expunge.domain.lineage.row import moment
from expunge.errors import NotUnderstood
from expunge.ports import Gone, Index
from expunge.roles.coordinator.freezing import ReadMessage
from expunge.roles.coordinator.view import View
from expunge.wire.cases.case import Planned, Receipted


class _Note(NamedTuple):
    """That an asset of a case is gone since a moment, and when the case heard of it."""

    case_id: str
    node: bytes
    since_ms: int
    at: datetime


class NotesAgain:
    """Looks at notes that have been made, and makes those anew that are missing."""

    def __init__(self, index: Index, keys: Keys) -> None:
        self._index, self._keys = index, keys

    def look(self, view: View, read: Sequence[tuple[Record, ReadMessage]]) -> None:
        """Lay what is missing beside what this batch notes; see `Effects.settle`.

        Args:
            view: the partition, after what is new was decided on.
            read: all messages of the batch on it, new or not.
        """
        before = view.before
        heard = [(record, each) for record, each in read if before is not None and record.position <= before]
        view.load({each.key for _, each in heard if isinstance(each.message, Planned | Receipted)})
        said = [note for record, each in heard for note in self._by_receipt(view, record, each)]
        said = [note for record, each in read for note in self._by_plan(view, record, each)] + said
        for note in self._missing(said):
            view.gone.append((Gone(note.case_id, [note.node], note.since_ms), note.at))

    def _by_receipt(self, view: View, record: Record, read: ReadMessage) -> Iterator[_Note]:
        """A receipt was heard: what it said is gone, if it is gone still, was noted then."""
        message = read.message
        if not isinstance(message, Receipted) or not _can_read(view, read.key):
            return
        chunk = view.chunks.chunk_of(read.key, message.command_id)
        if chunk is None:
            return
        for asset in purged_by(chunk, view.chunks.body(read.key, chunk.summary.digest), message):
            yield _Note(read.key, self._keys.asset(asset), message.appended_ms, record.appended_at)

    def _by_plan(self, view: View, record: Record, read: ReadMessage) -> Iterator[_Note]:
        """A task was answered again: its marks are made anew, and what was gone is noted behind them.

        When a system said so is not known here. It was not before the task, so nothing that came back is missed.
        """
        message, event = read.message, read.event
        if not isinstance(message, Planned) or event is None or not _can_read(view, read.key):
            return
        for digest in (each.digest for each in message.chunks):
            chunk = view.chunks.chunk(read.key, digest)
            if chunk is not None:
                for asset in purged_by(chunk, view.chunks.body(read.key, digest)):
                    yield _Note(read.key, self._keys.asset(asset), _said_ms(event), record.appended_at)

    def _missing(self, said: Iterable[_Note]) -> list[_Note]:
        """The earliest of what was said of each asset, where no mark says so."""
        first: dict[tuple[str, bytes], _Note] = {}
        for note in said:
            known = first.setdefault((note.case_id, note.node), note)
            if note.since_ms < known.since_ms:
                first[note.case_id, note.node] = note
        nodes = sorted({node for _, node in first})
        marks = dict(zip(nodes, self._index.marks(nodes), strict=True)) if nodes else {}
        return [
            note
            for (case_id, node), note in first.items()
            if not any(each.case_id == case_id and each.state is MarkState.GONE for each in marks[node])
        ]


def _said_ms(event: CloudEvent) -> int:
    """When what led to a message of our own was appended (milliseconds since 1970)."""
    return millis(moment((event.model_extra or {})["time"]))


def _can_read(view: View, case_id: str) -> bool:
    try:
        return view.case(case_id) is not None
    except NotUnderstood:  # a newer version wrote it, and will look
        return False
