"""Obligations, and the chunks that a plan is made of.

A chunk is one command in waiting: targets of one system, stage, action and kind. It is named by its content, so the
same obligations planned twice are the same chunk (rule "chunks"), and a plan is the set of its chunks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from operator import itemgetter
from typing import NamedTuple

import orjson
from pydantic import Field

from expunge.domain.digest import digest, hidden
from expunge.domain.limits import MAX_CHUNK_BYTES, MAX_EXCLUDED, MAX_EXCLUDED_BYTES
from expunge.domain.registry import Registry
from expunge.domain.runs import light_runs
from expunge.domain.values import Hex, Value
from expunge.domain.vocabulary import Action, Kind

FRAME_BYTES = 32
"""Quotes, commas and field names around a value in JSON, about."""
NAME_BYTES = 12
"""Of an obligation's name, within one case: two of 10,000,000 do not meet by chance."""

UNOWNED = "unowned"
NOT_INTEGRATED = "not_integrated"
NO_CAPABLE_ACTION = "no_capable_action"
TOO_MANY_EXCLUSIONS = "too_many_exclusions"
TOO_LARGE = "too_large_for_a_command"
FORGOTTEN_EXCLUSIONS = "forgotten_exclusions"
UNCOMMANDABLE = frozenset(
    {UNOWNED, NOT_INTEGRATED, NO_CAPABLE_ACTION, TOO_MANY_EXCLUSIONS, TOO_LARGE, FORGOTTEN_EXCLUSIONS}
)
"""Why no command can go out for an obligation."""

_ALONE = frozenset({Action.REBUILD_WITHOUT, Action.RETRAIN_WITHOUT})


def encoded(value: str | list[str]) -> int:
    """Bytes of a value in JSON, escapes included."""
    return len(orjson.dumps(value))


class Detail(Value):
    """What a command says about a target beside its id: the owner's own words, and its handles for people."""

    attributes: dict[str, str] = Field(default_factory=dict)
    refs: tuple[tuple[str, str], ...] = ()

    @property
    def words(self) -> list[tuple[str, str]]:
        """All pairs, in order."""
        return [*sorted(self.attributes.items()), ("", ""), *sorted(self.refs)]


class Lot(NamedTuple):
    """What obligations have in common that can go into one command."""

    system: str
    action: Action
    kind: Kind
    stage: int
    rule: str = ""
    """The id of the rule of policy that asks for it."""
    purposes: tuple[str, ...] = ()
    holding: bool = False
    root: str = ""
    """For holdings, the person that it must look for (see `scope.one_person`), or the data source."""
    returned: int = 0
    """For assets that came back after they were purged: when, or just after the receipt where the statement was handled
    before it (milliseconds since 1970). Each return is new work."""
    defer_days: int = 0
    """The command leaves so many days after the plan."""
    provision: str = ""
    """Of an order: whose deadline holds."""
    defer_until: str = ""
    """The command leaves when this has happened (`policy.rules.Event`)."""
    keep_until: int = 0
    """The command leaves not before this day (days since 1970): a law wants it kept; 0: none does."""
    after: int = 0
    """So many generations of the case were forgotten by then: it is no work of theirs, whatever that was."""

    def __repr__(self) -> str:
        return hidden(self)

    @property
    def alone(self) -> bool:
        """Whether every obligation is a command of its own."""
        return self.holding or self.action in _ALONE or bool(self.defer_until)


