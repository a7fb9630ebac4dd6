"""Obligations, and the chunks that a plan is made of.

A chunk is one command in waiting: targets of one system, stage, action and kind. It is named by its content, so the
same obligations planned twice are the same chunk (PROTOCOLS 14), and a plan is the set of its chunks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from expunge.domain.digest import digest
from expunge.domain.policy import Disposition
from expunge.domain.registry import Registry
from expunge.domain.scope import Hex, Value
from expunge.domain.vocabulary import Action, Kind, stage_of

MAX_CHUNK_BYTES = 300_000
"""Bytes of ids and attributes in one chunk, so that a command stays far below a topic's 1 MiB."""
FRAME_BYTES = 32
"""Quotes, commas and field names around a value in JSON, about."""
MAX_EXCLUDED = 1_000
"""Excluded assets in one command (CONTRACT); above that the obligation stays open (PROTOCOLS 49)."""
MAX_EXCLUDED_BYTES = 300_000

UNOWNED = "unowned"
NOT_INTEGRATED = "not_integrated"
NO_CAPABLE_ACTION = "no_capable_action"
TOO_MANY_EXCLUSIONS = "too_many_exclusions"

_ALONE = frozenset({Action.REBUILD_WITHOUT, Action.RETRAIN_WITHOUT})


def encoded(text: str) -> int:
    """Bytes of a text in JSON, escapes included."""
    return len(json.dumps(text, ensure_ascii=False).encode())


class Target(Value):
    """One asset in a chunk; its place in the chunk is its ordinal."""

    asset: str
    attributes: dict[str, str] = {}
    refs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class Obligation:
    """One asset or holding in a case, with what must happen to it in one system."""

    key: bytes
    asset: str
    kind: Kind
    system: str
    disposition: Disposition
    holding: bool = False
    root: str = ""
    """For holdings, the subject's pseudonym (hexadecimal) or the data source that it must look for."""
    attributes: tuple[tuple[str, str], ...] = ()
    refs: frozenset[tuple[str, str]] = field(default=frozenset())
    excluded: tuple[str, ...] = ()

    @property
    def name(self) -> bytes:
        """A digest of all that it says. Whatever task plans it again, it stays in the chunk that has it already."""
        people = [text for pair in sorted(self.refs) for text in pair]
        facts = [text for pair in sorted(self.attributes) for text in pair]
        lists = (self.disposition.purposes, self.excluded, people, facts)
        flat = [word for words in lists for word in (len(words), *words)]
        action = self.disposition.action
        return digest(self.key, self.asset, self.kind, self.system, action, int(self.holding), self.root, *flat)

    @property
    def weight(self) -> int:
        """Bytes that it adds to a command, apart from the people whom every target names."""
        return (
            FRAME_BYTES
            + encoded(self.asset)
            + sum(FRAME_BYTES + encoded(left) + encoded(right) for left, right in (*self.attributes, *self.refs))
        )


class ChunkSummary(Value):
    """What the coordinator needs to know of a chunk; the body stays in `plans` and beside the index."""

    digest: Hex
    system: str
    stage: int
    action: Action
    kind: Kind
    size: int
    holding: bool = False
    reason: str = ""
    """Why no command can be sent for it; empty where one can."""


class Chunk(Value):
    """The targets of one command."""

    case_id: Hex
    system: str
    stage: int
    action: Action
    kind: Kind
    purposes: tuple[str, ...] = ()
    holding: bool = False
    root: str = ""
    excluded: tuple[str, ...] = ()
    reason: str = ""
    targets: tuple[Target, ...]

    @property
    def digest(self) -> str:
        """The name of the chunk: a digest of its whole content."""
        head: tuple[str | int, ...] = (
            self.case_id,
            self.system,
            self.stage,
            self.action,
            self.kind,
            self.root,
            self.reason,
        )
        lists: tuple[str | int, ...] = (len(self.purposes), *self.purposes, len(self.excluded), *self.excluded)
        body: list[str] = []
        for target in self.targets:
            pairs = [*sorted(target.attributes.items()), *sorted(target.refs)]
            body += [target.asset, str(len(pairs)), *(text for pair in pairs for text in pair)]
        return digest(*head, *lists, *body).hex()

    def summary(self) -> ChunkSummary:
        """What `planned` says of it."""
        return ChunkSummary(
            digest=self.digest,
            system=self.system,
            stage=self.stage,
            action=self.action,
            kind=self.kind,
            size=len(self.targets),
            holding=self.holding,
            reason=self.reason,
        )


