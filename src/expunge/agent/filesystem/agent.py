"""Deletes, restricts and rebuilds files, and claims only what is true of their bytes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from expunge.agent.filesystem.lines import Fields, Left, without
from expunge.agent.filesystem.tree import RESTRICTED, RESTRICTED_FOR, Refused, Tree
from expunge.agent.types import Fields as Said
from expunge.agent.types import Result, Target, deleted, done, failed, not_found
from expunge.domain.vocabulary import Action, Claim

EVERYTHING = "*"
CODES = {1: "not_permitted", 13: "permission_denied", 18: "other_file_system", 28: "no_space", 30: "read_only"}
CODES |= {36: "name_too_long", 40: "symlink"}


class Filesystem:
    """Purges files whose asset ids are `prefix` + path relative to `root`.

    Actions: delete, restrict (moves the file into an owner-only tree), lift (moves it back when it is restricted for
    nothing any more), and rebuild_without (drops lines of a JSON Lines file).

    Args:
        root: the directory that nothing leaves.
        prefix: what asset ids begin with.
        fields: which fields of a JSON Lines file name people, assets and data sources.
        links: whether a file may be deleted under one name while other hard links keep its bytes; the answer says so.
    """

    ACTIONS = frozenset({Action.DELETE, Action.RESTRICT, Action.LIFT, Action.REBUILD_WITHOUT})

    def __init__(self, root: Path, prefix: str, *, fields: Fields | None = None, links: bool = False) -> None:
        self._tree, self._prefix, self._fields = Tree(root, links=links), prefix, fields or Fields()
        self._actions: dict[Action, Callable[[Target, PurePosixPath], Result]] = {
            Action.DELETE: self._delete,
            Action.RESTRICT: self._restrict,
            Action.LIFT: self._lift,
            Action.REBUILD_WITHOUT: self._rebuild,
        }

    def purge(self, batch: Sequence[Target]) -> list[Result]:
        """See `Purger.purge`."""
        return [self._one(target) for target in batch]

    def _one(self, target: Target) -> Result:
        action = self._actions.get(target.action)
        if action is None:
            return failed(target, "unsupported_action", untouched=True)
        if not target.asset.startswith(self._prefix):
            return failed(target, "foreign_asset", untouched=True)
        try:
            return action(target, self._tree.path(target.asset.removeprefix(self._prefix)))
        except Refused as refusal:
            return failed(target, str(refusal), untouched=True)
        except OSError as error:
            return failed(target, CODES.get(error.errno or 0, "io_error"))
        except ValueError:  # a name that no file can have
            return failed(target, "not_a_path", untouched=True)

    def _delete(self, target: Target, path: PurePosixPath) -> Result:
        places = (path, PurePosixPath(RESTRICTED) / path)
        others = sum(self._tree.links(place) for place in places)
        found = [self._tree.unlink(place) for place in places]
        self._tree.unlink(PurePosixPath(RESTRICTED_FOR) / path)
        if others:
            return deleted(target, method="one_of_several_names", detail=f"{others} other hard links keep the bytes")
        return deleted(target) if any(found) or target.interrupted else not_found(target)

    def _restrict(self, target: Target, path: PurePosixPath) -> Result:
        kept = PurePosixPath(RESTRICTED) / path
        here, moved = self._tree.has(path), self._tree.has(kept)
        if not (here or moved):
            return not_found(target)
        if here and moved:
            return failed(target, "another_file_in_its_place", untouched=True)
        self._note(path, self._noted(path) | _words(target))  # first: a crash is repeated
        if here:
            self._tree.move(path, kept)
        return done(target, Claim.RESTRICTED)

    def _lift(self, target: Target, path: PurePosixPath) -> Result:
        kept = PurePosixPath(RESTRICTED) / path
        left = self._noted(path) - _words(target)
        if not self._tree.has(kept):
            self._note(path, left)  # a try before this one may have moved it back and died
            return done(target, Claim.LIFTED) if self._tree.has(path) else not_found(target)
        if not left:
            if self._tree.has(path):
                return failed(target, "another_file_in_its_place", untouched=True)
            self._tree.move(kept, path)
        self._note(path, left)
        return done(target, Claim.LIFTED)

    def _noted(self, path: PurePosixPath) -> set[str]:
        """The purposes for which a file is restricted."""
        with self._tree.reading(PurePosixPath(RESTRICTED_FOR) / path) as note:
            if note is None:
                return set()
            with os.fdopen(os.dup(note), encoding="utf-8") as words:
                return set(words.read().split())

    def _note(self, path: PurePosixPath, purposes: set[str]) -> None:
        """Write them, in one step; without any the note goes."""
        beside = PurePosixPath(RESTRICTED_FOR) / path
        if not purposes:
            self._tree.unlink(beside)
            return
        with self._tree.replacing(beside) as note:
            os.write(note, "\n".join(sorted(purposes)).encode())

    def _rebuild(self, target: Target, path: PurePosixPath) -> Result:
        if any(person.closed for person in target.people):
            return failed(target, "identity_not_revealed", untouched=True)
        named = self._fields.named(target)
        if not named:
            return failed(target, "nothing_to_match", untouched=True)
        try:
            places = (path, PurePosixPath(RESTRICTED) / path)
            parts = [left for place in places if (left := self._rewrite(place, named))]
        except (ValueError, RecursionError, OverflowError):
            return failed(target, "unreadable_line", untouched=True)
        dropped = sum(left.dropped for left in parts)
        if not parts or not (dropped or target.interrupted):
            return not_found(target, matched=0)
        told: Said = {"artefact_digest": f"sha256:{parts[0].digest}", "method": "lines_dropped"}
        if dropped:  # else the try before this one dropped them and died
            told |= {"matched": dropped, "affected": dropped}
        return done(target, Claim.REBUILT_WITHOUT, **told)

    def _rewrite(self, path: PurePosixPath, named: dict[str, frozenset[str]]) -> Left | None:
        """Put a copy without what is named in the file's place, if there is anything; None if there is no file."""
        with self._tree.reading(path) as source:
            if source is None:
                return None
            found = os.fstat(source)
            with _opened(source, "rb") as lines:
                looked = without(lines, named, _Nowhere())
            if not looked.dropped:
                return looked
            os.lseek(source, 0, os.SEEK_SET)
            with (
                self._tree.replacing(path, found) as made,
                _opened(source, "rb") as lines,
                _opened(made, "wb") as kept,
            ):
                return without(lines, named, kept)


def _opened(file: int, mode: str) -> IO[bytes]:
    """A file on a descriptor, which stays open when it is closed."""
    opened: IO[bytes] = os.fdopen(os.dup(file), mode)
    return opened


class _Nowhere:
    """Takes what nobody keeps."""

    def write(self, data: bytes) -> int:
        """Take it."""
        return len(data)


def _words(target: Target) -> set[str]:
    """What is noted of a restriction: each case lets go of its own, for one file may be several people's."""
    return {f"{target.case_id}:{purpose}" for purpose in target.purposes or (EVERYTHING,)}
