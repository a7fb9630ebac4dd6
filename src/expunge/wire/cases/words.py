"""What operators say, as it is said on `cases`: of one case, or of every case of a partition."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from expunge.domain.values import Hex, Value
from expunge.wire.cases.rate import GroupVerdict
from expunge.wire.cases.said import Aggregate, CaseEvent, ForCase, ForCaseOrGroup, ForEverybody, Order, Place
from expunge.wire.controls import Option


class HoldKind(StrEnum):
    """What a hold is about."""

    CASE = "case"
    SUBJECT = "subject"
    DATA_SOURCE = "data_source"
    ASSET = "asset"
    SYSTEM = "system"


class Covering(Value):
    """What a hold covers. A person stands here as a pseudonym, an asset as its key."""

    kind: HoldKind
    value: str

    @property
    def known_at_once(self) -> bool:
        """Whether a command says by itself that it is covered; for the others a resolver looks at its targets."""
        return self.kind in {HoldKind.CASE, HoldKind.SYSTEM}


class Hold(Value):
    """A duty to keep something, whatever a request says (rule "holds")."""

    hold_id: str
    scope: Covering
    basis: str
    """Its legal basis, in the operator's words."""
    custodian: str
    """Who answers for it."""
    operator: str
    review_by: datetime | None = None
    """Past this it is reported as overdue for review; it is never lifted by that."""
    placed_at: datetime
    word: str = ""
    """The name of the word (`name_of_word`), by which whoever said it sees that it is heard."""
    content: Hex
    """Keyed digest of what was said: the same id with other content is another hold, and refused."""
    order: Order
    number: int = 0
    """In one partition: holds are counted as they are heard."""
    watermark: dict[str, dict[str, int]] = Field(default_factory=dict)
    """The ends of the registration inlets when it was placed: what lies before may say that it covers something."""


class Release(Value):
    """The end of a hold."""

    at: datetime
    operator: str
    order: Order
    word: str = ""
    earlier: tuple[str, ...] = ()
    """Words that were said of it before: one of them published once more is not a new one."""


class Pause(Value):
    """The latest word about one scope: `all`, `system:NAME`, `publisher:NAME`, or `case:ID`."""

    scope: str
    paused: bool
    operator: str
    at: datetime
    order: Order
    word: str = ""
    earlier: tuple[tuple[str, datetime], ...] = ()
    """Words that were said of the scope shortly before: one of them published once more is not a new one."""


class ApprovalSaid(ForCaseOrGroup):
    """An operator approved a plan."""

    operator: str
    plan_digest: Hex
    content: Hex
    place: Place


class RejectionSaid(ForCaseOrGroup):
    """An operator rejected a plan."""

    operator: str
    plan_digest: Hex
    reason: str
    content: Hex
    place: Place


class ExtensionSaid(ForCase):
    """An operator takes more time."""

    operator: str
    reason: str
    content: Hex
    place: Place


class CancellationSaid(ForCase):
    """An operator takes a request back."""

    operator: str
    content: Hex
    place: Place


class DecisionSaid(ForCase):
    """An operator settles what is open in a system, or when a model is made anew."""

    operator: str
    system: str
    model: str = ""
    """The key of the model that is meant."""
    option: Option
    due_at: datetime | None = None
    content: Hex
    place: Place


class ThawSaid(ForCase):
    """An operator lets a frozen case go on: what waited is handled in order, one message after the other."""

    operator: str
    content: Hex
    place: Place
    places: tuple[Place, ...] = ()
    """What other roles had set aside and was published again, or is left out for good."""
    skip: str = ""
    """Which message that waits is left out, as `Frozen.turn` names it; empty: none."""
    watermark: dict[str, dict[str, int]] = Field(default_factory=dict)
    """How far the indexers must come, where registrations were published again."""


class ForgetSaid(ForCase):
    """An operator has a case forgotten before its evidence period has passed."""

    operator: str
    content: Hex
    place: Place


class ProbeSaid(ForCase):
    """An operator has it looked whether what was said to be gone is gone."""

    operator: str
    sample: int = 0
    """So many obligations; 0: all."""
    again_days: tuple[int, ...] = ()
    content: Hex
    place: Place


class RetrySaid(ForCase):
    """An operator has commands sent once more at once."""

    operator: str
    system: str = ""
    """Only there; empty: wherever something is open."""
    content: Hex
    place: Place


class PauseSaid(ForEverybody):
    """An operator pauses a scope, or lets it go on: for every case of a partition."""

    pause: Pause


class HoldSaid(ForEverybody):
    """An operator places a hold: for every case of a partition."""

    hold: Hold
    place: Place


class ReleaseSaid(ForEverybody):
    """An operator releases a hold."""

    hold_id: str
    release: Release
    content: Hex
    place: Place


class HoldReadBack(CaseEvent):
    """What was read back from `holds`: its owner publishes again what is not the newest.

    See rule "nothing overwritten".
    """

    aggregate = Aggregate.STANDING
    hold_id: str
    sequence: int


class GroupSaid(ForEverybody):
    """What operators have said about a group: for every case of a partition."""

    rate: Hex
    verdict: GroupVerdict


Control = (
    ApprovalSaid
    | RejectionSaid
    | ExtensionSaid
    | CancellationSaid
    | DecisionSaid
    | ThawSaid
    | ForgetSaid
    | ProbeSaid
    | RetrySaid
)

Said = PauseSaid | HoldSaid | ReleaseSaid | GroupSaid
"""What operators say for every case."""
