"""The state of a case: a bounded record, and one small record for each chunk beside it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import NamedTuple, Protocol

from pydantic import field_serializer

from expunge.domain.plan import Chunk, ChunkSummary
from expunge.domain.scope import Granted, Hex, ScopeKind, Value
from expunge.domain.vocabulary import DEFERRALS, OPEN, UNDONE, Claim, Regime, Status

LETTERS: dict[str, str] = {
    OPEN: ".",
    Claim.DELETED: "d",
    Claim.KEY_DESTROYED: "k",
    Claim.REDACTED: "r",
    Claim.REBUILT_WITHOUT: "b",
    Claim.RETRAINED_WITHOUT: "t",
    Claim.DISABLED: "x",
    Claim.RESTRICTED: "q",
    Claim.ANONYMISED_WITH_PROOF: "a",
    Claim.BEYOND_USE: "u",
    Claim.DEFERRED: "p",
    Claim.EXEMPT: "e",
    Claim.HELD: "h",
    Claim.NOT_FOUND: "n",
    Claim.NOTIFIED: "o",
    Claim.INSTRUCTED_ONLY: "i",
    Claim.IMPOSSIBLE: "m",
    Claim.FAILED: "f",
}
"""One letter for each claim: a chunk's answers are a string with the letter of each target at its ordinal."""

CLAIMS: dict[str, str] = {letter: claim for claim, letter in LETTERS.items()}
_OPEN_LETTERS = frozenset(LETTERS[claim] for claim in UNDONE)
_DEFERRED_LETTERS = frozenset(LETTERS[claim] for claim in DEFERRALS)


class Tally(NamedTuple):
    """What is counted of a case: one obligation each. `holding` is `holding`, or `returned` for what came back."""

    system: str
    kind: str
    holding: str
    action: str
    claim: str
    reason: str
    until: str
    provision: str = ""


class Note(Value):
    """What was said with the claims of some targets, named by their ordinals; never by their ids."""

    reason: str = ""
    until: str = ""
    ordinals: tuple[int, ...]


class ChunkState(Value):
    """How far one chunk has come."""

    summary: ChunkSummary
    generation: int
    command_id: Hex
    answers: str
    notes: tuple[Note, ...] = ()
    attempt: int = 0
    """Of the last command sent; 0 before the first."""
    receipt: tuple[int, int] = (0, 0)
    """(attempt, sequence) of the receipt that stands."""
    receipt_content: str = ""
    exhausted: bool = False
    """All repetitions are used up; work goes on once a day."""
    next_at: datetime | None = None
    """When to act again: a repetition, or the end of a deferral."""

    @property
    def commandable(self) -> bool:
        """Whether a command can be sent for it."""
        return not self.summary.reason

    @property
    def waits(self) -> bool:
        """Whether it is its stage's turn to send its command, or to put it off."""
        return self.commandable and not self.attempt and self.next_at is None

    @property
    def open(self) -> int:
        """Targets without an answer that counts."""
        return sum(self.answers.count(letter) for letter in _OPEN_LETTERS)

    @property
    def deferred(self) -> int:
        """Targets whose answer ends one day."""
        return sum(self.answers.count(letter) for letter in _DEFERRED_LETTERS)

    @property
    def settled(self) -> bool:
        """Whether the stage need not wait for it: answered, not commandable, or failed for good."""
        silent = "." in self.answers
        return not self.commandable or not self.open or (self.exhausted and not silent)

    @property
    def finished(self) -> bool:
        """Whether nothing more can be expected of it now: as `settled`, or silent with all repetitions used up."""
        return self.settled or self.exhausted

    def tally(self) -> Counter[Tally]:
        """The chunk's part of the case's counts."""
        noted = {ordinal: note for note in self.notes for ordinal in note.ordinals}
        plain = Note(reason=self.summary.reason, ordinals=())
        said = Counter((letter, noted.get(ordinal, plain)) for ordinal, letter in enumerate(self.answers))
        counts: Counter[Tally] = Counter()
        for (letter, note), number in said.items():
            counts[self._line(CLAIMS[letter], note.reason, note.until)] += number
        return counts

    def _line(self, claim: str, reason: str, until: str) -> Tally:
        summary = self.summary
        holding = "holding" if summary.holding else "returned" if summary.returned else ""
        return Tally(summary.system, summary.kind, holding, summary.action, claim, reason, until, summary.provision)


MAX_HELD = 4_000


class Held(Value):
    """A late asset that waits for the next generation."""

    key: Hex
    arrival: int
    holding: bool = False
    returned: int = 0


