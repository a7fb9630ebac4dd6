"""A task for the resolvers: one bounded piece of a walk, or a look into holds. And how it says that it has ended."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field, model_validator

from expunge.domain.digest import SIZE, digest
from expunge.domain.scope import Arrival, GroupKind, Scope
from expunge.domain.values import Hex, Value
from expunge.domain.vocabulary import Regime
from expunge.wire.cases.words import Covering


class TaskKind(StrEnum):
    """What a task starts from."""

    ROOTS = "roots"
    SHARD = "shard"
    FRONTIER = "frontier"
    LATE = "late"
    HOLDING = "holding"
    """A holding declared while the case was open: a node of its walk only if it answers for one of its roots."""
    CONTAINERS = "containers"
    DISCOVERED = "discovered"
    """What a system found while it purged: registered, and walked as if the request named it."""
    HOLDS = "holds"
    """No walk: which targets of some chunks do some holds cover?"""
    REPLACEMENT = "replacement"
    """No walk: does the case's data lead to a model that took another's place?"""

    @property
    def goes_on(self) -> bool:
        """Whether a task goes on from another: there may be thousands of it, and their topic is one of their own."""
        return self in {TaskKind.SHARD, TaskKind.FRONTIER}


class HoldAsked(Value):
    """A hold that a resolver must look into."""

    hold_id: str
    scope: Covering


class Found(Value):
    """An asset that a system found while it purged another."""

    asset: str
    kind: str
    parent: str = ""
    """In which it was found; empty where the system does not say."""


class Task(Value):
    """One bounded piece of a walk, as it stands on `tasks` or `walks`."""

    case_id: Hex
    task_id: Hex
    generation: int
    kind: TaskKind
    scope: Scope
    regime: Regime
    policy: Hex
    """The digest of the policy that is pinned in its generation."""
    nodes: str = ""
    """A packed frontier, see `pack`."""
    returned: int = 0
    """The nodes came back after they had been purged: when (milliseconds since 1970)."""
    group: GroupKind = GroupKind.SOURCE
    node: str = ""
    """Whose members to visit: a group's node, in hexadecimal."""
    arrival: Arrival = Arrival.THROUGH
    """How the walk comes to those members."""
    shard: int = 0
    shard_end: int = 0
    """Shards `shard` to `shard_end` (excluded) of the group."""
    watermark: dict[str, dict[str, int]] = Field(default_factory=dict)
    """End offsets of the registration inlets when the request arrived: topic -> partition -> offset."""
    people_bytes: dict[str, int] = Field(default_factory=dict)
    """System -> bytes that naming the case's people adds to each target of its commands."""
    force: bool = False
    """Plan what is known, without waiting for the indexers any longer."""
    made_after_ms: int = 0
    """Of a look at a replacement: it must have been made after this (milliseconds since 1970)."""
    chunks: tuple[Hex, ...] = ()
    holds: tuple[HoldAsked, ...] = ()
    number: int = 0
    """Of the last of these holds."""
    after: int = 0
    """How many changes of the index the case had heard of when it asked."""
    found: tuple[Found, ...] = ()
    system: str = ""
    """Who found them."""
    forgotten: int = 0
    """So many of the case's generations are forgotten: of what is gone nobody knows any more that it was planned."""

    @model_validator(mode="after")
    def _readable(self) -> Task:
        """What cannot be unpacked is no task: it is set aside when it is read, and ends no resolver."""
        unpack(self.nodes)
        if self.node:
            bytes.fromhex(self.node)
        return self


class ReplacementVerdict(StrEnum):
    """What the index says of a model that took another's place, for one case."""

    CLEAN = "clean"
    """Nothing that it was made from is marked by the case, or it was made after that was clean."""
    UNREGISTERED = "unregistered"
    UNCLEAN = "unclean"
    """What it was made from is not clean yet, so to make it once more would not help; or it is being purged itself."""
    STALE = "stale"
    """What it was made from is clean, or gone, and was not when it was made: it must be purged itself."""
    UNCLEAR = "unclear"
    """It does not say from what, or when, it was made, or from so much that not all of it is kept."""


class PlannedStatus(StrEnum):
    """How a task ended."""

    DONE = "done"
    PART = "part"
    """Some of its chunks; more of the same task follow."""
    NOT_READY = "not_ready"


def reached(applied: Mapping[str, Mapping[str, int]], wanted: Mapping[str, Mapping[str, int]]) -> bool:
    """Whether the indexers have come at least as far as wanted."""
    return all(
        applied.get(topic, {}).get(partition, 0) >= offset
        for topic, partitions in wanted.items()
        for partition, offset in partitions.items()
    )


def later_marks(
    left: Mapping[str, Mapping[str, int]], right: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, int]]:
    """The later of two watermarks, inlet by inlet."""
    return {
        topic: {
            partition: max(left.get(topic, {}).get(partition, 0), right.get(topic, {}).get(partition, 0))
            for partition in sorted({*left.get(topic, {}), *right.get(topic, {})})
        }
        for topic in sorted({*left, *right})
    }


def task_id(parent: str, *content: str | bytes | int) -> str:
    """The id of a task: a digest of what it came from and what it starts with (rule "walks")."""
    return digest("task", parent, *content).hex()


def pack(nodes: Mapping[bytes, Arrival]) -> str:
    """A frontier as text: 16 bytes of key and one of arrival each, sorted, in base64."""
    return base64.b64encode(b"".join(key + bytes([arrival]) for key, arrival in sorted(nodes.items()))).decode()


def unpack(text: str) -> dict[bytes, Arrival]:
    """The frontier of `pack`.

    Raises:
        ValueError: it is none.
    """
    raw = base64.b64decode(text, validate=True)
    step = SIZE + 1
    if len(raw) % step:
        raise ValueError("a frontier is cut off")
    return {raw[at : at + SIZE]: Arrival(raw[at + SIZE]) for at in range(0, len(raw), step)}
