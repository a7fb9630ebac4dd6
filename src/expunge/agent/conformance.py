"""Plays Expunge against a running agent, in whatever language it is written, and says what it got right.

It talks to the agent over Kafka alone, under a prefix of its own, so that no case hears of it. What it asks the agent
to delete is really deleted: it must be given assets that nobody needs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from pydantic import ValidationError

from expunge.domain.events import CloudEvent, Event, Outgoing, decode, stamp
from expunge.domain.events import Record as Message
from expunge.domain.signatures import SIGNED
from expunge.domain.vocabulary import ANSWERS, Action, Claim
from expunge.errors import InvalidMessage
from expunge.runtime.outage import Ticks
from expunge.wire.commands import COMMANDED, WITHDRAWN
from expunge.wire.receipts import Answer, Outcome, PurgeReceipted

MANY = 500
"""Targets of the large command."""
MAX_RECEIPT_BYTES = 900_000
"""What Expunge takes as one receipt."""


class Talk(Protocol):
    """The way to the agent and back."""

    def say(self, outgoing: Outgoing) -> None:
        """Put a message on the topic of commands."""

    def hear(self, seconds: float) -> Sequence[Message]:
        """Receipts that came, waiting up to `seconds`."""


class Wrong(Exception):
    """What the agent did that it must not, or did not do; the text is for its author."""


@dataclass(frozen=True, slots=True)
class Finding:
    """How one play went."""

    play: str
    right: bool
    seen: str


@dataclass(frozen=True, slots=True)
class Holding:
    """What a system is asked by that finds people itself, and how they are named to it."""

    asset: str
    namespace: str
    seal: Callable[[bytes], str]
    """To the system's key."""


