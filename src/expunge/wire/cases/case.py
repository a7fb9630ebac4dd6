"""What happens to one case, as it is said on `cases`. Everything from outside a decision enters here.

See rule "time and ids".
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

from pydantic import Field, model_validator

from expunge.domain.planning.chunks import ChunkSummary
from expunge.domain.scope import Granted, Scope
from expunge.domain.values import Hex, Value
from expunge.domain.vocabulary import Finding, Grade, Regime
from expunge.wire.cases.rate import RateAnswer, in_a_list
from expunge.wire.cases.said import ForCase, ForCaseOrModel, ForEverybody, Place
from expunge.wire.receipts import Outcome
from expunge.wire.requests import Matter
from expunge.wire.tasks import PlannedStatus, ReplacementVerdict


class Seal(Value):
    """One identity of the person, sealed to one system's public key."""

    system: str
    pseudonym: Hex
    also: tuple[Hex, ...] | None = None
    """Pseudonyms of the same id under earlier versions of its normaliser; None: 0.1 took it, and did not say."""
    sealed: str


class Root(Value):
    """What a case was opened with: the only part of it that names people. In `plans` until the case is forgotten."""

    case_id: Hex
    request_id: str
    source: str
    event_id: str
    publisher: str
    scope: Scope
    regime: Regime
    jurisdiction: str | None = None
    received_at: datetime
    policy: Hex
    """The policy in force when the request was taken: the whole case is carried out under it (rule "pinned policy")."""
    clamped: bool = False
    """`received_at` lay in the future and was set to the append time (rule "dates")."""
    correlation_id: str | None = None
    batch: str | None = None
    dry_run: bool = False
    salt: str
    matter: Matter | None = None
    """The order that the request carries out, in its own words."""
    seals: tuple[Seal, ...] = ()
    suppressions: tuple[Hex, ...] = ()
    """The keys under which the person must not be collected again: under a key of their own, so that ingesters can
    compute them; none for somebody whom the publisher names by pseudonym alone."""
    watermark: dict[str, dict[str, int]]
    content: Hex
    """Keyed digest of what was asked; salt, seals and watermark are no part of it (rule "salts")."""
    place: Place
    forgotten: bool = False
    withdrawn: tuple[Hex, ...] = ()
    """The keys of the withdrawn assets, once their ids are forgotten."""

    def withdrawn_nodes(self, key: Callable[[str], bytes]) -> list[bytes]:
        """The nodes of the assets that the request withdraws; `key` makes them from ids."""
        return sorted({*map(key, self.scope.assets), *map(bytes.fromhex, self.withdrawn)})

    def renamed(self, newest: Callable[[bytes], bytes]) -> Root:
        """The same with its people's names under the newest secret (rule "rotated")."""
        names = {newest(bytes.fromhex(each.pseudonym)).hex(): each for each in self.scope.subjects}
        subjects = tuple(each.model_copy(update={"pseudonym": name}) for name, each in sorted(names.items()))
        return self.model_copy(update={"scope": self.scope.model_copy(update={"subjects": subjects})})

    def without_names(self, key: Callable[[str], bytes]) -> Root:
        """What stays of it when its case is forgotten: pseudonyms and keys, by which what comes back is caught."""
        gone: dict[str, Any] = {"request_id": "", "event_id": "", "correlation_id": None, "batch": None, "salt": ""}
        gone |= {"matter": None, "seals": (), "scope": self.scope.model_copy(update={"assets": ()})}
        kept = tuple(node.hex() for node in self.withdrawn_nodes(key))
        return self.model_copy(update=gone | {"forgotten": True, "withdrawn": kept})


class RequestTaken(ForCase):
    """Intake took a request."""

    root: Root


class Planned(ForCase):
    """A resolver answered a task."""

    task_id: Hex
    generation: int
    status: PlannedStatus
    spawned: tuple[Hex, ...] = ()
    chunks: tuple[ChunkSummary, ...] = ()
    containers: tuple[tuple[Hex, int], ...] = ()
    """To be planned when the walk has ended; with when they came back (milliseconds since 1970), or 0."""
    population: dict[str, int] = Field(default_factory=dict)
    """System -> how many assets it has registered, about: the answer to the first task says so."""
    watermark: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Of a task that registered what a system discovered: the ends of the inlets after that."""
    applied: dict[str, dict[str, int]] = Field(default_factory=dict)
    """What the task waited for, where the indexers had passed it before the walk began."""


class TargetAnswer(Value):
    """One target's claim inside a receipt."""

    asset: str
    outcome: Outcome
    replacement: str = ""
    """The key of the model that took its place, where the system names one."""


class Receipted(ForCaseOrModel):
    """A system's receipt, taken at the door. `system` is the topic's, whatever the receipt says of itself."""

    command_id: Hex
    system: str
    attempt: int
    sequence: int
    status: Literal["accepted", "done", "failed", "withdrawn"]
    all: Outcome | None = None
    answers: tuple[TargetAnswer, ...] = ()
    expected_by: datetime | None = None
    replacement: str = ""
    """The key of the model that took the place of what is said of `all`."""
    joint: str = ""
    """The command under which the system is, or will be, told for several cases at once (`aggregates.retraining`)."""
    begun: bool = False
    """That it has been told."""
    content: Hex
    grade: Literal[Grade.E1, Grade.E2] = Grade.E1
    """Whether it is signed with a key of its system (E2)."""
    received: str = ""
    """Which part of the case in `plans` is the receipt as it came, byte by byte; 0.1 kept none."""
    watermark: dict[str, dict[str, int]] = Field(default_factory=dict)
    """The ends of the registration inlets, where it names a replacement that may lie there."""
    place: Place
    appended_ms: int = 0
    """When the receipt was appended: what is stated later has come back."""

    def replacement_of(self, asset: str) -> str:
        """The key of the model that took an asset's place, as the system says; empty where it names none."""
        mine = [each.replacement for each in self.answers if each.asset == asset]
        return mine[-1] if mine else self.replacement


