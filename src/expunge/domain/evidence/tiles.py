"""A Merkle log as files that any web server can publish: C2SP tlog-tiles (https://c2sp.org/tlog-tiles).

A tile holds up to 256 hashes of one level of the tree, every eighth level. Only whole tiles feed the next level; the
last one of a level is partial, and stands beside its earlier, narrower forms under `.p/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

from expunge.domain.evidence.merkle import Node, root_of

WIDTH = 256
"""Hashes in a whole tile."""
HEIGHT = 8
"""Levels of the tree from one level of tiles to the next."""
HASH_BYTES = 32
MOST_ENTRY_BYTES = 65_535
"""An entry stands in its bundle behind its length in two bytes."""

Tile = Callable[[int, int, int], bytes]
"""The first hashes of a tile, by its level, its number in the level, and how many are wanted."""
Read = Callable[[str], bytes]
"""The content of a file by its path; it raises FileNotFoundError."""


def tile_path(level: int | None, number: int, width: int = WIDTH) -> str:
    """Where a tile lies.

    Args:
        level: of the tile; None: the bundle of the entries themselves.
        number: of the tile in its level.
        width: how much it holds.
    """
    digits = f"{number:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    *above, last = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    path = "/".join([*(f"x{part}" for part in above), last])
    partial = "" if width == WIDTH else f".p/{width}"
    return f"tile/{'entries' if level is None else level}/{path}{partial}"


def width_of(level: int | None, number: int, size: int) -> int:
    """How much a tile holds in a tree of a size; 0: it is not there."""
    return max(0, min(WIDTH, (size >> HEIGHT * (level or 0)) - number * WIDTH))


def partial_tiles(size: int) -> Iterator[tuple[int | None, int, int]]:
    """Level, number and width of the tiles that are not whole in a tree of a size."""
    level, left = 0, size
    while left:
        if width := left % WIDTH:
            yield level, left // WIDTH, width
            if level == 0:
                yield None, left // WIDTH, width
        level, left = level + 1, left // WIDTH


def from_files(read: Read) -> Tile:
    """Reads tiles where they are published: a narrow one is left out where the whole one is there."""

    def tile(level: int, number: int, width: int) -> bytes:
        try:
            found = read(tile_path(level, number, width))
        except FileNotFoundError:
            found = read(tile_path(level, number))
        return found[: width * HASH_BYTES]

    return tile


def nodes(size: int, tile: Tile) -> Node:
    """Reads the nodes of a tree of a size out of its tiles.

    Raises:
        ValueError: (when one is read) a tile holds less than it must.
    """

    @lru_cache(maxsize=1024)
    def whole(level: int, number: int) -> bytes:
        width = width_of(level, number, size)
        found = tile(level, number, width)
        if len(found) != width * HASH_BYTES:
            raise ValueError("a tile is narrower than the log is large")
        return found

    def node(level: int, index: int) -> bytes:
        above = level % HEIGHT
        first = index << above
        raw = whole(level // HEIGHT, first // WIDTH)
        begin = first % WIDTH
        return root_of(hashes_in(raw[begin * HASH_BYTES : (begin + (1 << above)) * HASH_BYTES]))

    return node


def hashes_in(tile: bytes) -> list[bytes]:
    """The hashes in a tile."""
    return [tile[at : at + HASH_BYTES] for at in range(0, len(tile), HASH_BYTES)]


def bundle(entries: Sequence[bytes]) -> bytes:
    """Entries, each behind its length."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def entries_in(raw: bytes) -> list[bytes]:
    """The entries in a bundle.

    Raises:
        ValueError: it ends in the middle of one.
    """
    found, at = [], 0
    while at < len(raw):
        end = at + 2 + int.from_bytes(raw[at : at + 2], "big")
        if end > len(raw):
            raise ValueError("a bundle that ends in the middle of an entry")
        found.append(raw[at + 2 : end])
        at = end
    return found