@dataclass
class Stage:
    """What plays need: the agent, what it may be asked to delete, and what it has answered."""

    system: str
    talk: Talk
    clock: Ticks
    now: Callable[[], Any]
    kind: str
    assets: list[str]
    """That are there, and that nobody needs; each play takes its own."""
    patience: float
    prefix: str = ""
    """What asset ids of the system begin with."""
    holding: Holding | None = None
    """A system that finds people's rows itself: its "assets" are people, by their ids."""
    case_id: str = field(default_factory=lambda: secrets.token_hex(16))
    heard: dict[str, list[PurgeReceipted]] = field(default_factory=dict)
    events: dict[str, str] = field(default_factory=dict)

    def asset(self) -> str:
        """One more asset that is there.

        Raises:
            Wrong: there is none left.
        """
        if not self.assets:
            raise Wrong("no asset is left for this play: name one more with --asset")
        return self.assets.pop(0)

    def absent(self) -> str:
        """The id of an asset that was never there."""
        return f"{self.prefix}expunge-check-{secrets.token_hex(8)}"

    def command(self, *assets: str, attempt: int = 1, command_id: str = "", **fields: Any) -> str:
        """Send a command; its id."""
        identity = command_id or secrets.token_hex(16)
        now = self.now()
        data: dict[str, Any] = {
            "command_id": identity,
            "case_id": self.case_id,
            "system": self.system,
            "action": Action.DELETE.value,
            "stage": 0,
            "generation": 1,
            "attempt": attempt,
            "due_at": stamp(now + timedelta(days=30)),
            "regime": "gdpr",
            "minimum_grade": "E0",
            "targets": [self.target(asset) for asset in assets],
            "people": [self._person(asset) for asset in assets] if self.holding else [],
        }
        self._send(COMMANDED, identity, data | fields, f"{identity}-{attempt}")
        return identity

    def name(self, asset: str) -> str:
        """What an answer about it names."""
        return self.holding.asset if self.holding else asset

    def target(self, asset: str, **more: Any) -> dict[str, Any]:
        """An asset as a command names it: of a holding, one person."""
        people = {"subjects": [{"pseudonym": _pseudonym(asset)}]} if self.holding else {}
        return {"asset": self.name(asset), "kind": self.kind} | people | more

    def _person(self, who: str) -> dict[str, str]:
        if self.holding is None:
            return {}
        said = {"namespace": self.holding.namespace, "id": who, "given": who, "tenant": "default"}
        return {"pseudonym": _pseudonym(who), "sealed": self.holding.seal(json.dumps(said).encode())}

    def withdraw(self, command_id: str, attempt: int = 1) -> None:
        """Take a command back."""
        data = {"command_id": command_id, "case_id": self.case_id, "system": self.system, "attempt": attempt}
        self._send(WITHDRAWN, command_id, data | {"reason": "cancel"}, f"{command_id}-withdrawn")

    def raw(self, value: bytes) -> None:
        """Send what is no command."""
        self.talk.say(Outgoing(f"commands.{self.system}", "k", _Raw("", "", "", self.now(), {}, value)))

    def _send(self, kind: str, key: str, data: dict[str, Any], identity: str) -> None:
        event = Event(kind, "/expunge/coordinator", identity, self.now(), data)
        self.talk.say(Outgoing(f"commands.{self.system}", key, event))

    def await_receipts(self, command_id: str, enough: Callable[[list[PurgeReceipted]], bool]) -> list[PurgeReceipted]:
        """The receipts of a command, when there are enough.

        Raises:
            Wrong: there are not, in the time that an agent has; or something is no receipt.
        """
        until = self.clock.seconds() + self.patience
        while not enough(self.heard.get(command_id, [])):
            if self.clock.seconds() >= until:
                number = len(self.heard.get(command_id, []))
                raise Wrong(f"no full answer within {self.patience:g} s ({number} receipts)")
            for record in self.talk.hear(0.2):
                self._take(record)
        return self.heard[command_id]

    def _take(self, record: Message) -> None:
        event, said = _receipt(record)
        if said.system != self.system:
            raise Wrong(f"a receipt names the system {said.system!r}, which is not the agent's")
        place = f"{said.command_id} {said.attempt} {said.sequence}"
        before = self.events.setdefault(place, event.id)
        if before != event.id:
            raise Wrong("two receipts bear the same command_id, attempt and sequence")
        if said.case_id != self.case_id:
            raise Wrong("a receipt names another case_id than its command")
        self.heard.setdefault(said.command_id, []).append(said)

    def answers(self, command_id: str, *assets: str, attempt: int = 1) -> dict[str, Outcome]:
        """What was claimed of each of these assets, in receipts of this attempt."""
        names = [self.name(asset) for asset in assets]

        def told(receipts: list[PurgeReceipted]) -> bool:
            return set(names) <= _claims(receipts, names, attempt).keys()

        found = _claims(self.await_receipts(command_id, told), names, attempt)
        return {asset: found[self.name(asset)] for asset in assets}


def _pseudonym(who: str) -> str:
    return hashlib.blake2b(who.encode(), digest_size=16).hexdigest()


@dataclass(slots=True)
class _Raw(Event):
    """Bytes that are no event."""

    raw: bytes

    def encode(self) -> bytes:
        """The bytes."""
        return self.raw


