"""The one protocol of all aggregates: `decide(state, message, context) -> Decision(state, facts, effects)`. Pure.

What a decision needs beside the state it is given as its context; what must happen outside it gives back as effects,
which the coordinator carries out. The same state, message and context lead to the same decision for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from expunge.domain.aggregates.standing.state import Standing
from expunge.domain.identity import Keys
from expunge.domain.planning.policy.rules import Policies
from expunge.domain.registry import Registry
from expunge.wire.cases.said import Place

S = TypeVar("S")
F = TypeVar("F")
E = TypeVar("E")


@dataclass(frozen=True, slots=True, repr=False)
class Context:
    """What a decision may look at beside the state of its aggregate."""

    at: datetime
    """When the broker took the message: the only clock there is."""
    place: Place
    """Where the message lies."""
    registry: Registry
    """Who exists and what they can do."""
    policies: Policies
    """What should happen, and by when."""
    keys: Keys
    """Digests of ids."""
    standing: Standing
    """What operators have said that holds for every case of the partition."""


@dataclass(frozen=True, slots=True, repr=False)
class Decision(Generic[S, F, E]):
    """What one message leads to."""

    state: S | None
    """After it; None where there is no such aggregate."""
    facts: tuple[tuple[int, F], ...] = ()
    """What is recorded, with sequence numbers."""
    effects: tuple[E, ...] = ()
    """What it asks for."""


@dataclass(frozen=True, slots=True, repr=False)
class SetAside:
    """Keep the place of a message that can never be right in the dead letters."""

    place: Place
    content: str
    reason: str
