"""Statements that are signed or handed over: what may stand in them, field by field, and nothing else.

Each is held against its model before it leaves, so a field that somebody adds to it one day is an error until it stands
here, and in the schema that is made from it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, StringConstraints

from expunge.domain.limits import MAX_TEXT_CHARACTERS, MAX_WORD_CHARACTERS
from expunge.domain.scope import ScopeKind
from expunge.domain.values import Hex
from expunge.domain.vocabulary import Action, Claim, Kind, Regime, Status

Moment = Annotated[StrictStr, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]
Digest = Annotated[StrictStr, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Said = Annotated[StrictStr, StringConstraints(max_length=MAX_WORD_CHARACTERS)]
Text = Annotated[StrictStr, StringConstraints(max_length=MAX_TEXT_CHARACTERS)]
Number = Annotated[StrictInt, Field(ge=0)]


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Provision(_Said):
    """A provision of an order."""

    provision: Said
    due_at: Moment
    open: Number
    open_when_due: Number | None
    """At its deadline; null: that had not passed."""


class Matter(_Said):
    """Whose order it is, in its publisher's words."""

    authority: Text | None
    docket: Text | None
    order_date: Said | None


class Case(_Said):
    """The case: law, dates, and how it ended."""

    id: Hex
    publisher: Said
    regime: Regime
    clock: Said
    received_at: Moment
    received_at_clamped: StrictBool
    opened_at: Moment
    due_at: Moment
    extended: StrictBool
    ended_at: Moment
    on_time: StrictBool
    status: Status
    outcome: Literal["complied", "partial", "refused", "not_found", "cancelled", "superseded"]
    sequence: Number
    provisions: tuple[Provision, ...]
    matter: Matter | None
    expected_count: Number | None


class Scope(_Said):
    """What it is about; never whom."""

    kind: ScopeKind
    about_a_person: StrictBool
    data_sources: tuple[Said, ...]
    assets: Number
    purposes: tuple[Said, ...]
    collected_until: StrictInt | None
    """Seconds since 1970."""


class Lineage(_Said):
    """How far lineage had been read."""

    registrations_at_the_request: dict[Said, dict[Said, Number]]
    all_of_them_indexed: StrictBool
    plans: Number


class Asked(_Said):
    """A system, and how much it was asked for."""

    system: Said
    obligations: Number
    third_party: Literal[True] | None = None
    not_asked: StrictStr | None = None
    """As the configuration says it."""


class Row(_Said):
    """Obligations that are alike."""

    kind: Kind
    system: Said
    action: Action
    claim: Claim | Literal["open"]
    grade: Literal["E0", "E1", "E2", "E3", "E4"] | None = None
    reason: Said | None = None
    until: Said | None = None
    provision: Said | None = None
    count: Annotated[StrictInt, Field(ge=1)]


class Obligations(_Said):
    """All of them, committed to."""

    number: Number
    open: Number
    root: Digest


class OperatorsWord(_Said):
    """What an operator said of the case, by the id of their key."""

    fact: Said
    operator: Said
    at: Moment


class Lost(_Said):
    """What an operator has acknowledged to be lost."""

    topic: Said
    partition: Number
    why: Said
    since: StrictInt
    until: StrictInt


class Probe(_Said):
    """A look by somebody else than the agents, at what those called gone."""

    number: Annotated[StrictInt, Field(ge=1)]
    begun_at: Moment
    ended_at: Moment | None
    """Null: it was going on."""
    sample: Annotated[StrictInt, Field(ge=1)] | None
    """So many were to be looked at; null: all."""
    of: Number
    """Of so many, about, that somebody can look at."""
    asked: Number
    absent: Number
    found: Number
    unknown: Number
    """It could not be told. The rest nobody has answered for."""
    besides: Number
    """Found, and not asked about by this probe."""
    by: tuple[Digest, ...]
    """The ids of the keys with which the answers were signed."""


class Way(_Said):
    """By what kinds the data came into models."""

    way: Annotated[tuple[Kind, ...], Field(min_length=1)]
    """From the data to the model."""
    count: Annotated[StrictInt, Field(ge=1)]
    """So many models."""


class Models(_Said):
    """How the data came into models, as the lineage index knew it."""

    ways: tuple[Way, ...]
    steps: Number
    """Lines of `ways.jsonl`."""
    root: Digest
    """Over them."""


class Verification(_Said):
    """Who has looked whether anything is left."""

    probes: tuple[Probe, ...]


class Unsigned(_Said):
    """What rests on nobody's signature."""

    answers: Number
    operators_may_be: StrictBool
    publisher_is_bound: StrictBool


class Records(_Said):
    """The records of the ledger on which it rests."""

    number: Number
    root: Digest


class Log(_Said):
    """The log in which they lie."""

    checkpoint: Annotated[StrictStr, StringConstraints(max_length=16_384)]
    key: Text
    keys: Annotated[tuple[Annotated[StrictStr, StringConstraints(max_length=2_048)], ...], Field(max_length=100)]
    """The words by which that key has followed earlier ones, each signed by both."""
    timestamp: Annotated[StrictStr, StringConstraints(max_length=100_000)] | None


class Predicate(_Said):
    """What a certificate says."""

    version: Literal[1]
    case: Case
    scope: Scope
    lineage: Lineage
    systems: tuple[Asked, ...]
    inventory: tuple[Row, ...]
    obligations: Obligations
    models: Models
    words: tuple[OperatorsWord, ...]
    losses: tuple[Lost, ...]
    verification: Verification
    unsigned: Unsigned
    records: Records
    log: Log
    policy: Hex
    predecessor: Digest | None
    not_shown: tuple[Text, ...]
    limitations: tuple[Text, ...]


class Sha256(_Said):
    """A digest."""

    sha256: Digest


class Subject(_Said):
    """What it is about: a case, by its obligations."""

    name: Annotated[StrictStr, StringConstraints(pattern=r"^case:[0-9a-f]{32}$")]
    digest: Sha256


class Statement(_Said):
    """A certificate as it is signed: an in-toto Statement."""

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: tuple[Subject]
    predicate_type: Literal["https://expunge.dev/certificate/v1"] = Field(alias="predicateType")
    predicate: Predicate
