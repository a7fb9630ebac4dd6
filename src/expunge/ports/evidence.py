"""The ledger as a Merkle log: what the notary writes, and what certificates are made from (rule "logged")."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import NamedTuple, Protocol

from expunge.domain.continuity import Reached
from expunge.domain.digest import hidden


class Due(NamedTuple):
    """An end of a case, of which there shall be a certificate."""

    key: str
    sequence: int
    """The number of the fact that ended it."""
    at: datetime


class Leaf(NamedTuple):
    """A record of the ledger as a leaf."""

    reached: Reached
    """Where the log stands with it: the offset behind the record, and the record."""
    entry: bytes
    """Its value, byte by byte."""
    keys: tuple[str, ...]
    """The cases and models of which it tells."""
    ends: tuple[Due, ...] = ()
    """Ends of cases among that."""

    def __repr__(self) -> str:
        return hidden(self)


class Proven(NamedTuple):
    """A record of the ledger with the proof that it is a leaf of the log."""

    leaf: int
    """Its index."""
    entry: bytes
    proof: Sequence[bytes]

    def __repr__(self) -> str:
        return hidden(self)


class LedgerLog(Protocol):
    """The log. Whatever is appended stays, and one that contradicts what stands is never appended."""

    def reached(self) -> Reached:
        """How far of the ledger is logged."""

    def append(self, leaves: Sequence[Leaf]) -> int:
        """Append leaves, in order; those that stand there already are held against it. How many were new.

        Raises:
            Contradicted: another record was logged at an offset, or one in between is missing.
        """

    def checkpoint(self) -> str | None:
        """Sign and publish how large the log is and what its root is, if it has grown.

        Returns:
            The note that holds now; None while the log is being made anew, and has not come to what was published.

        Raises:
            Contradicted: an earlier checkpoint says something else of the leaves that it covers.
        """

    def grown(self, before: int, note: str) -> Sequence[bytes]:
        """The proof that the log had the same leaves when there were fewer of them; of none, nothing."""

    def cosigned(self, note: str) -> None:
        """Publish a checkpoint with the signatures of others, if it is the one that is published."""

    def proven(self, key: str, note: str) -> list[Proven]:
        """The records that tell of a case or model, with proofs for a checkpoint of this log."""

    def succeed(self, following: Reached) -> None:
        """Close the log, and go on in a new one, whose first leaf names the last checkpoint of this one."""

    @property
    def size(self) -> int:
        """How many leaves it has."""

    def due(self, limit: int, now: datetime) -> list[Due]:
        """Ends of cases that were logged, and whose certificates were not published yet; the earliest first."""

    def later(self, due: Due, now: datetime) -> None:
        """One could not be made: it is due again some time later, ever less often."""

    def successions(self) -> Sequence[str]:
        """The words by which its key has followed earlier ones, in order."""

    def entries(self, key: str) -> list[bytes]:
        """The records that tell of something, of this log and of those that were closed before."""

    def settled(self, done: Sequence[Due]) -> None:
        """They are published."""


Proof = Callable[[int], Sequence[bytes]]
"""The proof that a log has only grown since it had so many leaves."""


class Vouchers(Protocol):
    """Others who vouch for a checkpoint. Whoever does not answer soon is done without."""

    def cosign(self, note: str, proof: Proof) -> str:
        """A checkpoint with the signatures of witnesses, those that it bears and those that can be had now."""

    def stamp(self, note: str) -> bytes | None:
        """An independent clock's stamp of a checkpoint (a TimeStampResp of RFC 3161); None if there is none now."""


class Draft(Protocol):
    """A certificate that is being made."""

    def write(self, name: str, lines: Iterable[bytes]) -> None:
        """Write a file beside it."""

    def written(self, name: str, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The same, handing the lines on."""

    def keep(self, envelope: bytes) -> None:
        """It is made: from here on it is there with all its files, or, if the process dies now, not at all."""


class Archive(Protocol):
    """Certificates, each with what can be checked beside it."""

    def certificate(self, case_id: str, sequence: int) -> bytes | None:
        """The envelope of one; None where it was not made yet."""

    def newest(self, case_id: str, before: int) -> str:
        """SHA-256 of the payload of a case's last certificate of an end before another; empty where there is none."""

    def draft(self, case_id: str, sequence: int) -> AbstractContextManager[Draft]:
        """A certificate that is to be made; what is not kept is thrown away."""
