"""Merkle trees, tiles and notes, against RFC 6962, the C2SP specifications, and a tree that is computed plainly."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.domain.evidence import merkle, tiles
from expunge.domain.evidence.notes import Checkpoint, checkpoint_of, key_hash, signed, verifier
from expunge.domain.signatures import is_by
from tests.simulation import STRANGER


def plain(hashes: list[bytes]) -> bytes:
    """The root as RFC 6962, 2.1, defines it."""
    if len(hashes) <= 1:
        return hashes[0] if hashes else merkle.EMPTY
    middle = 1
    while 2 * middle < len(hashes):
        middle *= 2
    return merkle.node_hash(plain(hashes[:middle]), plain(hashes[middle:]))


def leaves(number: int) -> list[bytes]:
    return [merkle.leaf_hash(str(each).encode()) for each in range(number)]


def node_of(hashes: list[bytes]) -> merkle.Node:
    def node(level: int, index: int) -> bytes:
        part = hashes[index << level : (index + 1) << level]
        assert len(part) == 1 << level, "only whole nodes are read"
        return plain(part)

    return node


def test_roots_are_those_of_the_reference() -> None:
    """The test vectors of Google's certificate-transparency (merkle_tree_test.cc), which others use, too."""
    entries = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]
    hashes = [merkle.leaf_hash(bytes.fromhex(each)) for each in entries]
    for size, root in enumerate(roots, 1):
        assert merkle.root_of(hashes[:size]).hex() == root
        assert merkle.root(size, node_of(hashes)).hex() == root
    assert merkle.root(0, node_of([])) == merkle.root_of([]) == merkle.EMPTY


@given(st.integers(1, 300), st.data())
def test_every_leaf_is_proven_and_no_other(size: int, data: st.DataObject) -> None:
    hashes = leaves(size)
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion(index, size, node_of(hashes))
    root = merkle.root_of(hashes)
    assert root == plain(hashes)
    assert merkle.root_with(index, size, hashes[index], proof) == root
    assert merkle.root_with(index, size, b"\x01" * 32, proof) != root
    other = data.draw(st.integers(0, size - 1))
    if other != index:
        with contextlib.suppress(ValueError):  # a proof of that length is no leaf's there
            assert merkle.root_with(other, size, hashes[index], proof) != root
    for wrong in (proof[:-1], [*proof, b"\x00" * 32]):
        if wrong != proof:
            with pytest.raises(ValueError, match="too"):
                merkle.root_with(index, size, hashes[index], wrong)
    for at in range(len(proof)):
        bent = [*proof[:at], bytes(32), *proof[at + 1 :]]
        assert merkle.root_with(index, size, hashes[index], bent) != root


@given(st.integers(1, 300), st.data())
def test_growth_is_proven_and_nothing_else(size: int, data: st.DataObject) -> None:
    hashes = leaves(size)
    earlier = data.draw(st.integers(1, size))
    proof = merkle.consistency(earlier, size, node_of(hashes))
    then, now = merkle.root_of(hashes[:earlier]), merkle.root_of(hashes)
    assert merkle.roots_with(earlier, size, proof, then) == (then, now)
    changed = merkle.root_of([bytes(32), *hashes[1:earlier]])
    assert merkle.roots_with(earlier, size, proof, changed) != (changed, now) or earlier == size
    for wrong in (proof[:-1], [*proof, b"\x00" * 32]):
        if wrong != proof:
            with pytest.raises(ValueError, match="too"):
                merkle.roots_with(earlier, size, wrong, then)
    for at in range(len(proof)):
        bent = [*proof[:at], bytes(32), *proof[at + 1 :]]
        assert merkle.roots_with(earlier, size, bent, then) != (then, now)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="no such leaf"):
        merkle.root_with(3, 3, bytes(32), [])
    with pytest.raises(ValueError, match="shrunk"):
        merkle.roots_with(4, 3, [], bytes(32))
    with pytest.raises(ValueError, match="too short"):
        merkle.roots_with(3, 5, [], bytes(32))


def test_tiles_lie_where_the_specification_says() -> None:
    """Its example: 70,000 entries, https://c2sp.org/tlog-tiles."""
    assert tiles.tile_path(0, 1234067) == "tile/0/x001/x234/067"
    assert tiles.tile_path(0, 0) == "tile/0/000"
    found = [tiles.tile_path(*each) for each in tiles.partial_tiles(70_000)]
    assert found == ["tile/0/273.p/112", "tile/entries/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]
    assert tiles.width_of(0, 273, 70_000) == 112
    assert tiles.width_of(3, 0, 70_000) == 0
    assert tiles.width_of(None, 274, 70_000) == 0


def test_bundles_hold_what_was_put_in() -> None:
    entries = [b"", b"a", b"b" * tiles.MOST_ENTRY_BYTES]
    assert tiles.entries_in(tiles.bundle(entries)) == entries
    with pytest.raises(ValueError, match="middle"):
        tiles.entries_in(tiles.bundle(entries)[:-1])


def test_a_key_is_spelled_as_others_spell_it() -> None:
    """The example of Go's golang.org/x/mod/sumdb/note."""
    line = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    public = base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")[1:]
    assert verifier("PeterNeumann", public) == line
    text = b"If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    signature = base64.b64decode(
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    )
    assert signature[:4] == key_hash("PeterNeumann", public)
    assert is_by(public.hex(), signature[4:], text)


def test_a_checkpoint_is_read_as_it_was_written() -> None:
    checkpoint = Checkpoint("expunge.example.org/ledger", 7, merkle.root_of(leaves(7)))
    note = signed(checkpoint, bytes.fromhex(STRANGER.public), STRANGER.sign)
    assert checkpoint_of(note) == checkpoint
    assert note.count("\n\n") == 1
    assert note.endswith("\n")
    for wrong in ("", "a\n\n", "a\n01\nAA==\n", "a\n-1\nAA==\n", "a\n1\n%\n"):
        with pytest.raises(ValueError):  # noqa: PT011 - of several kinds
            checkpoint_of(wrong)
