"""Merkle trees as RFC 6962 makes them (section 2.1), and the proofs about them.

Nodes are named by level and index: a node of level `l` and index `i` stands for the 2^l leaves from i * 2^l on. Whoever
makes proofs reads such nodes where they are kept (`tiles`); whoever checks them needs nothing else. This module imports
nothing, so that it can be read, and trusted, by itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

Node = Callable[[int, int], bytes]
"""The hash of a whole node, by level and index."""

EMPTY = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of what stands above two nodes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(hashes: Iterable[bytes]) -> bytes:
    """The root over hashes of leaves, each taken once and not kept."""
    whole: list[tuple[int, bytes]] = []  # level and hash, the highest level first
    for each in hashes:
        level, right = 0, each
        while whole and whole[-1][0] == level:
            right = node_hash(whole.pop()[1], right)
            level += 1
        whole.append((level, right))
    if not whole:
        return EMPTY
    found = whole.pop()[1]
    while whole:
        found = node_hash(whole.pop()[1], found)
    return found


def root(size: int, node: Node) -> bytes:
    """The root of a tree of that size."""
    return _over(0, size, node) if size else EMPTY


def above(hashes: Sequence[bytes]) -> Node:
    """Reads the nodes of a tree whose leaves are at hand."""
    return lambda level, index: root_of(hashes[index << level : (index + 1) << level])


def inclusion(index: int, size: int, node: Node) -> list[bytes]:
    """The proof that a leaf stands in a tree: the hashes beside its way to the root, from below (RFC 6962, 2.1.1).

    Args:
        index: of the leaf, less than `size`.
        size: of the tree.
        node: reads nodes.
    """
    path: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            path.append(_over(middle, end, node))
            end = middle
        else:
            path.append(_over(begin, middle, node))
            begin = middle
    return path[::-1]


def consistency(earlier: int, size: int, node: Node) -> list[bytes]:
    """The proof that a tree has only grown since it was smaller (RFC 6962, 2.1.2).

    Args:
        earlier: its size then, from 1 on.
        size: its size now, not less.
        node: reads nodes.
    """
    path: list[bytes] = []
    begin, end, is_whole = 0, size, True
    while earlier != end:
        middle = begin + _split(end - begin)
        if earlier <= middle:
            path.append(_over(middle, end, node))
            end = middle
        else:
            path.append(_over(begin, middle, node))
            begin, is_whole = middle, False
    if not is_whole:
        path.append(_over(begin, end, node))
    return path[::-1]


def root_with(index: int, size: int, leaf: bytes, proof: Sequence[bytes]) -> bytes:
    """The root of the tree in which a leaf stands, if its proof is right (RFC 9162, 2.1.3.2).

    Args:
        index: of the leaf.
        size: of the tree.
        leaf: its hash.
        proof: as `inclusion` makes it.

    Raises:
        ValueError: no tree of that size has such a leaf, or such a proof.
    """
    if not 0 <= index < size:
        raise ValueError("no such leaf")
    return _climbed(index, size - 1, leaf, proof)


def roots_with(earlier: int, size: int, proof: Sequence[bytes], earlier_root: bytes) -> tuple[bytes, bytes]:
    """The roots of a tree when it was smaller, and now, if the proof is right (RFC 9162, 2.1.4.2).

    Args:
        earlier: the size then, from 1 on.
        size: the size now.
        proof: as `consistency` makes it.
        earlier_root: the root then, as somebody knows it: where it is a whole node, the proof leaves it out.

    Raises:
        ValueError: no such trees have such a proof.
    """
    if not 0 < earlier <= size:
        raise ValueError("a tree that has shrunk")
    if earlier == size:
        if proof:
            raise ValueError("a proof that is too long")
        return earlier_root, earlier_root
    path = list(proof) if earlier & (earlier - 1) else [earlier_root, *proof]
    if not path:
        raise ValueError("a proof that is too short")
    at, last = earlier - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    then = path[0]
    now = _climbed(at, last, then, path[1:])
    for each in path[1:]:
        if at & 1 or at == last:
            then = node_hash(each, then)
            at, last = _up(at, last)
        at, last = at >> 1, last >> 1
    return then, now


def _climbed(at: int, last: int, found: bytes, proof: Sequence[bytes]) -> bytes:
    """The hash above a node, with the hashes beside its way.

    Args:
        at: index of the node in its level.
        last: index of the last node in that level.
        found: its hash.
        proof: the hashes, from below.

    Raises:
        ValueError: they are too many or too few.
    """
    for each in proof:
        if last == 0:
            raise ValueError("a proof that is too long")
        if at & 1 or at == last:
            found = node_hash(each, found)
            at, last = _up(at, last)
        else:
            found = node_hash(found, each)
        at, last = at >> 1, last >> 1
    if last:
        raise ValueError("a proof that is too short")
    return found


def _up(at: int, last: int) -> tuple[int, int]:
    """Where a node that nothing stands beside has its next neighbour: in the first level in which it is a right one."""
    while not at & 1 and at:
        at, last = at >> 1, last >> 1
    return at, last


def _over(begin: int, end: int, node: Node) -> bytes:
    """The hash over some leaves, of which the first is at the beginning of a node that is large enough for them."""
    number = end - begin
    if number & (number - 1) == 0:
        level = number.bit_length() - 1
        return node(level, begin >> level)
    middle = begin + _split(number)
    return node_hash(_over(begin, middle, node), _over(middle, end, node))


def _split(number: int) -> int:
    """The largest power of two below a number that is greater than one."""
    return 1 << ((number - 1).bit_length() - 1)
