"""What people ask of the state: cases, chunks, rates, models. Reading changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from expunge.bootstrap import Installation
from expunge.domain.aggregates.case.chunks import ChunkState
from expunge.domain.aggregates.case.state import Case
from expunge.domain.aggregates.rate import Rate
from expunge.domain.aggregates.retraining.state import Retraining
from expunge.domain.aggregates.standing.state import Frozen
from expunge.domain.aggregates.suppression import Suppression
from expunge.domain.partition import partition_of
from expunge.domain.planning.chunks import Chunk
from expunge.wire.cases.case import Root
from expunge.wire.cases.retraining import retraining_id
from expunge.wire.cases.said import home_of


def _partition(expunge: Installation, key: str) -> int:
    return partition_of(home_of(key), expunge.settings.kafka.partitions)


def case(expunge: Installation, case_id: str) -> Case | None:
    """A case as it stands."""
    return expunge.cases.reader(_partition(expunge, case_id)).cases([case_id]).get(case_id)


def cases_about(expunge: Installation, names: Sequence[bytes]) -> set[str]:
    """The cases that have been at a person, by the names that they have in the index."""
    return {mark.case_id for marks in expunge.index.marks(names) for mark in marks}


def root(expunge: Installation, case_id: str) -> Root | None:
    """What a case was opened with."""
    return expunge.cases.reader(_partition(expunge, case_id)).root(case_id)


def suppression(expunge: Installation, key: str) -> Suppression | None:
    """What was said about one suppression."""
    return expunge.cases.reader(_partition(expunge, key)).suppression(key)


def frozen(expunge: Installation, case_id: str) -> Frozen | None:
    """What keeps a case from being handled; None: nothing does."""
    return expunge.cases.reader(_partition(expunge, case_id)).standing.frozen.get(case_id)


def rate(expunge: Installation, key: str) -> Rate | None:
    """What was counted across cases under a key."""
    return expunge.cases.reader(_partition(expunge, key)).rate(key)


def retraining(expunge: Installation, system: str, model: str) -> Retraining | None:
    """What is known of a model that is made anew for several cases."""
    key = retraining_id(system, expunge.keys.asset(model))
    return expunge.cases.reader(_partition(expunge, key)).retraining(key)


def body(expunge: Installation, case_id: str, digest: str) -> Chunk:
    """The targets of a chunk."""
    return expunge.cases.reader(_partition(expunge, case_id)).body(case_id, digest)


def chunks(expunge: Installation, case_id: str) -> Iterator[ChunkState]:
    """The chunks of a case."""
    return expunge.cases.chunks(_partition(expunge, case_id), case_id)