def why_open(registry: Registry, obligation: Obligation) -> str:
    """Why no command can go out for an obligation; empty where one can."""
    system = registry.system(obligation.system)
    if system is None:
        return UNOWNED
    if not system.integrated:
        return NOT_INTEGRATED
    if obligation.disposition.action not in system.actions:
        return NO_CAPABLE_ACTION
    heavy = sum(encoded(asset) for asset in obligation.excluded) > MAX_EXCLUDED_BYTES
    return TOO_MANY_EXCLUSIONS if len(obligation.excluded) > MAX_EXCLUDED or heavy else ""


class Cut(NamedTuple):
    """A chunk, and the obligations that went into it."""

    chunk: Chunk
    obligations: tuple[Obligation, ...]


def cut(
    case_id: str, obligations: Iterable[Obligation], registry: Registry, people_bytes: Mapping[str, int]
) -> list[Cut]:
    """Obligations as chunks, in an order that depends on nothing but their content.

    Args:
        case_id: the case.
        obligations: what is to be done.
        registry: who exists and what they can do.
        people_bytes: system -> bytes that naming the case's people adds to each of its targets.
    """

    def group(obligation: Obligation) -> tuple[str, ...]:
        stage = stage_of(obligation.kind, holding=obligation.holding)
        action, purposes = obligation.disposition
        alone = obligation.asset if action in _ALONE or obligation.holding else ""
        return (str(stage), obligation.system, action, obligation.kind, "\0".join(purposes), obligation.root, alone)

    ordered = sorted(obligations, key=lambda obligation: (group(obligation), obligation.key))
    return [
        Cut(_chunk(case_id, part, registry), tuple(part))
        for _, members in groupby(ordered, key=group)
        for part in _parts(members, registry, people_bytes)
    ]


def _parts(
    members: Iterable[Obligation], registry: Registry, people_bytes: Mapping[str, int]
) -> Iterator[list[Obligation]]:
    part: list[Obligation] = []
    weight = 0
    for obligation in members:
        system = registry.system(obligation.system)
        full = len(part) >= (system.batch_size if system else MAX_EXCLUDED)
        size = obligation.weight + people_bytes.get(obligation.system, 0)
        if part and (full or weight + size > MAX_CHUNK_BYTES):
            yield part
            part, weight = [], 0
        part.append(obligation)
        weight += size
    yield part


def _chunk(case_id: str, part: list[Obligation], registry: Registry) -> Chunk:
    first = part[0]
    reason = why_open(registry, first)
    return Chunk(
        case_id=case_id,
        system=first.system,
        stage=stage_of(first.kind, holding=first.holding),
        action=first.disposition.action,
        kind=first.kind,
        purposes=first.disposition.purposes,
        holding=first.holding,
        root=first.root,
        excluded=() if reason else first.excluded,
        reason=reason,
        targets=tuple(
            Target(asset=each.asset, attributes=dict(each.attributes), refs=tuple(sorted(each.refs))) for each in part
        ),
    )


def plan_digest(case_id: str, generation: int, chunks: Iterable[str]) -> str:
    """The name of a fixed plan: whoever has its chunks can compute it."""
    return digest(case_id, generation, *sorted(chunks)).hex()


def command_id(case_id: str, generation: int, summary: ChunkSummary) -> str:
    """The id of the command that carries a chunk; a repetition of the command keeps it."""
    return digest("command", case_id, summary.system, summary.stage, generation, summary.digest).hex()
