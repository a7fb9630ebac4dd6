"""The closed vocabularies: kinds, actions, claims, regimes, and what follows from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import NamedTuple, Self

from expunge.errors import NotUnderstood


class Kind(StrEnum):
    """What an asset is, and what follows from that: a row each.

    In which stage it is purged stands in a policy (`policies/default.yaml`); an older one takes it in its last stage.
    """

    is_container: bool
    """It holds many people's data: for one person the walk goes on only to other containers (rule "containers")."""
    is_model: bool
    """It is a model, or serves one: confirmations list it among the models."""
    is_of_models: bool
    """It is a model, or was made with one: a model is closed when nothing of these is open in its case."""

    def __new__(cls, value: str, traits: Collection[str] = ()) -> Self:
        """A member: its word, and what it is beside that."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.is_container = "container" in traits
        member.is_model = "model" in traits
        member.is_of_models = bool({"model", "of models"}.intersection(traits))
        return member

    RECORD = "record"
    OBJECT = "object"
    ANNOTATION = "annotation"
    EMBEDDING = "embedding", {"of models"}
    FEATURE = "feature"
    DATASET = "dataset", {"container"}
    DATASET_VERSION = "dataset_version", {"container"}
    INDEX = "index", {"container", "of models"}
    CACHE = "cache"
    LOG = "log", {"container"}
    MODEL = "model", {"container", "model"}
    CHECKPOINT = "checkpoint", {"container", "model"}
    DEPLOYMENT = "deployment", {"container", "model"}
    BACKUP = "backup", {"container"}
    RECIPIENT_COPY = "recipient_copy"


def kind_of(word: str) -> Kind:
    """The kind of that name, as the index holds it.

    Raises:
        NotUnderstood: a newer version has put it there.
    """
    try:
        return Kind(word)
    except ValueError:
        raise NotUnderstood("unknown_kind") from None


CONTAINERS = frozenset(kind for kind in Kind if kind.is_container)
MODELS = frozenset(kind for kind in Kind if kind.is_model)
OF_MODELS = frozenset(kind for kind in Kind if kind.is_of_models)


class Action(StrEnum):
    """What a system is told to do."""

    DELETE = "delete"
    REDACT = "redact"
    REBUILD_WITHOUT = "rebuild_without"
    RETRAIN_WITHOUT = "retrain_without"
    DISABLE = "disable"
    RESTRICT = "restrict"
    LIFT = "lift"
    DESTROY_KEY = "destroy_key"
    NOTIFY = "notify"
    PROBE = "probe"
    EXEMPT = "exempt"
    """No command: the law lets it be kept, and the rule says by which provision."""


KEEPING = frozenset({Action.RESTRICT, Action.LIFT, Action.DISABLE})
"""Actions after which everything is still there."""

STRICTNESS: tuple[Action, ...] = (
    Action.DELETE,
    Action.DESTROY_KEY,
    Action.RETRAIN_WITHOUT,
    Action.REBUILD_WITHOUT,
    Action.REDACT,
    Action.DISABLE,
    Action.RESTRICT,
    Action.NOTIFY,
    Action.EXEMPT,
)
"""Strictest first: where statements disagree about an asset's kind, the strictest rule holds."""


class After(StrEnum):
    """What an asset is after an answer, for the marks that a case leaves on it."""

    THERE = "there"
    GONE = "gone"
    """What is stated again has come back."""
    CLEAN = "clean"
    """It goes on without the case's data."""


_COMMANDS = frozenset(Action) - {Action.EXEMPT, Action.PROBE}
DONE_WORTH = 8
"""The worth of what counts as done; of two answers with one number the one that is worth less stands."""


class Grade(StrEnum):
    """What an answer rests on: E1 an unsigned receipt, E2 a signed one, E3 a probe, E4 a third party.

    See design: "Nothing false is said".
    """

    E1 = "E1"
    E2 = "E2"
    E3 = "E3"
    E4 = "E4"


class Finding(StrEnum):
    """What somebody finds who looks into a system whether an asset is still there."""

    ABSENT = "absent"
    FOUND = "found"
    UNKNOWN = "unknown"
    """It cannot be told: that is no evidence of anything."""


WORST_FIRST = (Finding.FOUND, Finding.UNKNOWN, Finding.ABSENT)
"""Of two findings about one asset the worse counts."""


class Claim(StrEnum):
    """What a system says it did: the only words that reports may use. What each means is its row in `MEANINGS`."""

    DELETED = "deleted"
    KEY_DESTROYED = "key_destroyed"
    REDACTED = "redacted"
    REBUILT_WITHOUT = "rebuilt_without"
    RETRAINED_WITHOUT = "retrained_without"
    DISABLED = "disabled"
    RESTRICTED = "restricted"
    LIFTED = "lifted"
    ANONYMISED_WITH_PROOF = "anonymised_with_proof"
    BEYOND_USE = "beyond_use"
    DEFERRED = "deferred"
    EXEMPT = "exempt"
    HELD = "held"
    NOT_FOUND = "not_found"
    NOTIFIED = "notified"
    INSTRUCTED_ONLY = "instructed_only"
    IMPOSSIBLE = "impossible"
    FAILED = "failed"


