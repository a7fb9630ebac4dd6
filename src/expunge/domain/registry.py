"""Who exists and what they can do: namespaces, systems, publishers, as configuration declares them.

A name that is not declared here is refused at the door: a typo must never become a silent `not_found`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from expunge.domain.backoff import doubled
from expunge.domain.scope import ScopeKind
from expunge.domain.signatures import PublicKeys, key_id
from expunge.domain.values import A_DAY
from expunge.domain.vocabulary import Action, Regime

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
"""A declared name; systems' and publishers' names become part of topic names."""


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Namespace(_Declared):
    """A space of ids (`user_id`, `email`) and how its ids are normalised."""

    name: Name
    normaliser: Literal["exact", "email", "e164", "uuid", "handle"] = "exact"


class System(_Declared):
    """A downstream owner of data."""

    name: Name
    actions: tuple[Action, ...] = (Action.DELETE,)
    batch_size: int = Field(500, ge=1, le=5000)
    """Targets in one command, at most."""
    timeout_seconds: float = Field(3600, gt=0)
    """How long a command may stay without a receipt before it is repeated."""
    retry_seconds: float = Field(60, gt=0)
    """The wait before the first repetition after a failure; it doubles up to a day."""
    retries: int = Field(5, ge=0)
    """Repetitions after which a failure counts as the system's answer; work goes on once a day."""
    reveal: tuple[Name, ...] = ()
    """Namespaces that the system needs in clear, sealed to `sealing_key`."""
    sealing_key: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    """The system's X25519 public key, hexadecimal."""
    path_prefix: str | None = None
    """Where asset ids are this and a path: another spelling of the path is refused, for it would be another asset."""
    key: PublicKeys = ()
    """The Ed25519 keys with which its agent signs receipts; one that is signed is of grade E2."""
    probe_key: PublicKeys = ()
    """The Ed25519 keys of whoever looks whether anything is left there: never its agent's own (rule "probed")."""
    third_party: bool = False
    integrated: bool = True
    reason: str = ""
    owner: str = ""

    def spells(self, asset: str) -> bool:
        """Whether an asset id is spelled as it must be: a path without `.`, `..`, `//` or `/` at the end."""
        if self.path_prefix is None or not asset.startswith(self.path_prefix):
            return True
        return all(part not in ("", ".", "..") for part in asset.removeprefix(self.path_prefix).split("/"))

    @property
    def is_probed(self) -> bool:
        """Whether somebody is declared who looks into it after its agent."""
        return self.integrated and bool(self.probe_key)

    @property
    def timeout(self) -> timedelta:
        """How long a command may stay without a receipt before it is repeated."""
        return timedelta(seconds=self.timeout_seconds)

    def awaited(
        self, promise: datetime | None, due_at: datetime, now: datetime, least: timedelta | None = None
    ) -> datetime:
        """Until when an answer that was promised is waited for: not beyond the due date; past that, not beyond a day.

        A system's own time-out is never cut.
        """
        until = promise or now + self.timeout
        bounded = min(until, due_at if due_at > now else now + max(A_DAY, self.timeout))
        return max(bounded, now + (least or timedelta(seconds=self.retry_seconds)))

    def after_failure(self, attempt: int) -> timedelta:
        """The wait before a command that failed is repeated: soon, then ever later, then daily."""
        return A_DAY if attempt > self.retries else self._doubled(self.retry_seconds, attempt - 1)

    def after_withdrawal(self, times: int) -> timedelta:
        """The wait before a command that was withdrawn so often is withdrawn once more."""
        return self._doubled(max(self.timeout_seconds, self.retry_seconds), times)

    @staticmethod
    def _doubled(seconds: float, times: int) -> timedelta:
        return doubled(timedelta(seconds=seconds), times, A_DAY)

    @model_validator(mode="after")
    def _consistent(self) -> System:
        if self.reveal and not self.sealing_key:
            raise ValueError(f"system {self.name}: reveal needs sealing_key")
        if not self.integrated and not (self.reason and self.owner):
            raise ValueError(f"system {self.name}: integrated = false needs reason and owner")
        return self