def _receipt(record: Message) -> tuple[CloudEvent, PurgeReceipted]:
    raw = record.value or b""
    if len(raw) > MAX_RECEIPT_BYTES:
        raise Wrong(f"a receipt of {len(raw):,} bytes: Expunge takes {MAX_RECEIPT_BYTES:,}; cut it")
    try:
        event = _plain(decode(record))
        return event, PurgeReceipted.model_validate(event.data)
    except InvalidMessage as error:
        raise Wrong(f"something that is no CloudEvent: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Wrong(f"a receipt that Expunge refuses: data.{where}: {first['msg']}") from None


def _plain(event: CloudEvent) -> CloudEvent:
    """What is in an envelope; whether the key is the declared one, the door sees."""
    if not event.type.endswith(SIGNED):
        return event
    try:
        return CloudEvent.model_validate_json(base64.b64decode(event.data["payload"]))
    except (KeyError, TypeError, ValueError):
        raise Wrong("a signed receipt whose envelope holds no event") from None


def _claims(receipts: Sequence[PurgeReceipted], assets: Sequence[str], attempt: int) -> dict[str, Outcome]:
    """By asset, the latest claim."""
    found: dict[str, Outcome] = {}
    for said in sorted(receipts, key=lambda each: (each.attempt, each.sequence)):
        if said.attempt < attempt or said.status == "accepted":
            continue
        whole: list[Answer | Outcome] = [*said.results, *said.exceptions]
        found |= dict.fromkeys(assets, said.all) if said.all else {}
        if said.status == "failed" and not said.all:
            found |= dict.fromkeys(assets, Outcome(claim=Claim.FAILED))
        found |= {each.asset: each for each in whole if isinstance(each, Answer)}
    return found


Play = Callable[[Stage], str]


def there(stage: Stage) -> str:
    """An asset that is there is deleted."""
    asset = stage.asset()
    claim = stage.answers(stage.command(asset), asset)[asset].claim
    _expect(claim, Claim.DELETED, Claim.KEY_DESTROYED)
    return str(claim)


def absent(stage: Stage) -> str:
    """An asset that is not there was not deleted."""
    asset = stage.absent()
    outcome = stage.answers(stage.command(asset), asset)[asset]
    if outcome.claim in (Claim.DELETED, Claim.KEY_DESTROYED) and outcome.matched != 0:
        raise Wrong(f"{outcome.claim} of something that was never there: say not_found")
    _expect(outcome.claim, Claim.NOT_FOUND, Claim.DELETED, Claim.KEY_DESTROYED)
    return str(outcome.claim)


def repeated(stage: Stage) -> str:
    """A repetition gets the same answer."""
    asset = stage.asset()
    command = stage.command(asset)
    first = stage.answers(command, asset)[asset].claim
    stage.command(asset, attempt=2, command_id=command)
    again = stage.answers(command, asset, attempt=2)[asset].claim
    if again is not first:
        raise Wrong(f"first {first}, then {again}: remember the answer to a command_id")
    return f"{first}, twice"


def anew(stage: Stage) -> str:
    """Another command for the same asset is looked at again."""
    asset = stage.asset()
    stage.answers(stage.command(asset), asset)
    claim = stage.answers(stage.command(asset), asset)[asset].claim
    _expect(claim, Claim.DELETED, Claim.NOT_FOUND, Claim.KEY_DESTROYED)
    return str(claim)


def withdrawn_before(stage: Stage) -> str:
    """What was withdrawn before it came is never carried out."""
    asset, command = stage.asset(), secrets.token_hex(16)
    stage.withdraw(command)
    stage.await_receipts(command, _let_go)
    stage.command(asset, command_id=command)
    probe = stage.absent()
    stage.answers(stage.command(probe), probe)  # by now the command before it was read
    done = _claims(stage.heard[command], [stage.name(asset)], 1).get(stage.name(asset))
    if done is not None and done.claim in (Claim.DELETED, Claim.KEY_DESTROYED):
        raise Wrong("it was carried out: remember a withdrawn command_id for good")
    claim = stage.answers(stage.command(asset), asset)[asset].claim
    if claim is Claim.NOT_FOUND:
        raise Wrong("the asset is gone: the command was carried out without a word")
    return "still there"


def withdrawn_after(stage: Stage) -> str:
    """A withdrawal says what was done by then."""
    asset = stage.asset()
    command = stage.command(asset)
    claim = stage.answers(command, asset)[asset].claim
    stage.withdraw(command)
    (last,) = [each for each in stage.await_receipts(command, _let_go) if each.status == "withdrawn"][-1:]
    said = {each.asset: each.claim for each in last.results}
    if said.get(stage.name(asset)) is not claim:
        raise Wrong(f"it had said {claim}, and the answer to the withdrawal does not")
    return f"withdrawn, {claim} before"


def unknown_fields(stage: Stage) -> str:
    """Fields of a later version are passed over."""
    asset = stage.absent()
    targets = [stage.target(asset, colour="red")]
    claim = stage.answers(stage.command(asset, mood="good", targets=targets), asset)[asset].claim
    _expect(claim, Claim.NOT_FOUND, Claim.DELETED)
    return str(claim)


def unknown_kind(stage: Stage) -> str:
    """A kind of a later version costs its target alone."""
    strange, other = stage.absent(), stage.absent()
    if stage.holding:
        return "a holding has one kind"
    targets = [stage.target(strange, kind="hologram"), stage.target(other)]
    claims = stage.answers(stage.command(strange, other, targets=targets), strange, other)
    _expect(claims[strange].claim, Claim.FAILED, Claim.NOT_FOUND)
    if claims[other].claim is Claim.FAILED:
        raise Wrong("the target beside it failed, too")
    return f"{claims[strange].claim}, {claims[other].claim} beside it"


def unknown_action(stage: Stage) -> str:
    """An action of a later version is refused, and not guessed."""
    asset = stage.absent()
    claim = stage.answers(stage.command(asset, action="evaporate"), asset)[asset].claim
    _expect(claim, Claim.FAILED)
    return str(claim)


def twice_one_asset(stage: Stage) -> str:
    """Two targets may be one asset."""
    asset = stage.absent()
    other = [stage.absent()] if stage.holding else []  # two people of one holding
    another = stage.target(other[0]) if other else stage.target(asset, subjects=[{"pseudonym": _pseudonym("another")}])
    targets = [stage.target(asset), another]
    return str(stage.answers(stage.command(asset, *other, targets=targets), asset)[asset].claim)


def refused(stage: Stage) -> str:
    """An answer that did not count is given anew."""
    asset = stage.absent()
    command = stage.command(asset)
    stage.answers(command, asset)
    targets = [stage.target(asset, refused="fewer_affected_than_matched")]
    stage.command(asset, attempt=2, command_id=command, targets=targets)
    return str(stage.answers(command, asset, attempt=2)[asset].claim)


def rubbish(stage: Stage) -> str:
    """What is no command stops nothing."""
    for value in (b"", b"{", b"[]", b'{"specversion": "1.0"}', b"\xff\xfe"):
        stage.raw(value)
    asset = stage.absent()
    return str(stage.answers(stage.command(asset), asset)[asset].claim)


def large(stage: Stage) -> str:
    """A large command is answered in full."""
    assets = [stage.absent() for _ in range(MANY)]
    found = stage.answers(stage.command(*assets), *assets)
    return f"{len(found)} targets"


PLAYS: tuple[Play, ...] = (
    there,
    absent,
    repeated,
    anew,
    withdrawn_before,
    withdrawn_after,
    unknown_fields,
    unknown_kind,
    unknown_action,
    twice_one_asset,
    refused,
    rubbish,
    large,
)
NEEDED = 5
"""Assets that are there, which the plays use up."""


def crashed(stage: Stage, ask: Callable[[str], None]) -> str:
    """What was under way when the agent was killed is answered."""
    assets = [*(stage.absent() for _ in range(MANY)), *stage.assets[:1]]
    command = stage.command(*assets)
    ask("kill the agent now (kill -9), and start it again")
    found = stage.answers(command, *assets)
    return f"{len(found)} targets"


def run(stage: Stage, ask: Callable[[str], None] | None = None) -> Iterator[Finding]:
    """Play everything; one finding for each, as it ends.

    Args:
        stage: see there.
        ask: asks a person to do something and waits until it is done; None: nobody is there.
    """
    plays: list[Play] = [*PLAYS]
    if ask is not None:
        plays.append(_named(lambda stage: crashed(stage, ask), crashed.__doc__))
    for play in plays:
        yield _played(play, stage)


def _named(play: Play, text: str | None) -> Play:
    play.__doc__ = text
    return play


def _played(play: Play, stage: Stage) -> Finding:
    title = str(play.__doc__).rstrip(".")
    try:
        return Finding(title, right=True, seen=play(stage))
    except Wrong as wrong:
        return Finding(title, right=False, seen=str(wrong))


def _expect(claim: Claim, *right: Claim) -> None:
    if claim not in right:
        wanted = " or ".join(dict.fromkeys(right))
        why = "" if claim in ANSWERS[Action.DELETE] else ", which does not answer a deletion"
        raise Wrong(f"{claim}{why}; expected {wanted}")


def _let_go(receipts: list[PurgeReceipted]) -> bool:
    return any(each.status == "withdrawn" for each in receipts)
