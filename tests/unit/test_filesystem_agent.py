"""The agent for files: where it does not go, what it leaves as it was, and that what it calls gone is gone."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from expunge.agent import Action, Claim, Kind, Person, Target
from expunge.agent.filesystem import Fields, Filesystem, lines

ANN = Person("a" * 32, "u1", "user_id", "ann")


def target(asset: str, action: Action = Action.DELETE, **fields: Any) -> Target:
    return Target("c" * 32, "d" * 32, asset, Kind.OBJECT, action, **({"people": (ANN,)} | fields))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "root"
    (directory / "sub").mkdir(parents=True)
    (directory / "sub" / "a.txt").write_text("a")
    (tmp_path / "outside.txt").write_text("outside")
    return directory


def run(root: Path, *targets: Target) -> list[tuple[str | None, str | None]]:
    results = Filesystem(root, "f:").purge(targets)
    return [(result.claim, result.fields.get("reason_code")) for result in results]


def test_delete(root: Path) -> None:
    assert run(root, target("f:sub/a.txt"), target("f:sub/a.txt")) == [("deleted", None), ("not_found", None)]
    assert not (root / "sub" / "a.txt").exists()


def test_what_an_interrupted_try_deleted_is_deleted_and_not_unknown(root: Path) -> None:
    assert run(root, target("f:gone.txt", interrupted=True)) == [("deleted", None)]


@pytest.mark.parametrize(
    ("asset", "reason"),
    [
        ("f:../outside.txt", "outside_root"),
        ("f:sub/../../outside.txt", "outside_root"),
        ("f:/etc/passwd", "outside_root"),
        ("f:", "outside_root"),
        ("f:.restricted/x", "outside_root"),
        ("f:a\0b", "outside_root"),
        ("g:sub/a.txt", "foreign_asset"),
        ("f:./sub/a.txt", "not_canonical"),
        ("f:sub//a.txt", "not_canonical"),
        ("f:sub/./a.txt", "not_canonical"),
        ("f:sub/a.txt/", "not_canonical"),
        ("f:.expunge-making/x", "outside_root"),
        ("f:link.txt", "symlink"),
        ("f:linked/outside.txt", "link_or_file_in_path"),
        ("f:sub/a.txt/b", "link_or_file_in_path"),
        ("f:sub", "not_a_file"),
    ],
)
@pytest.mark.parametrize("action", [Action.DELETE, Action.RESTRICT, Action.REBUILD_WITHOUT])
def test_what_leads_out_of_the_root_is_refused(root: Path, asset: str, reason: str, action: Action) -> None:
    (root / "link.txt").symlink_to(root.parent / "outside.txt")
    (root / "linked").symlink_to(root.parent)
    assert run(root, target(asset, action)) == [("failed", reason)]
    assert (root.parent / "outside.txt").read_text() == "outside"
    assert (root / "sub" / "a.txt").exists()


def test_restrict_moves_into_a_tree_of_the_owner_alone_and_a_later_delete_finds_it(root: Path) -> None:
    restrict = target("f:sub/a.txt", Action.RESTRICT)
    assert run(root, restrict, restrict) == [("restricted", None), ("restricted", None)]
    kept = root / ".restricted" / "sub" / "a.txt"
    assert kept.read_text() == "a"
    assert (root / ".restricted").stat().st_mode & 0o077 == 0
    assert run(root, target("f:sub/a.txt")) == [("deleted", None)]
    assert not kept.exists()


def test_a_file_moves_back_when_it_is_restricted_for_nothing_any_more(root: Path) -> None:
    for purposes in (("training",), ("marketing",), ()):
        assert run(root, target("f:sub/a.txt", Action.RESTRICT, purposes=purposes)) == [("restricted", None)]
    for purposes in (("training",), (), ("marketing",)):
        assert not (root / "sub" / "a.txt").exists()
        lift = target("f:sub/a.txt", Action.LIFT, purposes=purposes)
        assert run(root, lift, lift) == [("lifted", None)] * 2
    assert (root / "sub" / "a.txt").read_text() == "a"
    assert not list((root / ".restricted-for" / "sub").iterdir())
    assert run(root, target("f:nothing.txt", Action.LIFT)) == [("not_found", None)]


def test_a_restricted_file_does_not_move_back_over_another(root: Path) -> None:
    run(root, target("f:sub/a.txt", Action.RESTRICT))
    (root / "sub" / "a.txt").write_text("new")
    assert run(root, target("f:sub/a.txt", Action.LIFT)) == [("failed", "another_file_in_its_place")]
    assert (root / "sub" / "a.txt").read_text() == "new"


def test_rebuild_drops_lines_by_asset_source_and_ref(root: Path) -> None:
    lines = ['{"asset": "1"}\n', '{"asset": "2"}\n', '{"data_source": "s"}\n', '{"ref": "u1"}\n', '{"ref": "u2"}\n']
    (root / "set.jsonl").write_text("".join(lines))
    without = {"excluded_assets": frozenset({"1"}), "excluded_data_sources": frozenset({"s"})}
    assert run(root, target("f:set.jsonl", Action.REBUILD_WITHOUT, **without)) == [("rebuilt_without", None)]
    assert (root / "set.jsonl").read_text() == lines[1] + lines[4]


def test_a_file_that_is_no_json_lines_is_left_as_it_was(root: Path) -> None:
    (root / "set.jsonl").write_text('{"asset": "1"}\nnot json\n')
    wanted = target("f:set.jsonl", Action.REBUILD_WITHOUT, excluded_assets=frozenset({"1"}))
    assert run(root, wanted) == [("failed", "unreadable_line")]
    assert (root / "set.jsonl").read_text() == '{"asset": "1"}\nnot json\n'
    assert not list(root.glob(".*/*"))


def test_a_root_that_is_a_link_is_followed_once(root: Path, tmp_path: Path) -> None:
    """edges 16: a mount is usually reached by a link; every delete was an `io_error`."""
    mount = tmp_path / "mount"
    mount.symlink_to(root)
    agent = Filesystem(mount, "f:")
    mount.unlink()
    mount.symlink_to(tmp_path)  # whoever moves the link later moves nothing of the agent's
    (result,) = agent.purge([target("f:sub/a.txt")])
    assert result.claim is Claim.DELETED


@pytest.mark.parametrize("action", [Action.DELETE, Action.RESTRICT, Action.REBUILD_WITHOUT])
def test_other_hard_links_keep_the_bytes_so_nothing_is_claimed(root: Path, tmp_path: Path, action: Action) -> None:
    (tmp_path / "other").hardlink_to(root / "sub" / "a.txt")
    assert run(root, target("f:sub/a.txt", action)) == [("failed", "other_hard_links")]
    assert (root / "sub" / "a.txt").exists()


def test_where_other_hard_links_are_allowed_the_answer_says_so(root: Path, tmp_path: Path) -> None:
    (tmp_path / "other").hardlink_to(root / "sub" / "a.txt")
    agent = Filesystem(root, "f:", links=True)
    (restricted,) = agent.purge([target("f:sub/a.txt", Action.RESTRICT)])
    assert restricted.fields["reason_code"] == "other_hard_links"
    (result,) = agent.purge([target("f:sub/a.txt")])
    assert result.fields == {"method": "one_of_several_names", "detail": "1 other hard links keep the bytes"}
    assert not (root / "sub" / "a.txt").exists()


def test_a_pipe_hangs_nobody(root: Path) -> None:
    os.mkfifo(root / "pipe")
    for action in (Action.DELETE, Action.RESTRICT, Action.REBUILD_WITHOUT):
        assert run(root, target("f:pipe", action)) == [("failed", "not_a_file")]


@pytest.mark.parametrize("planted", [".restricted", ".restricted-for", ".expunge-making"])
def test_a_directory_of_its_own_that_others_have_made_ready_is_not_used(root: Path, planted: str) -> None:
    """doors 11: a ready-made `.restricted` with mode 0777 was used."""
    (root / planted).mkdir()
    (root / planted).chmod(0o777)
    assert run(root, target("f:sub/a.txt", Action.RESTRICT)) == [("failed", "own_directory_is_open_to_others")]
    assert (root / "sub" / "a.txt").exists()


# Rebuilding


def rebuilt(root: Path, content: bytes, *, name: str = "set.jsonl", **fields: Any) -> tuple[Any, bytes]:
    """What a rebuild without person `u1`, whose id is `ann`, says and leaves."""
    (root / name).write_bytes(content)
    (result,) = Filesystem(root, "f:", fields=FIELDS).purge([target(f"f:{name}", Action.REBUILD_WITHOUT, **fields)])
    return result, (root / name).read_bytes()


FIELDS = Fields(people=frozenset({"ref", "user_id"}))
NUMBERED = Person("a" * 32, "101", "user_id", "ann")


@pytest.mark.parametrize(
    "line",
    [
        b'{"ref": "u1"}',
        b'{"user_id": "ann"}',
        b'{"metadata": {"ref": "u1"}}',
        b'{"rows": [{"deep": [{"ref": ["u2", "u1"]}]}]}',
        b'{"ref": {"primary": "u1"}}',
        b'{"ref": "u2", "ref": "u1"}',
        b'{"ref": "u1", "ref": "u2"}',
        '{"ref": "\u0075\u0031"}'.encode(),
    ],
)
def test_a_line_is_dropped_wherever_in_it_a_declared_field_names_somebody(root: Path, line: bytes) -> None:
    """edges 12: nested, listed and numeric handles stayed, and the answer was `rebuilt_without`."""
    result, left = rebuilt(root, b'{"ref": "u2"}\n' + line + b"\n")
    assert left == b'{"ref": "u2"}\n'
    assert (result.claim, result.fields["matched"], result.fields["affected"]) == (Claim.REBUILT_WITHOUT, 1, 1)


@pytest.mark.parametrize("line", [b'{"ref": 101}', b'{"ref": 101.0}', b'{"ref": [7, 101]}', b'{"ref": "101"}'])
def test_a_handle_may_be_a_number(root: Path, line: bytes) -> None:
    result, left = rebuilt(root, line + b"\n", people=(NUMBERED,))
    assert (result.claim, left) == (Claim.REBUILT_WITHOUT, b"")


@pytest.mark.parametrize("line", [b'{"name": "u1"}', b'{"ref": true}', b'{"ref": null}', b'{"ref": "U1"}'])
def test_where_nothing_was_dropped_nothing_is_claimed(root: Path, line: bytes) -> None:
    result, left = rebuilt(root, line + b"\n")
    assert (result.claim, result.fields, left) == (Claim.NOT_FOUND, {"matched": 0}, line + b"\n")
    again, _ = rebuilt(root, line + b"\n", interrupted=True)
    assert again.claim is Claim.REBUILT_WITHOUT


def test_what_is_kept_is_kept_byte_for_byte(root: Path) -> None:
    """edges 13 and 14: a blank line was unreadable, and line ends came back as others."""
    kept = b'\xef\xbb\xbf{"ref": "u2", "x": "\xc3\xa9"}\r\n\r\n  \n{"ref":"u3"}\r\n'
    result, left = rebuilt(root, kept + b'{"ref": "u1"}\r\n{"ref": "last"}')
    assert left == kept + b'{"ref": "last"}'
    assert result.fields["artefact_digest"] == "sha256:" + hashlib.sha256(left).hexdigest()
    _, left = rebuilt(root, b'\xef\xbb\xbf{"ref": "u1"}\n{"ref": "u2"}\n')
    assert left == b'\xef\xbb\xbf{"ref": "u2"}\n'


def test_owner_and_mode_stay_and_nothing_is_left_beside(root: Path) -> None:
    name = "n" * 255  # as long as a file system allows
    (root / name).write_bytes(b"")
    (root / name).chmod(0o640)
    _, left = rebuilt(root, b'{"ref": "u1"}\n', name=name)
    assert left == b""
    assert (root / name).stat().st_mode & 0o777 == 0o640
    assert not list(root.glob(".expunge-making/*"))


def test_what_a_process_that_died_had_made_is_taken_away_at_the_next_start(root: Path) -> None:
    (root / ".expunge-making").mkdir(mode=0o700)
    (root / ".expunge-making" / "0123").write_text("ann")
    Filesystem(root, "f:")
    assert not list(root.glob(".expunge-making/*"))


def test_what_somebody_writes_meanwhile_is_not_lost(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without, calls = lines.without, []

    def slow(*arguments: Any) -> Any:
        left = without(*arguments)
        calls.append(left)
        if len(calls) == 2:
            with (root / "set.jsonl").open("ab") as other:
                other.write(b'{"ref": "u9"}\n')
        return left

    monkeypatch.setattr("expunge.agent.filesystem.agent.without", slow)
    result, left = rebuilt(root, b'{"ref": "u1"}\n')
    assert result.fields == {"reason_code": "changed_meanwhile"}
    assert left == b'{"ref": "u1"}\n{"ref": "u9"}\n'
    assert not list(root.glob(".expunge-making/*"))


@pytest.mark.parametrize("what", ["deleted", "replaced"])
def test_what_was_deleted_or_replaced_meanwhile_is_not_brought_back(
    root: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    without, calls = lines.without, []

    def slow(*arguments: Any) -> Any:
        calls.append(without(*arguments))
        if len(calls) == 2 and what == "deleted":
            (root / "set.jsonl").unlink()
        elif len(calls) == 2:
            (root / "new").write_bytes(b'{"ref": "u7"}\n')
            (root / "new").rename(root / "set.jsonl")
        return calls[-1]

    monkeypatch.setattr("expunge.agent.filesystem.agent.without", slow)
    (root / "set.jsonl").write_bytes(b'{"ref": "u1"}\n{"ref": "u2"}\n')
    agent = Filesystem(root, "f:", fields=FIELDS)
    (result,) = agent.purge([target("f:set.jsonl", Action.REBUILD_WITHOUT)])
    assert result.fields == {"reason_code": "changed_meanwhile"}
    left = (root / "set.jsonl").read_bytes() if (root / "set.jsonl").exists() else b""
    assert left == (b"" if what == "deleted" else b'{"ref": "u7"}\n')


@pytest.mark.parametrize("number", [b"1e999", b"9" * 400, b"-0.5"])
def test_numbers_of_any_size_end_nobody(root: Path, number: bytes) -> None:
    kept = b'{"ref": ' + number + b"}\n"
    result, left = rebuilt(root, kept + b'{"ref": "u1"}\n')
    assert (result.claim, left) == (Claim.REBUILT_WITHOUT, kept)