class Publisher(_Declared):
    """A service that asks for deletions, and what it may ask."""

    name: Name
    source: str = Field(min_length=1)
    """The prefix of its CloudEvents `source`; the longest declared prefix wins."""
    may: tuple[ScopeKind, ...] = tuple(ScopeKind)
    namespaces: tuple[Name, ...] | None = None
    data_sources: tuple[str, ...] | None = None
    default_regime: Regime
    key: PublicKeys = ()
    """The Ed25519 keys with which it signs requests; where there are any, one that is not signed is refused."""
    own_topic: bool = False
    """Whether it writes to `requests.<name>`, and nowhere else: there the broker's access list says who it is."""

    @property
    def topic(self) -> str:
        """The topic of its requests."""
        return f"requests.{self.name}" if self.own_topic else "requests"

    @property
    def is_bound(self) -> bool:
        """Whether nobody else can speak as this publisher, so that what it may ask is enforced."""
        return bool(self.key) or self.own_topic

    def speaks_as(self, source: str) -> bool:
        """Whether a `source` is this publisher's: the prefix, ending at a boundary of the URI."""
        if not source.startswith(self.source):
            return False
        rest = source[len(self.source) :]
        return not rest or self.source[-1] in "/:#?" or rest[0] in "/:#?"


class Operator(_Declared):
    """Somebody who may speak on `controls`, and about what."""

    name: Name
    key: PublicKeys = ()
    """The Ed25519 keys with which they sign their words."""
    roles: tuple[Literal["approve", "hold", "replay", "decide", "pause", "probe"], ...] = ()

    @property
    def identity(self) -> str:
        """How they stand in the ledger: by the id of their first key, for names are people's; without one by name."""
        return key_id(self.key[0]) if self.key else self.name


class Registry(_Declared):
    """Everything declared."""

    tenant: str = "default"
    namespaces: tuple[Namespace, ...] = ()
    data_sources: tuple[str, ...] = ()
    """Patterns of allowed data sources (`supplier-*`)."""
    purposes: tuple[Name, ...] = ()
    categories: tuple[Name, ...] = ()
    systems: tuple[System, ...] = ()
    publishers: tuple[Publisher, ...] = ()
    operators: tuple[Operator, ...] = ()

    @model_validator(mode="after")
    def _unique(self) -> Registry:
        for kind in ("namespaces", "systems", "publishers", "operators"):
            names = [entry.name for entry in getattr(self, kind)]
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise ValueError(f"{kind} declared twice: {', '.join(sorted(twice))}")
        if len(self.public_keys) > len(set(self.public_keys)):
            raise ValueError("one key is declared twice, as `key` or `probe_key`: who signed could not be told apart")
        known = {namespace.name for namespace in self.namespaces}
        for system in self.systems:
            if unknown := set(system.reveal) - known:
                raise ValueError(f"system {system.name}: reveal names undeclared namespaces {sorted(unknown)}")
        return self

    def namespace(self, name: str) -> Namespace | None:
        """The declared namespace of that name."""
        return self.spaces.get(name)

    @cached_property
    def spaces(self) -> dict[str, Namespace]:
        """The declared namespaces by name."""
        return {space.name: space for space in self.namespaces}

    @cached_property
    def public_keys(self) -> tuple[str, ...]:
        """The public keys of everybody."""
        parties: tuple[Operator | Publisher | System, ...] = (*self.operators, *self.publishers, *self.systems)
        probers = (key for each in self.systems for key in each.probe_key)
        return (*(key for each in parties for key in each.key), *probers)

    def system(self, name: str) -> System | None:
        """The declared system of that name; None for assets that nobody owns."""
        return next((system for system in self.systems if system.name == name), None)

    def operator(self, name: str) -> Operator | None:
        """The declared operator of that name."""
        return next((operator for operator in self.operators if operator.name == name), None)

    def operator_of(self, identity: str) -> str:
        """The name of whoever stands in the ledger so; the same again of one that is not declared (any more)."""
        return next((each.name for each in self.operators if each.identity == identity), identity)

    def publisher_of(self, source: str) -> Publisher | None:
        """The publisher whose source prefix is the longest that fits."""
        fitting = [publisher for publisher in self.publishers if publisher.speaks_as(source)]
        return max(fitting, key=lambda publisher: len(publisher.source), default=None)

    def knows_data_source(self, name: str) -> bool:
        """Whether a data source fits a declared pattern."""
        return _fits(name, self.data_sources)


@lru_cache(maxsize=4096)
def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    """The same few data sources are stated with millions of assets."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
