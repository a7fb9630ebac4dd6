"""The published log as whoever checks reads it: whole, and signed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from expunge.cli.verify import entries_of, read
from expunge.domain.evidence import merkle, verify
from expunge.domain.evidence.reading_notes import Wrong, alone, checkpoint_of, following, key_of
from expunge.errors import ConfigurationError


def checkpoint(log: Path, key: str) -> tuple[str, bytes]:
    """The checkpoint of a log, and the public key that signed it: the given one, or one that follows it.

    Raises:
        ConfigurationError: there is none, or it is another's.
    """
    note = read(log / "checkpoint").decode(errors="replace")
    why: Exception | None = None
    try:
        for each in reversed(following(key, _words(log))):
            name, public = key_of(each)
            try:
                origin, _, _ = checkpoint_of(note, public)
            except Wrong as error:  # of a log that was closed, an earlier one has
                why = error
                continue
            if origin != name and not origin.startswith(f"{name}/"):
                raise Wrong(f"it is of the log {origin}")
            return note, public
    except (Wrong, *verify.UNFIT) as error:
        why = error
    raise ConfigurationError(f"{log}/checkpoint is not signed with that key: {why}") from None


def _words(log: Path) -> list[str]:
    """By whose words keys have followed each other, as they lie beside a log."""
    kept, notes = log.absolute().parent / "keys", list[str]()
    while (file := kept / str(len(notes) + 1)).is_file():
        notes.append(read(file).decode(errors="replace"))
    return notes


def events(logs: Sequence[Path], key: str, notes: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """The entries of logs that follow each other, as far as they are JSON; none is left out, added or changed.

    `notes` takes the checkpoints that were read: of a log that grows meanwhile, another would be told of.

    Raises:
        ConfigurationError: (at the end of a log) it is not what its checkpoint says, or does not follow the one before.
    """
    before = ""
    for log in logs:
        note, public = checkpoint(log, key)
        _, size, root = checkpoint_of(note, public)
        if notes is not None:
            notes.append(alone(note, public))
        hashes: list[bytes] = []
        for entry in _read(log, size):
            said = _json(entry)
            if not hashes and _followed(said) != before:
                raise ConfigurationError(f"{log} follows another log than the one before it: name all, in their order")
            hashes.append(merkle.leaf_hash(entry))
            if "type" in said:
                yield said
        if merkle.root_of(hashes) != root:
            raise ConfigurationError(
                f"{log} is not what its checkpoint says: something in it was changed or is missing"
            )
        before = note.partition("\n\n")[0]


def _followed(first: dict[str, Any]) -> str:
    """What the checkpoint of the log says that another goes on after, by its first leaf; empty: it follows none."""
    return str(first.get("checkpoint") or "").partition("\n\n")[0] if "continues" in first else ""


def _read(log: Path, size: int) -> Iterator[bytes]:
    try:
        yield from entries_of(log, size)
    except OSError as error:
        raise ConfigurationError(f"{log} lacks a file ({error.filename}): a copy of all of it is needed") from None
    except ValueError:
        raise ConfigurationError(f"{log} has a bundle that cannot be read") from None


def _json(entry: bytes) -> dict[str, Any]:
    """What an entry says; nothing, where it is no object: then it is nobody's fact."""
    try:
        said = json.loads(entry)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
