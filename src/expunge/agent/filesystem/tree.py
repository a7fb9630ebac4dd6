"""Files under one root, reached without following a link: every directory is opened relative to the one before it.

So a path that is swapped for a link in between is refused too (https://cwe.mitre.org/data/definitions/367.html).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

RESTRICTED = ".restricted"
"""The owner-only tree under the root into which restricted files move."""
RESTRICTED_FOR = ".restricted-for"
"""Beside it, for each of them, by which cases and for what it is restricted: `CASE:PURPOSE` a line, `*` for all."""
MAKING = ".expunge-making"
"""Where files are made before they take another's place; emptied at every start."""
OWN = frozenset({RESTRICTED, RESTRICTED_FOR, MAKING})
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


class Refused(Exception):
    """The path leads where this agent does not go; the text is a reason code."""


class Tree:
    """A root directory.

    Args:
        root: the directory; a link to it (a mount, usually) is followed once, here.
        links: whether a file with other hard links may be deleted under one name.
        looks_only: whether it is somebody else's, who changes nothing.
    """

    def __init__(self, root: Path, *, links: bool = False, looks_only: bool = False) -> None:
        self._root, self._links, self._looks_only = root.resolve(), links, looks_only
        if not looks_only:
            self._clean()

    def path(self, text: str) -> PurePosixPath:
        """A path as an asset id spells it.

        Raises:
            Refused: it leads out of the root or into the agent's own directories, or is not the one spelling of itself.
        """
        path = PurePosixPath(text)
        if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in text or path.parts[0] in OWN:
            raise Refused("outside_root")
        if str(path) != text:  # `a//b`, `./a` and `a/` would be other assets for the same file
            raise Refused("not_canonical")
        return path

    def has(self, path: PurePosixPath) -> bool:
        """Whether a plain file is there.

        Raises:
            Refused: something else is.
        """
        with self.directory(path.parent) as directory:
            return directory is not None and self._stat(directory, path.name) is not None

    def is_taken(self, path: PurePosixPath) -> bool:
        """Whether anything is there under a name: a file, also one with other names, a link, a directory."""
        with self.directory(path.parent) as directory:
            if directory is None:
                return False
            try:
                os.stat(path.name, dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                return False
            return True

    def _stat(self, directory: int, name: str, *, links: bool = False) -> os.stat_result | None:
        """What a plain file is, under this name alone (or, where it is allowed, others); None where there is none."""
        try:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if stat.S_ISLNK(found.st_mode):
            raise Refused("symlink")
        if not stat.S_ISREG(found.st_mode):
            raise Refused("not_a_file")
        if found.st_nlink > 1 and not links:
            raise Refused("other_hard_links")  # which keep every byte of it
        return found

    def links(self, path: PurePosixPath) -> int:
        """Under how many other names a file's bytes stay."""
        with self.directory(path.parent) as directory:
            found = self._stat(directory, path.name, links=self._links) if directory is not None else None
            return found.st_nlink - 1 if found else 0

    def unlink(self, path: PurePosixPath) -> bool:
        """Delete a file; whether there was one."""
        with self.directory(path.parent) as directory:
            if directory is None or self._stat(directory, path.name, links=self._links) is None:
                return False
            os.unlink(path.name, dir_fd=directory)
            os.fsync(directory)
            return True

    def move(self, source: PurePosixPath, goal: PurePosixPath) -> None:
        """Move a file to where there is none; directories on the way are made, for the owner alone."""
        with self.directory(source.parent) as here, self.directory(goal.parent, make=True) as there:
            os.rename(source.name, goal.name, src_dir_fd=here, dst_dir_fd=there)
            for directory in (here, there):
                if directory is not None:
                    os.fsync(directory)

    @contextmanager
    def reading(self, path: PurePosixPath) -> Iterator[int | None]:
        """A descriptor of a plain file, for reading; None if it is not there."""
        with self.directory(path.parent) as directory:
            if directory is None or self._stat(directory, path.name) is None:
                yield None
                return
            file = os.open(path.name, _READ, dir_fd=directory)
            try:
                if not stat.S_ISREG(os.fstat(file).st_mode):  # it was a file a moment ago
                    raise Refused("not_a_file")
                yield file
            finally:
                os.close(file)

    @contextmanager
    def replacing(self, path: PurePosixPath, like: os.stat_result | None = None) -> Iterator[int]:
        """A descriptor of a new file that takes a path's place when it is complete; what fails leaves nothing.

        It is made under a name that nobody can guess or have made before, in a directory of the agent's own.

        Args:
            path: whose place it takes.
            like: whose owner, group and mode it gets; none: it is the owner's alone.
        """
        name = secrets.token_hex(16)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with (
            self.directory(PurePosixPath(MAKING), make=True) as making,
            self.directory(path.parent, make=like is None) as goal,
        ):
            file = os.open(name, flags, 0o600, dir_fd=making)
            try:
                yield file
                if like is not None:
                    made = os.fstat(file)
                    if (made.st_uid, made.st_gid) != (like.st_uid, like.st_gid):
                        os.fchown(file, like.st_uid, like.st_gid)
                    os.fchmod(file, stat.S_IMODE(like.st_mode))
                os.fsync(file)
                if like is not None and not _is_still(goal, path.name, like):
                    raise Refused("changed_meanwhile")  # what somebody has written, moved or deleted since stands
                os.rename(name, path.name, src_dir_fd=making, dst_dir_fd=goal)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=making)
                raise
            finally:
                os.close(file)
            if goal is not None:
                os.fsync(goal)
        with self.directory(PurePosixPath()) as root, contextlib.suppress(OSError):
            os.rmdir(MAKING, dir_fd=root)  # nobody who lists the root finds what is of no use

    @contextmanager
    def directory(self, path: PurePosixPath, *, make: bool = False) -> Iterator[int | None]:
        """A descriptor of a directory under the root, opened component by component; None if it is not there."""
        current = os.open(self._root, _DIRECTORY)
        try:
            for depth, part in enumerate(path.parts):
                try:
                    if make:
                        with contextlib.suppress(FileExistsError):
                            os.mkdir(part, 0o700, dir_fd=current)
                            os.fsync(current)  # that it exists outlives a crash, as what is put into it must
                    inner = os.open(part, _DIRECTORY, dir_fd=current)
                except FileNotFoundError:
                    yield None
                    return
                except NotADirectoryError:
                    raise Refused("link_or_file_in_path") from None
                os.close(current)
                current = inner
                if depth == 0 and part in OWN and not self._looks_only:
                    _refuse_if_shared(current)
            yield current
        finally:
            os.close(current)

    def _clean(self) -> None:
        """Take away what a process that died had made and not put in its place: it may hold what should be gone."""
        with contextlib.suppress(FileNotFoundError, Refused), self.directory(PurePosixPath(MAKING)) as making:
            for name in os.listdir(making) if making is not None else ():  # noqa: PTH208 - of a descriptor, not a path
                os.unlink(name, dir_fd=making)


def _is_still(directory: int | None, name: str, like: os.stat_result) -> bool:
    """Whether the file of a name is the one that was read, as it was then."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return all(getattr(found, each) == getattr(like, each) for each in ("st_dev", "st_ino", "st_size", "st_mtime_ns"))


def _refuse_if_shared(directory: int) -> None:
    """A directory of the agent's own that somebody else has made ready, or can read, is none."""
    found = os.fstat(directory)
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise Refused("own_directory_is_open_to_others")