class Generation(Value):
    """One plan of a case: its walk, and how far its purge has come. What is found later is the next generation."""

    number: int
    policy: Hex
    """Pinned: everything in this generation is planned and carried out under it (PROTOCOLS 31)."""
    announced: frozenset[str] = frozenset()
    answered: frozenset[str] = frozenset()
    pending: dict[str, int] = {}
    """Containers to be made anew, and when they came back (milliseconds since 1970; 0: they were never gone). They are
    planned when the walk has ended, so that all they must leave out is known."""
    settles_at: datetime | None = None
    """Until when it collects what is late; the first generation waits for nothing."""
    fixed: bool = False
    fixed_at: datetime | None = None
    plan_digest: str = ""
    sizes: dict[int, int] = {}
    """Stage -> chunks that can be commanded."""
    sent: dict[int, int] = {}
    unsettled: dict[int, int] = {}
    chunks: int = 0
    obligations: int = 0
    dues: dict[int, datetime] = {}
    """Stage -> the earliest due date of what is in it, where an order sets one."""
    by_kind: dict[str, int] = {}
    """Kind -> obligations."""
    approvals: int = 0
    """Distinct operators who must approve the plan; 0: it need not wait."""
    approved_by: tuple[str, ...] = ()
    rejected: bool = False
    guard: tuple[str, ...] = ()
    """The thresholds that it lies above."""
    stage: int = 0
    """The stage under way; 0 before the first."""
    stage_ends_at: datetime | None = None
    done: bool = False
    """Every stage has ended."""

    @field_serializer("announced", "answered")
    def _sorted(self, ids: frozenset[str]) -> list[str]:
        """The same state is the same bytes in every process."""
        return sorted(ids)

    @property
    def awaiting(self) -> bool:
        """Whether it waits for operators."""
        return len(self.approved_by) < self.approvals and not self.rejected

    @property
    def free(self) -> bool:
        """Whether it may be carried out, as far as it is concerned itself."""
        return self.fixed and not self.awaiting and not self.rejected

    @property
    def walked(self) -> bool:
        """Whether every announced task has answered (an answer may precede its announcement)."""
        return bool(self.announced) and self.announced == self.answered


class Deadline(Value):
    """The deadline of a provision of an order."""

    provision: str
    due_at: datetime
    ended: bool = False


class Case(Value):
    """Expunge's record of carrying a request out. Its size does not grow with the number of assets."""

    case_id: Hex
    request_id: str
    source: str
    publisher: str
    scope: ScopeKind
    regime: Regime
    received_at: datetime
    clamped: bool
    clock: str
    due_at: datetime
    warn_at: datetime
    extended_warn_at: datetime | None = None
    extendable_to: datetime | None
    """Until when an operator may put the due date off; None where the law knows no extension."""
    deadlines: tuple[Deadline, ...] = ()
    opened_at: datetime
    dry_run: bool
    correlation_id: str | None
    batch: str | None
    content: Hex
    now: datetime
    sequence: int = 0
    status: Status = Status.RECEIVED
    until: int = 0
    """See `Scope.until`."""
    granted: tuple[Granted, ...] = ()
    """Revoked purposes that were granted again since."""
    held: tuple[Held, ...] = ()
    """Late assets that wait for the next generation, at most MAX_HELD."""
    watermark: dict[str, dict[str, int]] = {}
    """What the indexers must still apply before the case may close; empty when they have."""
    walk_retry_at: datetime | None = None
    walk_waits: int = 0
    generations: tuple[Generation, ...] = ()
    counts: tuple[tuple[Tally, int], ...] = ()
    unfinished: int = 0
    """Commandable chunks from which something may still come."""
    controls: tuple[Hex, ...] = ()
    """Operators' words that were taken: said again they are the same."""
    warned: bool = False
    extended: bool = False
    overdue: bool = False

    @property
    def open_generation(self) -> Generation | None:
        """The generation that still collects chunks; at most one does."""
        last = self.generations[-1] if self.generations else None
        return last if last and not last.fixed else None

    @property
    def generation(self) -> Generation:
        """The newest generation."""
        return self.generations[-1]

    @property
    def let_go(self) -> tuple[Generation, ...]:
        """Generations that are carried out: none does while an earlier one waits for operators."""
        first = min((each.number for each in self.generations if each.awaiting), default=len(self.generations) + 1)
        return tuple(each for each in self.generations if each.free and each.number < first)

    def due_of(self, provision: str) -> datetime:
        """The due date of what falls under a provision of the order; the case's, where none is named."""
        return next((each.due_at for each in self.deadlines if each.provision == provision), self.due_at)

    def open_under(self, provision: str) -> int:
        """Open obligations that fall under a provision of the order."""
        return sum(number for line, number in self.counts if line.provision == provision and line.claim in UNDONE)

    def numbered(self, number: int) -> Generation:
        """A generation by its number."""
        return next(generation for generation in self.generations if generation.number == number)

    @property
    def policy(self) -> str:
        """The policy of the newest generation."""
        return self.generations[-1].policy if self.generations else ""

    def count(self, claims: frozenset[str]) -> int:
        """Obligations whose claim is one of these."""
        return sum(number for line, number in self.counts if line.claim in claims)


class CaseReader(Protocol):
    """The part of the state that is too large to hand over whole, read piece by piece. Reading changes nothing."""

    def chunk(self, case_id: str, digest: str) -> ChunkState | None:
        """The state of one chunk."""

    def chunk_of(self, case_id: str, command: str) -> ChunkState | None:
        """The chunk that a command carries."""

    def body(self, case_id: str, digest: str) -> Chunk:
        """The targets of a chunk.

        Raises:
            Unavailable: the body is not there: the store forgot, and the partition must wait (PROTOCOLS 20).
        """

    def digests(self, case_id: str, generation: int) -> list[str]:
        """All chunks of a generation."""

    def waiting(self, case_id: str, generation: int, stage: int, limit: int) -> list[str]:
        """Chunks of a stage that no command was sent for, in order, at most `limit`."""
