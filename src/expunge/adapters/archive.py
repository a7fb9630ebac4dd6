"""Certificates in a directory: DIRECTORY/CASE/SEQUENCE/, with `certificate.json` and what can be checked beside it."""

from __future__ import annotations

import base64
import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from expunge.adapters import files
from expunge.errors import Unavailable

CERTIFICATE = "certificate.json"
DRAFT = ".draft-"


class DirectoryArchive:
    """See `ports.evidence.Archive`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def certificate(self, case_id: str, sequence: int) -> bytes | None:
        """See `ports.evidence.Archive.certificate`."""
        try:
            found = (self.place(case_id, sequence) / CERTIFICATE).read_bytes()
            return found if _payload(found) else None
        except (FileNotFoundError, ValueError, LookupError, TypeError):
            return None  # what is damaged is made anew

    def place(self, case_id: str, sequence: int) -> Path:
        """Where a certificate lies."""
        return self._directory / case_id / str(sequence)

    def sequences(self, case_id: str) -> list[int]:
        """Of which ends of a case there are certificates."""
        folder = self._directory / case_id
        found = [each.parent.name for each in folder.glob(f"*/{CERTIFICATE}")]
        return sorted(int(each) for each in found if each.isdigit())

    def newest(self, case_id: str, before: int) -> str:
        """See `ports.evidence.Archive.newest`."""
        for sequence in reversed(self.sequences(case_id)):
            if sequence < before and (found := self.certificate(case_id, sequence)) is not None:
                return hashlib.sha256(_payload(found)).hexdigest()
        return ""

    @contextmanager
    def draft(self, case_id: str, sequence: int) -> Iterator[DirectoryDraft]:
        """See `ports.evidence.Archive.draft`."""
        place = self.place(case_id, sequence)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            for left in place.parent.glob(f"{DRAFT}*"):  # of a process that died; there is one notary
                shutil.rmtree(left, ignore_errors=True)
            folder = Path(tempfile.mkdtemp(dir=place.parent, prefix=DRAFT))
            try:
                yield DirectoryDraft(folder, place)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError as error:
            raise Unavailable(f"certificates in {self._directory}: {error.strerror}", server="the archive") from None


class DirectoryDraft:
    """See `ports.evidence.Draft`."""

    def __init__(self, folder: Path, place: Path) -> None:
        self._folder, self._place = folder, place

    def write(self, name: str, lines: Iterable[bytes]) -> None:
        """See `ports.evidence.Draft.write`."""
        for _ in self.written(name, lines):
            pass

    def written(self, name: str, lines: Iterable[bytes]) -> Iterator[bytes]:
        """See `ports.evidence.Draft.written`."""
        with (self._folder / name).open("wb") as file:
            for line in lines:
                file.write(line + b"\n")
                yield line
            files.flush(file)

    def keep(self, envelope: bytes) -> None:
        """See `ports.evidence.Draft.keep`."""
        files.write(self._folder / CERTIFICATE, envelope)
        self._folder.chmod(0o755)
        if self._place.exists():  # without a certificate: somebody has taken that away
            shutil.rmtree(self._place)
        self._folder.rename(self._place)
        files.sync(self._place.parent)


def _payload(envelope: bytes) -> bytes:
    """What an envelope carries.

    Raises:
        ValueError, LookupError, TypeError: it is none.
    """
    return base64.b64decode(orjson.loads(envelope)["payload"], validate=True)