class Obligation(NamedTuple):
    """One asset or holding of a lot: with the lot, what must happen to it in one system."""

    key: bytes
    asset: str
    detail: Detail | None = None
    excluded: tuple[str, ...] = ()
    cut: bool = False
    """There is more to leave out than `excluded` says, so nothing can be told."""
    unnamed: bool = False
    """Something to leave out is forgotten, so nothing can be told either."""

    def __repr__(self) -> str:
        return hidden(self)

    def name(self, lot: Lot) -> bytes:
        """A digest of all that it says. Whatever task plans it again, it stays in the chunk that has it already."""
        key, _, detail, excluded, cut, unnamed = self
        raw = key + _lot_digest(lot)
        if detail is not None:
            raw += digest(*(text for pair in detail.words for text in pair))
        if excluded:
            raw += digest(*excluded, int(cut)) if cut else digest(*excluded)
        if unnamed:
            raw += digest(FORGOTTEN_EXCLUSIONS)
        # It begins as the asset's key does, so that neighbours in a chunk are neighbours where names are kept.
        return key[:2] + hashlib.blake2b(raw, digest_size=NAME_BYTES - 2).digest()

    @property
    def weight(self) -> int:
        """Bytes that it adds to a command, apart from the people whom every target names."""
        pairs = self.detail.words if self.detail else ()
        return FRAME_BYTES + encoded(self.asset) + sum(FRAME_BYTES + encoded(a) + encoded(b) for a, b in pairs)


@lru_cache(maxsize=4096)
def _lot_digest(lot: Lot) -> bytes:
    """What is to be done, whatever rule asks for it and in whatever stage: under another policy it is no new work."""
    after = (lot.after,) if lot.after else ()
    said = (lot.system, lot.action, lot.kind, int(lot.holding), lot.root, lot.returned, len(lot.purposes))
    return digest(*said, *lot.purposes, *after)


class ChunkSummary(Value):
    """What the coordinator needs to know of a chunk; the body stays in `plans` and beside the index."""

    digest: Hex
    system: str
    stage: int
    action: Action
    kind: Kind
    rule: str = ""
    size: int
    holding: bool = False
    returned: bool = False
    """Its assets came back after they had been purged."""
    defer_days: int = 0
    defer_until: str = ""
    keep_until: int = 0
    provision: str = ""
    reason: str = ""
    """Why no command can be sent for it; empty where one can."""
    target: str = ""
    """The key of its one target, where that is made anew."""


class Chunk(Value):
    """The targets of one command. An asset's place in `assets` is its ordinal."""

    case_id: Hex
    system: str
    stage: int
    action: Action
    kind: Kind
    rule: str = ""
    purposes: tuple[str, ...] = ()
    holding: bool = False
    root: str = ""
    returned: int = 0
    """See `Lot.returned`."""
    defer_days: int = 0
    defer_until: str = ""
    keep_until: int = 0
    provision: str = ""
    excluded: tuple[str, ...] = ()
    reason: str = ""
    assets: tuple[str, ...]
    details: dict[int, Detail] = Field(default_factory=dict)
    """Ordinal -> what else is said of the asset, where something is."""
    after: int = 0
    """See `Lot.after`."""

    @cached_property
    def digest(self) -> str:
        """The name of the chunk: a digest of its whole content, as JSON with sorted keys."""
        said = self.model_dump(mode="json", exclude=None if self.after else {"after"})
        return digest("chunk", orjson.dumps(said, option=_CANONICAL)).hex()

    def summary(self) -> ChunkSummary:
        """What `planned` says of it."""
        return ChunkSummary(
            digest=self.digest,
            system=self.system,
            stage=self.stage,
            action=self.action,
            kind=self.kind,
            rule=self.rule,
            size=len(self.assets),
            holding=self.holding,
            returned=bool(self.returned),
            defer_days=self.defer_days,
            defer_until=self.defer_until,
            keep_until=self.keep_until,
            provision=self.provision,
            reason=self.reason,
        )


_CANONICAL = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


def why_open(registry: Registry, lot: Lot, obligation: Obligation) -> str:
    """Why no command can go out for an obligation; empty where one can."""
    if lot.action is Action.EXEMPT:
        return lot.rule
    system = registry.system(lot.system)
    if system is None:
        return UNOWNED
    if not system.integrated:
        return NOT_INTEGRATED
    if lot.action not in system.actions:
        return NO_CAPABLE_ACTION
    if obligation.weight > MAX_CHUNK_BYTES:
        return TOO_LARGE
    excluded = obligation.excluded
    heavy = sum(map(encoded, excluded)) > MAX_EXCLUDED_BYTES
    too_many = obligation.cut or len(excluded) > MAX_EXCLUDED or heavy
    return FORGOTTEN_EXCLUSIONS if obligation.unnamed else TOO_MANY_EXCLUSIONS if too_many else ""