class LateAsset(Value):
    """An asset registered after the walk had passed the place where it belongs."""

    key: Hex
    arrival: int
    command_id: str = ""
    """The command that produced it, as its registrar says; the index must agree (rule "own products")."""
    via: tuple[Hex, ...] = ()
    """Of such an asset: by which of its parents it is late, or its own key where it was reached before; a few."""
    named: bool = False
    """Of such an asset: it names the person, or states the data source."""
    returned: int = 0
    """It had been purged, and was stated again after that: when (milliseconds since 1970; rule "returns")."""
    collected: int = 0
    """What the statement says of its collection (seconds since 1970), if nothing but the person leads to it."""


class Late(ForCase):
    """The indexer found assets under marks of this case."""

    assets: tuple[LateAsset, ...]


class HoldingKnown(ForEverybody):
    """A holding was declared: every open case of the partition must ask it."""

    holding: Hex
    case_id: str = ""
    """Said to this case alone, which was frozen when the others were told."""

    @property
    def key(self) -> str:
        """Of the case to which alone it is said; empty where it is said to all."""
        return self.case_id


class TimerFired(ForCaseOrModel):
    """Something is due: `walk`, `settle`, `warn`, `due`, `stage` (of a generation), `chunk` (it is asked again)."""

    timer: str


class Continue(ForCase):
    """The coordinator's message to itself: the stage has more commands to send."""

    generation: int
    stage: int


class ForgetGoesOn(ForCase):
    """The coordinator's message to itself: more chunks of a case that is being forgotten."""

    after: str = ""
    """The last chunk that has been replaced."""
    serial: int = 0
    """How many facts the case had when the first page was: with one more, all begins anew another time."""
    holds: int = 0
    """The number of the latest hold of which all pages so far have looked whether it is on one of their assets."""


class ProbeGoesOn(ForCase):
    """The coordinator's message to itself: more chunks of a case that is being probed."""

    number: int
    """Of the probe."""
    after: str
    """The last chunk that was looked at."""
    passed: int
    """How many obligations could have been chosen so far."""


class ProbeAnswered(ForCase):
    """What a prober has found of the targets of one chunk, signed with a key that is not the purger's."""

    number: int
    command_id: Hex
    system: str
    by: str
    """The id of its key."""
    all: Finding | None = None
    """Of whatever was asked and is not named."""
    answers: tuple[tuple[str, Finding], ...] = ()
    """Asset and what was found of it."""
    received: str
    """Which part of the case in `plans` is the answer as it came, byte by byte."""
    content: Hex
    place: Place


class GrantedAgain(ForCase):
    """A purpose that this case revoked was granted again: what is collected from then on is not the case's."""

    granted: Granted


class Reconsider(ForCase):
    """The coordinator's message to itself: a word must be held against more chunks of a case."""

    word: str
    after: str = ""
    """The last chunk that it was held against."""
    serial: int = 0
    """The number of the pass: of several passes for one word the latest says when all is done."""


class Covered(Value):
    """What holds cover in one chunk."""

    chunk: Hex
    covered: tuple[tuple[str, tuple[int, ...]], ...]
    """Hold and ordinals, of those holds that cover something."""


class HoldsSeen(ForCase):
    """A resolver looked into holds."""

    number: int
    """Of the last hold that it looked into."""
    found: tuple[Covered, ...]
    """Every chunk that was asked about."""
    after: int = 0
    """How many changes of the index the case had heard of when it asked."""
    ready: bool = True
    """False: the indexers have not passed what lay before the holds, so nothing was looked at."""
    ahead: bool = False
    """They have not, and it was looked at all the same: the case has waited for them for long enough."""


class LineageChanged(ForCase):
    """An indexer learnt something of what was looked at for holds: what was found then may hold no longer."""


class EmissionRefused(ForCaseOrModel):
    """The broker refused a command for good: it never left (rule "refused records")."""

    command_id: Hex
    attempt: int
    reason: str


class ReplacementSeen(ForCase):
    """A resolver looked at a model that took another's place: does the case's data lead to it?"""

    chunk: Hex
    replacement: Hex
    """Its key."""
    verdict: ReplacementVerdict


class RateAnswered(ForCase):
    """What a plan that asked was told."""

    generation: int
    answers: tuple[RateAnswer, ...]

    @model_validator(mode="before")
    @classmethod
    def _of_one(cls, said: Any) -> Any:
        """0.1 answered for each rate by itself."""
        return in_a_list(said, "answers", RateAnswer)


class Applied(ForCase):
    """The indexers have applied every statement that was there when the request arrived."""

    watermark: dict[str, dict[str, int]]


class Froze(ForCase):
    """A message of the case ended its processes elsewhere, and was set aside: the case must wait for a person."""

    reason: str
    place: Place


class ThawOn(ForCase):
    """The coordinator's message to itself: the next of the messages that waited."""

    number: int
    """How many were handled before."""


class RequestSetAside(ForCase):
    """A request ended processes before it became a case; its publisher is told, unless the case is there already."""

    publisher: str
    rejection: dict[str, Any]
    """The data of `expunge.request.rejected.v1`."""
