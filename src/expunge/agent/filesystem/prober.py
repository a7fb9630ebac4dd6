"""Looks whether files are there, and changes nothing: see `agent.probing`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from expunge.agent.filesystem.agent import CODES
from expunge.agent.filesystem.tree import RESTRICTED, Refused, Tree
from expunge.agent.probing import Seen, absent, found, unknown
from expunge.agent.types import Target


class FilesystemProber:
    """Sees whether anything is there under the name of a file, or under it among the restricted ones.

    Args:
        root: the directory that is looked into.
        prefix: what asset ids begin with.
    """

    def __init__(self, root: Path, prefix: str) -> None:
        self._tree, self._prefix = Tree(root, looks_only=True), prefix

    def probe(self, batch: Sequence[Target]) -> list[Seen]:
        """See `Prober.probe`."""
        return [self._seen(target) for target in batch]

    def _seen(self, target: Target) -> Seen:
        if not target.asset.startswith(self._prefix):
            return unknown(target, "foreign_asset")
        try:
            path = self._tree.path(target.asset.removeprefix(self._prefix))
            there = any(self._tree.is_taken(place) for place in (path, PurePosixPath(RESTRICTED) / path))
        except Refused as refusal:
            return unknown(target, str(refusal))
        except OSError as error:
            return unknown(target, CODES.get(error.errno or 0, "io_error"))
        except ValueError:  # a name that no file can have
            return unknown(target, "not_a_path")
        return found(target) if there else absent(target)
