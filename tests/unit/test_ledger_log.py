"""The ledger's log on disk (rule "logged"): it grows, survives deaths, is made anew to the same bytes, and refuses."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from expunge.adapters import files
from expunge.adapters.ledger_log import DirectoryLog
from expunge.domain.continuity import Reached
from expunge.domain.events import Position
from expunge.domain.evidence import merkle, tiles
from expunge.domain.evidence.notes import checkpoint_of
from expunge.errors import ConfigurationError, Contradicted, Unavailable
from expunge.ports.evidence import Due, Leaf
from tests.simulation import NOTARY, STRANGER

ORIGIN = "expunge.example.org/ledger"
AT = datetime(2026, 11, 1, tzinfo=UTC)


def leaf(offset: int, entry: bytes | None = None, *keys: str, ends: Sequence[Due] = ()) -> Leaf:
    reached = Reached(offset + 1, Position(3, offset), 1_000 + offset)
    return Leaf(reached, b"entry %d" % offset if entry is None else entry, keys, tuple(ends))


def open_log(folder: Path) -> DirectoryLog:
    return DirectoryLog(folder, ORIGIN, STRANGER)


def _append_and_sign(log: DirectoryLog, leaves: Sequence[Leaf]) -> None:
    log.append(leaves)
    log.checkpoint()


def published(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in sorted(folder.rglob("*")) if each.is_file()}


def test_it_grows_by_any_steps_to_the_same_bytes(tmp_path: Path) -> None:
    every = [leaf(offset) for offset in range(70_000)]
    one, other = open_log(tmp_path / "one"), open_log(tmp_path / "other")
    assert one.append(every) == 70_000
    for begin in range(0, len(every), 9_973):
        other.append(every[begin : begin + 9_973])
        other.close()  # and a process that is started anew goes on
    assert one.checkpoint() == other.checkpoint()
    assert published(tmp_path / "one/log-0") == published(tmp_path / "other/log-0")
    note = one.checkpoint()
    assert note is not None
    said = checkpoint_of(note)
    assert (said.origin, said.size) == (ORIGIN, 70_000)
    assert said.root == merkle.root_of(merkle.leaf_hash(each.entry) for each in every)
    assert one.reached() == Reached(70_000, Position(3, 69_999), 70_999)
    folder = tmp_path / "one/log-0"
    node = tiles.nodes(said.size, tiles.from_files(lambda path: (folder / path).read_bytes()))
    assert merkle.root(said.size, node) == said.root


def test_what_is_read_again_is_held_against_what_stands(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append([leaf(offset) for offset in range(600)])
    assert log.append([leaf(offset) for offset in range(0, 600, 7)]) == 0
    for offset in (0, 255, 256, 599):
        with pytest.raises(Contradicted, match=f"another record at offset {offset} "):
            log.append([leaf(offset, b"another")])
    with pytest.raises(Contradicted, match="nothing at offset 600"):
        log.append([leaf(601)])
    assert log.size == 600


def test_a_record_that_is_gone_from_the_middle_of_a_batch_logs_nothing_of_it(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    with pytest.raises(Contradicted):
        log.append([leaf(0), leaf(1), leaf(3)])
    assert log.size == 0
    assert log.append([leaf(0)]) == 1


def test_facts_are_found_with_their_proofs_also_at_an_earlier_checkpoint(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append([leaf(offset, None, "case", *(["other"] if offset % 2 else [])) for offset in range(300)])
    early = log.checkpoint()
    log.append([leaf(offset, None, "case") for offset in range(300, 600)])
    late = log.checkpoint()
    assert early is not None
    assert late is not None
    for note, number in ((early, 300), (late, 600)):
        said = checkpoint_of(note)
        found = log.proven("case", note)
        assert [each.leaf for each in found] == list(range(number))
        for each in found:
            assert each.entry == b"entry %d" % each.leaf
            assert merkle.root_with(each.leaf, said.size, merkle.leaf_hash(each.entry), each.proof) == said.root
    assert [each.leaf for each in log.proven("other", late)] == list(range(1, 300, 2))
    assert log.proven("nobody", late) == []


def test_a_record_that_no_bundle_holds_lies_beside_it(tmp_path: Path) -> None:
    log, large = open_log(tmp_path), b"x" * 70_000
    log.append([leaf(0, large, "case"), *(leaf(offset) for offset in range(1, 300))])
    note = log.checkpoint()
    assert note is not None
    (found,) = log.proven("case", note)
    assert found.entry == large
    assert merkle.root_with(0, 300, merkle.leaf_hash(large), found.proof) == checkpoint_of(note).root
    (bundled, *_) = tiles.entries_in((tmp_path / "log-0/tile/entries/000").read_bytes())
    assert (tmp_path / "log-0/large" / orjson.loads(bundled)["large"]).read_bytes() == large
    assert log.append([leaf(0, large)]) == 0


@pytest.mark.parametrize("dies_at", range(6))
def test_a_death_while_it_writes_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: int) -> None:
    """Whichever file it was about to write: what stands is what the transaction says."""
    every = [leaf(offset) for offset in range(900)]
    log, write, left = open_log(tmp_path / "log"), files.write, [dies_at]

    def dying(file: Path, raw: bytes, *, mode: int = 0o644) -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        write(file, raw, mode=mode)

    log.append(every[:100])
    monkeypatch.setattr(files, "write", dying)
    with pytest.raises(KeyboardInterrupt):
        _append_and_sign(log, every[100:])
    monkeypatch.setattr(files, "write", write)
    again = open_log(tmp_path / "log")
    again.append(every)
    straight = open_log(tmp_path / "straight")
    straight.append(every)
    assert again.checkpoint() == straight.checkpoint()
    assert published(tmp_path / "log/log-0") == published(tmp_path / "straight/log-0")


def test_two_processes_append_what_the_other_has_not(tmp_path: Path) -> None:
    """One that has lost the partition and does not know it yet writes nothing twice."""
    one, other = open_log(tmp_path), open_log(tmp_path)
    every = [leaf(offset) for offset in range(400)]
    one.append(every[:300])
    assert other.append(every[200:400]) == 100
    assert one.append(every[250:]) == 0
    assert one.size == 400


def test_it_is_made_anew_from_the_topic_and_signs_nothing_until_it_has_come_as_far(tmp_path: Path) -> None:
    every = [leaf(offset) for offset in range(1_000)]
    log = open_log(tmp_path)
    log.append(every)
    note = log.checkpoint()
    before = published(tmp_path / "log-0")
    log.close()
    for each in tmp_path.glob("state.sqlite*"):
        each.unlink()
    anew = open_log(tmp_path)
    assert anew.reached() == Reached(0)
    anew.append(every[:999])
    assert anew.checkpoint() is None
    anew.append(every[999:])
    assert anew.checkpoint() == note
    assert published(tmp_path / "log-0") == before


def test_a_ledger_that_was_rewritten_gets_no_checkpoint(tmp_path: Path) -> None:
    """Also where all that the notary remembered is gone, and the published checkpoint alone is left."""
    log = open_log(tmp_path)
    log.append([leaf(offset) for offset in range(10)])
    note = log.checkpoint()
    log.close()
    for each in tmp_path.glob("state.sqlite*"):
        each.unlink()
    anew = open_log(tmp_path)
    anew.append([leaf(offset, b"another" if offset == 4 else None) for offset in range(12)])
    with pytest.raises(Contradicted, match="the checkpoint that was published"):
        anew.checkpoint()
    assert (tmp_path / "log-0/checkpoint").read_text() == note


def test_a_log_is_closed_and_another_goes_on(tmp_path: Path) -> None:
    """An operator has let the notary go on behind a loss: the new log names the last checkpoint of the old one."""
    log = open_log(tmp_path)
    log.append([leaf(offset) for offset in range(5)])
    before = log.checkpoint()
    log.append([leaf(5), leaf(6)])  # of which no checkpoint tells
    log.succeed(Reached(9))
    log.succeed(Reached(9))  # said twice it is the same
    assert log.origin == f"{ORIGIN}/1"
    assert log.reached() == Reached(9)
    log.append([leaf(9, None, "case"), leaf(10)])
    assert log.append([leaf(offset) for offset in (3, 9)]) == 0
    with pytest.raises(Contradicted):
        log.append([leaf(9, b"another")])
    note = log.checkpoint()
    assert note is not None
    assert checkpoint_of(note).size == 3
    (first, *_) = tiles.entries_in((tmp_path / "log-1/tile/entries/000.p/3").read_bytes())
    assert orjson.loads(first) == {"continues": ORIGIN, "checkpoint": before, "offset": 9}
    assert (tmp_path / "log-0/checkpoint").read_text() == before
    assert [each.leaf for each in log.proven("case", note)] == [1]
    log.close()
    published_before = published(tmp_path / "log-1")
    for each in tmp_path.glob("state.sqlite*"):
        each.unlink()
    anew = open_log(tmp_path)
    assert anew.reached() == Reached(9)
    anew.append([leaf(9, None, "case"), leaf(10)])
    assert anew.checkpoint() == note
    assert published(tmp_path / "log-1") == published_before


@pytest.mark.parametrize("offsets", [(0, 0), (200, 100), (0, 5)])
def test_logs_follow_each_other_wherever_the_ledger_goes_on(tmp_path: Path, offsets: tuple[int, int]) -> None:
    """A topic that was made anew goes on at offset 0: what was published of the log before was overwritten."""
    log = open_log(tmp_path)
    log.append([leaf(offset, None, "losses") for offset in range(300)])
    log.checkpoint()
    before = published(tmp_path / "log-0")
    for number, offset in enumerate(offsets, 1):
        log.succeed(Reached(offset))
        log.append([leaf(offset + each, b"other %d" % number, "losses") for each in range(3)])
        note = log.checkpoint()
        assert note is not None
        assert (checkpoint_of(note).origin, checkpoint_of(note).size) == (f"{ORIGIN}/{number}", 4)
    assert published(tmp_path / "log-0") == before
    found = log.entries("losses")
    assert (len(found), found[0], found[-1]) == (306, b"entry 0", b"other 2")


def test_what_cannot_be_made_comes_again_ever_later(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    one, other = Due("a", 3, AT), Due("b", 7, AT)
    log.append([leaf(0, None, "a", "b", ends=[one, other])])
    log.later(one, AT)
    assert log.due(5, AT) == [other]
    assert log.due(5, AT + timedelta(minutes=1)) == [other, one]
    log.later(one, AT)
    assert log.due(5, AT + timedelta(minutes=1)) == [other]
    log.again(one)
    assert log.due(5, AT) == [one, other]


@pytest.mark.parametrize("changed", ["origin", "key"])
def test_a_log_goes_by_one_name_and_one_key(tmp_path: Path, changed: str) -> None:
    log = open_log(tmp_path)
    log.append([leaf(0)])
    log.close()
    other = (
        DirectoryLog(tmp_path, "another", STRANGER) if changed == "origin" else DirectoryLog(tmp_path, ORIGIN, NOTARY)
    )
    with pytest.raises(ConfigurationError, match="evidence.origin" if changed == "origin" else "notary.key"):
        other.reached()


def test_a_checkpoint_that_cannot_be_read_is_never_replaced(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append([leaf(0)])
    log.checkpoint()
    for raw in (b"", b"\xff\xfe", b"a\nb\nc"):
        (tmp_path / "log-0/checkpoint").write_bytes(raw)
        log.append([leaf(log.size)])
        with pytest.raises(Contradicted, match="cannot be read"):
            log.checkpoint()
        assert (tmp_path / "log-0/checkpoint").read_bytes() == raw


def test_certificates_are_due_once(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    due = [Due("b", 7, AT), Due("a", 3, AT)]
    log.append([leaf(0, None, "a", "b", ends=due)])
    log.append([leaf(0, None, "a", "b", ends=due)])
    assert log.due(5, AT) == [Due("a", 3, AT), Due("b", 7, AT)]
    assert log.due(1, AT) == [Due("a", 3, AT)]
    log.settled([Due("a", 3, AT)])
    assert open_log(tmp_path).due(5, AT) == [Due("b", 7, AT)]


def test_a_disk_that_refuses_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file where the directory should be")
    with pytest.raises(Unavailable, match="the log in"):
        open_log(tmp_path / "log").reached()
    (tmp_path / "log").unlink()
    log = open_log(tmp_path / "log")
    log.append([leaf(0)])
    shutil.rmtree(tmp_path / "log/log-0", ignore_errors=True)
    assert log.append([leaf(1)]) == 1


def test_a_state_that_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(ConfigurationError, match="move it away"):
        open_log(tmp_path).reached()
