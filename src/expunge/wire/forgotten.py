"""What stands on `plans` in the place of a case's chunks when it is forgotten: keys and claims, no ids."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Sequence

from expunge.domain.digest import SIZE
from expunge.domain.planning.chunks import Chunk
from expunge.domain.runs import light_runs
from expunge.domain.values import Hex, Value

FORGOTTEN = "expunge.plan.forgotten.v1"
PART_BYTES = 500_000
"""Of a part, about: far below the 1 MiB of `plans`."""


class KeyedChunk(Value):
    """A chunk by the keys of its targets, with what was answered for them: its marks can be set again from that."""

    chunk: Hex
    """Its digest: the facts on the ledger name it so."""
    system: str
    keys: str
    """Of its targets, in the order of their ordinals, packed, in base64."""
    excluded: str = ""
    """Of what they were told to leave out."""
    holding: bool = False
    returned: int = 0
    """See `Lot.returned`."""
    answers: str
    """A letter for each target (`domain.aggregates.case.chunks.LETTERS`)."""

    @classmethod
    def of(cls, body: Chunk, answers: str, key: Callable[[str], bytes]) -> KeyedChunk:
        """The same without ids; `key` makes keys from them."""
        return cls(
            chunk=body.digest,
            system=body.system,
            keys=_packed(map(key, body.assets)),
            excluded=_packed(map(key, body.excluded)),
            holding=body.holding,
            returned=body.returned,
            answers=answers,
        )

    @property
    def nodes(self) -> list[bytes]:
        """The keys of its targets."""
        return _unpacked(self.keys)

    @property
    def left_out(self) -> list[bytes]:
        """The keys of what they were told to leave out."""
        return _unpacked(self.excluded)


class ChunksForgotten(Value):
    """Some chunks of a case."""

    case_id: Hex
    chunks: tuple[KeyedChunk, ...]

    @property
    def part(self) -> str:
        """Which part of the case it is."""
        return f"forgotten:{self.chunks[0].chunk}"


def in_parts(case_id: str, chunks: Sequence[KeyedChunk]) -> Iterator[ChunksForgotten]:
    """As many parts as their size asks for; the same chunks are the same parts."""
    for part in light_runs(chunks, lambda each: len(each.keys) + len(each.excluded) + len(each.answers), PART_BYTES):
        yield ChunksForgotten(case_id=case_id, chunks=tuple(part))


def _packed(keys: Iterable[bytes]) -> str:
    return base64.b64encode(b"".join(keys)).decode()


def _unpacked(text: str) -> list[bytes]:
    raw = base64.b64decode(text)
    return [raw[at : at + SIZE] for at in range(0, len(raw), SIZE)]