Lots = Mapping[Lot, Sequence[Obligation]]


class Cut(NamedTuple):
    """A chunk, and the obligations that went into it."""

    chunk: Chunk
    lot: Lot
    obligations: list[Obligation]

    @property
    def names(self) -> list[bytes]:
        """The names of its obligations."""
        lot = self.lot
        return [each.name(lot) for each in self.obligations]


def cut(case_id: str, lots: Lots, registry: Registry, people_bytes: Mapping[str, int]) -> Iterator[Cut]:
    """Obligations as chunks, in an order that depends on nothing but their content.

    Args:
        case_id: the case.
        lots: what is to be done.
        registry: who exists and what they can do.
        people_bytes: system -> bytes that naming the case's people adds to each of its targets.
    """
    for lot in sorted(lots, key=lambda lot: (lot.stage, lot)):
        system = registry.system(lot.system)
        limit = 1 if lot.alone else system.batch_size if system else MAX_EXCLUDED
        for part in _parts(sorted(lots[lot], key=itemgetter(0)), limit, people_bytes.get(lot.system, 0)):
            yield Cut(_chunk(case_id, lot, part, why_open(registry, lot, part[0])), lot, part)


def _parts(obligations: Sequence[Obligation], limit: int, people: int) -> Iterator[list[Obligation]]:
    """Runs of at most `limit` obligations and MAX_CHUNK_BYTES."""
    for start in range(0, len(obligations), limit):
        run = list(obligations[start : start + limit])
        plain = not any(each.detail for each in run)
        if plain and encoded([each.asset for each in run]) + len(run) * (FRAME_BYTES + people) <= MAX_CHUNK_BYTES:
            yield run
        else:
            yield from light_runs(run, lambda each: people + each.weight, MAX_CHUNK_BYTES)


def _chunk(case_id: str, lot: Lot, part: list[Obligation], reason: str) -> Chunk:
    return Chunk(
        case_id=case_id,
        system=lot.system,
        stage=lot.stage,
        action=lot.action,
        kind=lot.kind,
        rule=lot.rule,
        purposes=lot.purposes,
        holding=lot.holding,
        root=lot.root,
        returned=lot.returned,
        defer_days=lot.defer_days,
        defer_until=lot.defer_until,
        keep_until=lot.keep_until,
        provision=lot.provision,
        after=lot.after,
        excluded=() if reason else part[0].excluded,
        reason=reason,
        assets=tuple(each.asset for each in part),
        details={at: each.detail for at, each in enumerate(part) if each.detail is not None and reason != TOO_LARGE},
    )


def names_of(chunk: Chunk, key: Callable[[str], bytes]) -> list[bytes]:
    """The names of a chunk's obligations, as `Cut` has them.

    Of one for which nothing can be commanded, because it would have to say too much, they are not known: the chunk does
    not say what.

    Args:
        chunk: the chunk.
        key: of an asset id.
    """
    if chunk.reason in {TOO_LARGE, TOO_MANY_EXCLUSIONS, FORGOTTEN_EXCLUSIONS}:
        return []
    lot = Lot(**{field: getattr(chunk, field) for field in Lot._fields})
    return sorted(
        Obligation(key(asset), asset, chunk.details.get(at), chunk.excluded).name(lot)
        for at, asset in enumerate(chunk.assets)
    )


def plan_digest(case_id: str, generation: int, chunks: Iterable[str]) -> str:
    """The name of a fixed plan: whoever has its chunks can compute it."""
    return digest(case_id, generation, *sorted(chunks)).hex()


def command_id(case_id: str, generation: int, summary: ChunkSummary, rounds: int = 0) -> str:
    """The id of the command that carries a chunk; a repetition of the command keeps it.

    A command that takes the place of one that was withdrawn, or that names what that one had to leave out, has an id of
    its own: agents never carry out one that was withdrawn, however late it comes.
    """
    again = (rounds,) if rounds else ()
    return digest("command", case_id, summary.system, summary.stage, generation, summary.digest, *again).hex()
