"""The ready agents and the library under them: what they refuse, what they remember, what they survive."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from expunge.agent.filesystem import Filesystem
from expunge.agent.types import Person, Target, deleted
from expunge.domain.vocabulary import Action, Kind

ANN = Person("a" * 32, "u1", "user_id", "ann")


def target(asset: str, action: Action = Action.DELETE, **fields: Any) -> Target:
    return Target("c" * 32, "d" * 32, asset, Kind.OBJECT, action, people=(ANN,), **fields)


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
    assert [path.name for path in root.glob(".*")] == []


def test_an_answer_is_for_one_case_action_and_exclusion() -> None:
    plain = target("a")
    others = [
        replace(plain, case_id="e" * 32),
        replace(plain, action=Action.RESTRICT),
        replace(plain, purposes=("p",)),
        replace(plain, excluded_assets=frozenset({"x"})),
        replace(plain, people=(Person("b" * 32),)),
    ]
    assert len({each.identity for each in (plain, *others)}) == 6
    assert replace(plain, command_id="f" * 32, interrupted=True).identity == plain.identity
    assert "ann" not in repr(plain) + repr(ANN) + repr(deleted(plain))
