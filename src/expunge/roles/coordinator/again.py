"""Notes on marks, made again (rule "notes again").

What systems have said is gone is noted beside the asset, and the case's state is written after that. On a Redis Cluster
the two lie on several servers, of which one may forget its last writes while the other does not. So whatever is read
again there, or answered again, has its notes looked at, though it decides on nothing any more. On one server that holds
for a walk alone: one that was forgotten may be made again after its receipts were read again. Much may have happened to
an asset since; so what is noted again says that it may be there all the same, and is never swept away for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from expunge.domain.aggregates.case.chunks import GONE, ChunkState
from expunge.domain.aggregates.case.receipts import purged_by
from expunge.domain.events import Record, millis
from expunge.domain.identity import Keys
from expunge.domain.lineage.marks import TASK_DIGITS, Mark, MarkState
from expunge.domain.lineage.row import moment
from expunge.errors import NotUnderstood
from expunge.ports import Gone, Index
from expunge.roles.coordinator.freezing import ReadMessage
from expunge.roles.coordinator.view import View
from expunge.wire.cases.case import Planned, Receipted, ThawOn
from expunge.wire.cases.words import ThawSaid


class _Note(NamedTuple):
    """That an asset of a case is gone since a moment, by a chunk of a generation; and when the case heard of it."""

    case_id: str
    asset: str
    system: str
    generation: int
    since_ms: int
    at: datetime


class NotesAgain:
    """Looks at notes that have been made, and makes those anew that are missing."""

    def __init__(self, index: Index, keys: Keys, *, apart: bool) -> None:
        # apart: whether index and state lie on several servers. On one, what is noted is forgotten with the state, and
        # is noted again with it; but for what is walked again behind that.
        self._index, self._keys, self._apart = index, keys, apart

    def look(self, view: View, read: Sequence[tuple[Record, ReadMessage]]) -> None:
        """Lay what is missing beside what this batch notes; see `Effects.settle`.

        Args:
            view: the partition, after what is new was decided on.
            read: all messages of the batch on it, new or not.
        """
        before, said = view.before, list[_Note]()
        telling = _TELLING if self._apart else Planned
        view.load({each.key for _, each in read if isinstance(each.message, telling)})
        for record, each in read:
            was_heard = before is not None and record.position <= before
            if isinstance(each.message, Planned) or (was_heard and isinstance(each.message, telling)):
                with suppress(NotUnderstood):  # a newer version wrote the case or its chunk, and will look itself
                    said += self._told(view, record, each)
        for note, node in self._missing(view, said):
            view.gone.append((Gone(note.case_id, [node], note.since_ms, again=True), note.at))

    def _told(self, view: View, record: Record, read: ReadMessage) -> list[_Note]:
        """What one message has led to notes of, as the case stands."""
        case, message = view.case(read.key), read.message
        if case is None:
            return []
        if isinstance(message, Receipted):  # what it said is gone, if it is gone still, was noted then
            chunk = view.chunks.chunk_of(read.key, message.command_id)
            return self._gone(view, read.key, [chunk], message.appended_ms, record.appended_at, message)
        if isinstance(message, Planned):
            # Its marks are made anew, and what was gone is noted behind them. When a system said so is not known here:
            # not before the task, of what was planned then or later; of what was planned earlier, nobody knows.
            chunks = [view.chunks.chunk(read.key, each.digest) for each in message.chunks]
            found = [each for each in chunks if each is not None]
            mine = [each for each in found if each.generation >= message.generation]
            earlier = [each for each in found if each.generation < message.generation]
            return [
                *self._gone(view, read.key, mine, _said_ms(read), record.appended_at),
                *self._gone(view, read.key, earlier, millis(case.opened_at), record.appended_at),
            ]
        # Something was taken up that had waited; nobody knows here what it was, nor when it was said.
        digests = [digest for each in case.generations for digest in view.chunks.digests(read.key, each.number)]
        waited = [view.chunks.chunk(read.key, digest) for digest in digests]
        return self._gone(view, read.key, waited, millis(case.opened_at), record.appended_at)

    def _gone(
        self,
        view: View,
        case_id: str,
        chunks: Iterable[ChunkState | None],
        since_ms: int,
        at: datetime,
        message: Receipted | None = None,
    ) -> list[_Note]:
        return [
            _Note(case_id, asset, chunk.summary.system, chunk.generation, since_ms, at)
            for chunk in chunks
            if chunk is not None and not GONE.isdisjoint(chunk.answers)
            for asset in purged_by(chunk, view.chunks.body(case_id, chunk.summary.digest), message)
        ]

    def _missing(self, view: View, said: Iterable[_Note]) -> Iterator[tuple[_Note, bytes]]:
        """The earliest of what was said of each asset, where its mark says nothing and nothing has happened since."""
        first: dict[tuple[str, bytes], _Note] = {}
        for note in said:
            node = self._keys.asset(note.asset)
            known = first.setdefault((note.case_id, node), note)
            if note.since_ms < known.since_ms:
                first[note.case_id, node] = note
        nodes = sorted({node for _, node in first})
        marks = dict(zip(nodes, self._index.marks(nodes), strict=True)) if nodes else {}
        for (case_id, node), note in first.items():
            mark = next((each for each in marks[node] if each.case_id == case_id), None)
            if mark is not None and mark.state in _SAY_NOTHING and not _is_owed_again(view, note, mark):
                yield note, node


_TELLING = Planned | Receipted | ThawSaid | ThawOn
"""Messages that may lead to notes of what is gone."""
_SAY_NOTHING = (MarkState.OPEN, MarkState.RESTATED)


def _is_owed_again(view: View, note: _Note, mark: Mark) -> bool:
    """Whether an asset is planned for the same system in a later generation of its case, or may be in a moment."""
    case = view.case(note.case_id)
    later = [each for each in case.generations if each.number > note.generation] if case else []
    under_way = {task[:TASK_DIGITS] for each in later for task in each.announced - each.answered}
    if not under_way.isdisjoint(mark.tasks):
        return True
    digests = [digest for each in later for digest in view.chunks.digests(note.case_id, each.number)]
    bodies = (view.chunks.body(note.case_id, digest) for digest in digests)
    return any(body.system == note.system and note.asset in body.assets for body in bodies)


def _said_ms(read: ReadMessage) -> int:
    """When what led to a message of our own was appended (milliseconds since 1970)."""
    return millis(moment((read.event.model_extra or {})["time"])) if read.event else 0
