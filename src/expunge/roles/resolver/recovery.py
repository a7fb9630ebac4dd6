"""What the chunk store has forgotten is put back from `plans` before a task is walked again (rule "compared").

Otherwise the walk would cut the same obligations into other chunks, which would be commanded beside those that a case
has heard of already, and whose bodies nobody has any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from expunge.domain.continuity import Place, Reached
from expunge.domain.events import EARLIEST, Record, decode
from expunge.domain.identity import Keys
from expunge.domain.partition import partition_of
from expunge.domain.planning.chunks import Chunk, names_of
from expunge.errors import InvalidMessage
from expunge.ports import ChunkStore, Offsets, Topics
from expunge.roles.resolver.resolver import CHUNK_TYPE

MARGIN = timedelta(minutes=5)
"""By so much the clocks of two brokers may differ."""
AT_ONCE = 200


def earlier(since_ms: int) -> datetime:
    """From which moment on to read what was published since another one.

    Args:
        since_ms: milliseconds since 1970 by one broker's clock; 0: everything.
    """
    return datetime.fromtimestamp(since_ms / 1000, UTC) - MARGIN if since_ms else EARLIEST


def unsure_since(ends: Offsets, reached: Mapping[Place, Reached], now_ms: int) -> datetime:
    """From which moment on chunks may be missing in a store that says how far it reaches.

    Where it reaches to the very end of a partition it holds all that its tasks have led to, however long ago that was;
    of one that ends before that it may not.

    Args:
        ends: where the partitions of tasks end.
        reached: how far the store reaches in them; one of which it says nothing it holds nothing of.
        now_ms: when everything reaches to the end, nothing before now is missing.
    """
    at = [
        known.at_ms
        for topic, partitions in ends.items()
        for number, end in partitions.items()
        if (known := reached.get((topic, int(number)), Reached(0))).next != end
    ]
    return earlier(min(at, default=now_ms))


class Recovery:
    """Puts chunks back."""

    def __init__(
        self, plans: Callable[[datetime], Iterable[Record]], chunks: ChunkStore, topics: Topics, keys: Keys
    ) -> None:
        self._plans, self._chunks, self._topics, self._keys = plans, chunks, topics, keys

    def restore(self, since: datetime) -> int:
        """Put back every chunk that was published since a moment; those that are there stay as they are.

        Returns:
            How many there were.
        """
        found, part = 0, list[Chunk]()
        for record in self._plans(since):
            chunk = _chunk(record)
            if chunk is not None:
                found += 1
                part.append(chunk)
            if len(part) == AT_ONCE:
                self._put(part)
                part = []
        self._put(part)
        return found

    def _put(self, chunks: Sequence[Chunk]) -> None:
        partitions = self._topics.partitions("cases")
        for chunk in chunks:
            named = [(chunk, names_of(chunk, self._keys.asset))]
            self._chunks.put_chunks(partition_of(chunk.case_id, partitions), named)


def _chunk(record: Record) -> Chunk | None:
    """The chunk that a message of `plans` holds; None where it holds something else, or nothing any more."""
    if record.value is None:
        return None
    try:
        event = decode(record)
        return Chunk.model_validate(event.data) if event.type == CHUNK_TYPE else None
    except (InvalidMessage, ValidationError):  # a newer version's: its case waits for that version anyway
        return None