class Meaning(NamedTuple):
    """What a claim means."""

    letter: str
    """Stands for it in a chunk's answers."""
    said: str
    """What may be said of it to people (`domain.evidence.sentences`)."""
    answers: Collection[Action]
    """The actions that it answers."""
    after: After = After.THERE
    worth: int = DONE_WORTH
    ends: bool = False
    """Whether it ends one day, so that the case is `completed` only when it has."""
    done: bool = True
    """Whether a system says by it that it has done something: then it matters what that rests on."""


MEANINGS: Mapping[Claim, Meaning] = {
    Claim.DELETED: Meaning("d", "deleted", _COMMANDS, After.GONE),
    Claim.KEY_DESTROYED: Meaning("k", "made unreadable: its key was destroyed", _COMMANDS, After.GONE),
    Claim.REDACTED: Meaning("r", "redacted", {Action.REDACT, Action.RESTRICT}, After.CLEAN),
    Claim.REBUILT_WITHOUT: Meaning("b", "made again without this data", {Action.REBUILD_WITHOUT}, After.CLEAN),
    Claim.RETRAINED_WITHOUT: Meaning("t", "trained again without this data", {Action.RETRAIN_WITHOUT}, After.CLEAN),
    Claim.DISABLED: Meaning("x", "switched off; it is still there", {Action.DISABLE}),
    Claim.RESTRICTED: Meaning("q", "restricted; it is still there", {Action.RESTRICT}),
    Claim.LIFTED: Meaning("l", "in use again", {Action.LIFT}),
    Claim.ANONYMISED_WITH_PROOF: Meaning("a", "anonymised, with a proof of its owner's", {Action.RETRAIN_WITHOUT}),
    Claim.BEYOND_USE: Meaning(
        "u",
        "put beyond use until it can be deleted; it is still there",
        _COMMANDS,
        After.THERE,
        2,
        ends=True,
        done=False,
    ),
    Claim.DEFERRED: Meaning("p", "put off; it is still there", _COMMANDS, After.THERE, 3, ends=True, done=False),
    Claim.EXEMPT: Meaning("e", "kept, because a rule or an operator says so", _COMMANDS, done=False),
    Claim.HELD: Meaning("h", "kept, because of a legal hold", _COMMANDS, After.THERE, 4, ends=True, done=False),
    Claim.NOT_FOUND: Meaning(
        "n", "not found by its system, which is no deletion", _COMMANDS, After.GONE, 7, done=False
    ),
    Claim.NOTIFIED: Meaning("o", "told to its recipient", {Action.NOTIFY}),
    Claim.INSTRUCTED_ONLY: Meaning(
        "i", "told to its recipient, who has confirmed nothing", {Action.NOTIFY}, After.THERE, 6
    ),
    Claim.IMPOSSIBLE: Meaning("m", "impossible, as its system says", {Action.NOTIFY}, After.THERE, 5, done=False),
    Claim.FAILED: Meaning("f", "not done: it failed", _COMMANDS, After.THERE, 0, done=False),
}


OPEN = "open"
"""Stands in counts where no claim does: nobody has answered for the asset."""
OPEN_LETTER, OPEN_WORTH = ".", 1

DEFERRALS = frozenset(claim for claim, meaning in MEANINGS.items() if meaning.ends)
"""Answers that end one day; the case is `completed` only when they have."""

UNDONE = frozenset({Claim.FAILED, OPEN})
"""What keeps an obligation open."""

ANSWERS: dict[Action, frozenset[Claim]] = {
    action: frozenset(claim for claim, meaning in MEANINGS.items() if action in meaning.answers)
    for action in Action
    if action in _COMMANDS
}
"""The claims that answer each action; any other claim is read as `failed`, never as success.

See design: "Nothing false is said".
"""


RESTRICTING = ANSWERS[Action.RESTRICT] - ANSWERS[Action.LIFT]
"""Claims after which something is restricted, and can be let go again."""


class Regime(StrEnum):
    """The law or order under which a request is carried out."""

    GDPR = "gdpr"
    UK_GDPR = "uk_gdpr"
    CCPA = "ccpa"
    DROP = "drop"
    LGPD = "lgpd"
    DPDP = "dpdp"
    BIPA = "bipa"
    ORDER = "order"
    NONE = "none"


class Status(StrEnum):
    """The states of a case. It is received and acknowledged in the decision that opens it.

    See design: "States of a case".
    """

    RESOLVING = "resolving"
    PLANNED = "planned"
    AWAITING_APPROVAL = "awaiting_approval"
    PURGING = "purging"
    COMPLETED = "completed"
    COMPLETED_WITH_DEFERRALS = "completed_with_deferrals"
    PARTIALLY_COMPLETED = "partially_completed"
    REFUSED = "refused"
    CANCELLED = "cancelled"


CLOSED = frozenset({Status.COMPLETED, Status.COMPLETED_WITH_DEFERRALS, Status.REFUSED, Status.CANCELLED})
"""States in which nothing is under way: a new holding does not concern these cases."""

OVER = frozenset({Status.REFUSED, Status.CANCELLED})
"""States that a case does not leave: nothing is planned, found or repeated any more."""

FINAL = frozenset(
    {
        Status.COMPLETED,
        Status.COMPLETED_WITH_DEFERRALS,
        Status.PARTIALLY_COMPLETED,
        Status.REFUSED,
        Status.CANCELLED,
    }
)
