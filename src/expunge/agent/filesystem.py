"""A ready agent for files under one directory. It never follows a link and never leaves the directory."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TextIO

from expunge.agent.types import Result, Target, deleted, done, failed, not_found
from expunge.domain.vocabulary import Action, Claim

RESTRICTED = ".restricted"
"""The owner-only tree under the root into which restricted files move."""
RESTRICTED_FOR = ".restricted-for"
"""Beside it, for each of them, by which cases and for what it is restricted: `CASE:PURPOSE` a line, `*` for all."""
EVERYTHING = "*"
OWN = frozenset({RESTRICTED, RESTRICTED_FOR})


class _Refused(Exception):
    """The path leads where this agent does not go; the text is a reason code."""


class Filesystem:
    """Purges files whose asset ids are `prefix` + path relative to `root`.

    Every directory on the way is opened without following links, relative to the one before, so a path that is
    swapped for a link in between is refused too. Actions: delete, restrict (moves the file into an owner-only tree),
    lift (moves it back when it is restricted for nothing any more), and rebuild_without (drops lines of a JSON Lines
    file by `asset`, `data_source` or `ref`).
    """

    def __init__(self, root: Path, prefix: str) -> None:
        self._root, self._prefix = root, prefix
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
            return failed(target, "unsupported_action")
        try:
            return action(target, self._path(target.asset))
        except _Refused as refusal:
            return failed(target, str(refusal))
        except OSError as error:
            return failed(target, _code(error))

    def _path(self, asset: str) -> PurePosixPath:
        if not asset.startswith(self._prefix):
            raise _Refused("foreign_asset")
        path = PurePosixPath(asset.removeprefix(self._prefix))
        if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in asset or path.parts[0] in OWN:
            raise _Refused("outside_root")
        return path

    def _delete(self, target: Target, path: PurePosixPath) -> Result:
        found = self._unlink(path)
        found = self._unlink(PurePosixPath(RESTRICTED) / path) or found
        self._unlink(PurePosixPath(RESTRICTED_FOR) / path)
        return deleted(target) if found or target.interrupted else not_found(target)

    def _unlink(self, path: PurePosixPath) -> bool:
        with self._directory(path.parent) as directory:
            if directory is None or not _is_file(directory, path.name):
                return False
            os.unlink(path.name, dir_fd=directory)
            os.fsync(directory)
            return True

    def _restrict(self, target: Target, path: PurePosixPath) -> Result:
        kept = PurePosixPath(RESTRICTED) / path
        here, moved = self._there(path), self._there(kept)
        if not (here or moved):
            return not_found(target)
        if here and moved:
            return failed(target, "another_file_in_its_place")
        self._note(path, self._noted(path) | _words(target))  # first: a crash is repeated
        if here:
            self._move(path, kept)
        return done(target, Claim.RESTRICTED)

    def _lift(self, target: Target, path: PurePosixPath) -> Result:
        kept = PurePosixPath(RESTRICTED) / path
        left = self._noted(path) - _words(target)
        if not self._there(kept):
            self._note(path, left)  # a try before this one may have moved it back and died
            return done(target, Claim.LIFTED) if self._there(path) else not_found(target)
        if not left:
            if self._there(path):
                return failed(target, "another_file_in_its_place")
            self._move(kept, path)
        self._note(path, left)
        return done(target, Claim.LIFTED)

    def _move(self, source: PurePosixPath, goal: PurePosixPath) -> None:
        with self._directory(source.parent) as here, self._directory(goal.parent, make=True) as there:
            os.rename(source.name, goal.name, src_dir_fd=here, dst_dir_fd=there)
            for directory in (here, there):
                if directory is not None:
                    os.fsync(directory)

    def _there(self, path: PurePosixPath) -> bool:
        with self._directory(path.parent) as directory:
            return directory is not None and _is_file(directory, path.name)

    def _noted(self, path: PurePosixPath) -> set[str]:
        """The purposes for which a file is restricted."""
        with self._directory((PurePosixPath(RESTRICTED_FOR) / path).parent) as directory:
            if directory is None or not _is_file(directory, path.name):
                return set()
            with os.fdopen(os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=directory), encoding="utf-8") as note:
                return set(note.read().split())

    def _note(self, path: PurePosixPath, purposes: set[str]) -> None:
        """Write them, in one step; without any the note goes."""
        if not purposes:
            self._unlink(PurePosixPath(RESTRICTED_FOR) / path)
            return
        beside, flags = f".{path.name}.noting", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with self._directory((PurePosixPath(RESTRICTED_FOR) / path).parent, make=True) as directory:
            with os.fdopen(os.open(beside, flags, 0o600, dir_fd=directory), "w", encoding="utf-8") as note:
                note.write("\n".join(sorted(purposes)))
                note.flush()
                os.fsync(note.fileno())
            os.rename(beside, path.name, src_dir_fd=directory, dst_dir_fd=directory)
            if directory is not None:
                os.fsync(directory)

    def _rebuild(self, target: Target, path: PurePosixPath) -> Result:
        if not (target.excluded_assets or target.excluded_data_sources or any(person.ref for person in target.people)):
            return failed(target, "nothing_to_match")
        places = (path, PurePosixPath(RESTRICTED) / path)
        try:
            digests = [digest for place in places if (digest := self._rewrite(place, target))]
        except (ValueError, RecursionError):
            return failed(target, "unreadable_line")
        if not digests:
            return not_found(target)
        return done(target, Claim.REBUILT_WITHOUT, artefact_digest=f"sha256:{digests[0]}", method="lines_dropped")

    def _rewrite(self, path: PurePosixPath, target: Target) -> str:
        """Put a copy without the excluded lines in the file's place; its digest, or nothing if there is no file."""
        beside = f".{path.name}.rebuilding"
        with self._directory(path.parent) as directory:
            if directory is None or not _is_file(directory, path.name):
                return ""
            source = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=directory)
            try:
                with os.fdopen(source, encoding="utf-8") as lines:
                    mode = stat.S_IMODE(os.fstat(lines.fileno()).st_mode)
                    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
                    with os.fdopen(os.open(beside, flags, mode, dir_fd=directory), "w", encoding="utf-8") as kept:
                        digest = _copy_without(lines, kept, target)
                        kept.flush()
                        os.fsync(kept.fileno())
                os.rename(beside, path.name, src_dir_fd=directory, dst_dir_fd=directory)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(beside, dir_fd=directory)
            os.fsync(directory)
            return digest

    @contextmanager
    def _directory(self, path: PurePosixPath, *, make: bool = False) -> Iterator[int | None]:
        """A descriptor of a directory under the root, opened component by component; None if it is not there."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        current = os.open(self._root, flags)
        try:
            for part in path.parts:
                try:
                    if make:
                        with contextlib.suppress(FileExistsError):
                            os.mkdir(part, 0o700, dir_fd=current)
                    inner = os.open(part, flags, dir_fd=current)
                except FileNotFoundError:
                    yield None
                    return
                except NotADirectoryError:
                    raise _Refused("link_or_file_in_path") from None
                os.close(current)
                current = inner
            yield current
        finally:
            os.close(current)


def _words(target: Target) -> set[str]:
    """What is noted of a restriction: each case lets go of its own, for one file may be several people's."""
    return {f"{target.case_id}:{purpose}" for purpose in target.purposes or (EVERYTHING,)}


def _is_file(directory: int, name: str) -> bool:
    """Whether a plain file of that name is there; a link or a directory is refused."""
    try:
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(mode):
        raise _Refused("symlink")
    if not stat.S_ISREG(mode):
        raise _Refused("not_a_file")
    return True


def _copy_without(lines: Iterable[str], kept: TextIO, target: Target) -> str:
    refs = {person.ref for person in target.people if person.ref}
    digest = hashlib.sha256()
    for line in lines:
        entry = json.loads(line)
        if not isinstance(entry, dict):
            raise ValueError("a line that is no object")  # noqa: TRY004 - as unreadable as one that is no JSON
        left_out = (("asset", target.excluded_assets), ("data_source", target.excluded_data_sources), ("ref", refs))
        if any(isinstance(entry.get(field), str) and entry[field] in values for field, values in left_out):
            continue
        kept.write(line)
        digest.update(line.encode())
    return digest.hexdigest()


def _code(error: OSError) -> str:
    return {1: "not_permitted", 13: "permission_denied", 28: "no_space", 30: "read_only", 40: "symlink"}.get(
        error.errno or 0, "io_error"
    )
