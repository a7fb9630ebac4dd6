"""How a command says an operator's word, and awaits what comes of it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

import typer
from pydantic import ValidationError

from expunge import queries
from expunge.adapters.system import StopWaiter, SystemClock
from expunge.bootstrap import Installation
from expunge.cli.common import NO, NO_SERVER, console, print_json, quiet_console, safe, say_error
from expunge.cli.signing import signed
from expunge.domain.admission.controls import content_of
from expunge.domain.aggregates.standing.state import Standing, name_of_word
from expunge.domain.events import AHEAD_AT_MOST, NOW, Event, Outgoing, Record, decode
from expunge.errors import ConfigurationError, InvalidMessage, Unavailable
from expunge.wire.controls import CONTROLS, AnyControl
from expunge.wire.form import Inlet

if TYPE_CHECKING:
    from expunge.adapters.broker import Reader

Operator = Annotated[str, typer.Option(help="The declared name of who says so.")]
Wait = Annotated[float, typer.Option("--wait", help="How many seconds to wait until it is in force; 0: not at all.")]
Heard = Annotated[
    float, typer.Option("--wait", help="How many seconds to wait until the case has heard it; 0: not at all.")
]
LOOK_AGAIN_SECONDS = 0.2
SKEW = timedelta(seconds=5)
"""By so much this machine's clock may be behind the broker's, where a word is ordered behind the own one."""
REASONS = {
    "no_such_hold": "there is no such hold (`expunge hold list`)",
    "hold_id_reused": "another hold has that id, and an id is used once (`expunge hold list --released`)",
    "undeclared_system": "no such system is declared under [[systems]]",
    "undeclared_publisher": "no such publisher is declared under [[publishers]]",
    "undeclared_operator": "the roles do not know that operator: have they this configuration? (`expunge doctor`)",
    "undeclared_namespace": "the roles do not know that namespace: have they this configuration? (`expunge doctor`)",
    "undeclared_data_source": "no [[data_sources]] pattern fits that data source",
    "bad_identity": "the id is not of its namespace's form",
    "no_such_plan": "the case has no plan of that digest (`expunge case plan`)",
    "plan_does_not_wait": "that plan does not wait for anybody",
    "approved_already": "that operator has approved it before: another one must",
    "extended_already": "its due date was put off before, and the law lets it once",
    "too_late_to_extend": "its first term has ended",
    "no_extension_in_this_regime": "the law of that case knows no extension",
    "unsigned": "the roles believe that operator only with a signature: have they this configuration?",
    "bad_signature": "the roles know that operator by another key: have they this configuration?",
    "stale": "this machine's clock is not the broker's: a signed word says when it was said",
    "case_has_ended": "the case has ended",
    "control_without_case": "there is no such case",
    "nothing_of_that_system": "the case has nothing in that system",
    "no_model_waits": "no such model waits to be made anew for that case",
    "nothing_to_exempt": "nothing is open there that nobody can be told to do",
    "nothing_is_missed": "that system has found all that it had registered",
    "case_is_not_frozen": "the case is not frozen",
    "case_has_not_ended": "something is left to be done or to end in it, or it is being probed (`expunge case show`)",
    "case_is_held": "a hold covers the case (`expunge hold list`)",
    "nothing_to_retry": "nothing is open there",
    "case_is_forgotten": "it is forgotten",
    "nothing_to_probe": "nothing of it is called gone in a system with a prober (probe_key)",
    "case_is_frozen": "the case is frozen: `expunge case thaw` first",
    "asked_already": "it is to be forgotten already (`expunge case show` says when)",
}
"""Why a word changes nothing, for people."""
T = TypeVar("T")


class SaidWord(NamedTuple):
    """An operator's word that was published."""

    event: Event
    name: str
    """What pauses, holds and their ends call it."""
    contents: frozenset[str]
    """What cases and dead letters call it: keyed digests. None where the secret is not at hand."""

    def before(self, moment: datetime) -> bool:
        """Whether what was appended at a moment came behind it, and so stands in its place."""
        return moment >= self.event.time + SKEW


def say_word(expunge: Installation, kind: str, key: str, operator: str, role: str, data: dict[str, Any]) -> SaidWord:
    """Publish an operator's word. It needs Kafka only: a pause must not wait for a secret, a policy, or Redis.

    Raises:
        ConfigurationError: the operator is not declared, or not for this; unsigned words are not taken here; or what is
            said would be refused.
    """
    refuse_unless_declared(expunge, operator, role)
    now = SystemClock().now()
    event = Event(kind, f"/operators/{operator}", f"cli-{uuid.uuid4()}", now, data | {"operator": operator})
    said = _checked(CONTROLS[kind][1], event)
    message = signed(expunge, expunge.settings.registry().operator(operator), event)
    expunge.sender.publish([Outgoing("controls", key, message)])
    return SaidWord(event, name_of_word(event.id), _contents(expunge, said, event, message))


def _checked(model: type[AnyControl], event: Event) -> AnyControl:
    """What is said, as the door will read it."""
    try:
        return model.model_validate(event.data, context={NOW: event.time})
    except ValidationError as error:
        (first, *_) = error.errors(include_url=False, include_input=False, include_context=False)
        where = ".".join(str(part) for part in first["loc"])
        why = first["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"that would be refused: {where + ': ' if where else ''}{why}") from None


def _contents(expunge: Installation, said: Inlet, event: Event, message: Event) -> frozenset[str]:
    try:
        keys = expunge.keys
    except ConfigurationError as error:
        quiet_console.print(f"said; whether it is refused cannot be seen from here: {safe(error)}", style="yellow")
        return frozenset()
    return frozenset({content_of(keys, said, event.type, event.id), keys.content(message.encode())})


def refuse_unless_declared(expunge: Installation, operator: str, role: str) -> None:
    """Refuse at once what the door would refuse later.

    Raises:
        ConfigurationError: the operator is not declared, or not for this; or unsigned words are not taken here.
    """
    declared = expunge.settings.registry().operator(operator)
    if declared is None or role not in declared.roles:
        known = ", ".join(each.name for each in expunge.settings.operators if role in each.roles) or "nobody"
        raise ConfigurationError(f"operator {operator} is not declared with role {role} in [[operators]]: {known} is")
    if not declared.key and not expunge.settings.allow_unsigned:
        raise ConfigurationError(
            f"operator {operator} is declared without a key, so nobody would believe them: run `expunge keys create "
            f"{operator}` and put the line that it prints into their [[operators]], wherever Expunge runs"
        )


def _watched(
    expunge: Installation, word: SaidWord, look: Callable[[], T], settled: Callable[[T], bool], seconds: float
) -> tuple[T, str]:
    """Look until it is settled, the word is known to change nothing, or the time is over.

    What refuses a word says so on `dead-letters` before it keeps any state: whoever looks at the state first, and at
    those then, does not take a refused word for one that was taken.

    Returns:
        What was seen last, and why the word changes nothing; empty while nobody has said so.

    Raises:
        typer.Exit: a server is away, so that nobody knows.
    """
    clock, waiter = SystemClock(), StopWaiter(threading.Event())
    until = clock.seconds() + seconds
    try:
        letters = expunge.reader(["dead-letters"], word.event.time - AHEAD_AT_MOST)
        try:
            while True:
                seen = look()
                refusal = _refusal(word, letters)
                if refusal or settled(seen) or clock.seconds() >= until:
                    return seen, refusal
                waiter.wait(LOOK_AGAIN_SECONDS)
        finally:
            letters.close()
    except Unavailable as error:
        say_error(f"it was said, and what comes of it cannot be seen: {error}")
        raise typer.Exit(NO_SERVER) from None


def _refusal(word: SaidWord, letters: Reader) -> str:
    return next((why for record in letters.to_the_end() if (why := _reason_in(record, word.contents))), "")


def _reason_in(record: Record, contents: frozenset[str]) -> str:
    """Why a dead letter says that one of these was set aside; empty where it is about something else."""
    try:
        data = decode(record).data
    except InvalidMessage:
        return ""
    if not isinstance(data, dict) or str(data.get("digest")) not in contents:
        return ""
    return str(data.get("reason") or "set_aside")


def await_heard(
    expunge: Installation,
    word: SaidWord,
    case_id: str,
    seconds: float,
    *,
    as_json: bool,
    passed_on: Callable[[], bool] = lambda: True,
) -> None:
    """Wait until a case, or a group of plans, has taken a word about it, or it is known to change nothing; and say so.

    Args:
        expunge: the installation.
        word: what was said.
        case_id: the case or group.
        seconds: how long at most; 0: not at all.
        as_json: one document instead of a sentence.
        passed_on: whether whoever the case passes the word on to has heard it, too.

    Raises:
        typer.Exit: it changes nothing, or nobody has heard it yet.
    """

    def taken() -> bool:
        return not word.contents.isdisjoint(_controls_of(expunge, case_id)) and passed_on()

    heard, refusal = _watched(expunge, word, taken, bool, seconds if word.contents else 0)
    frozen = not heard and queries.frozen(expunge, case_id) is not None
    unseen = not (heard or refusal or word.contents)
    if as_json:
        state = {"heard": heard, "refused": refusal or None, "frozen": frozen}
        print_json({"control_id": word.event.id, "case_id": case_id} | state)
    elif refusal:
        say_error(f"it was said and changes nothing: {_why(refusal)} ({case_id})")
    elif heard:
        console.print(f"heard; `expunge case show {case_id}` shows what came of it", soft_wrap=True)
    elif unseen:
        say_error("it was said; whether the case has heard it cannot be seen without the secret")
    elif frozen:
        say_error(f"it was said, and waits: the case is frozen (`expunge case show {case_id}`)")
    elif seconds:
        say_error("it was said, and the case has not heard it yet: `expunge doctor` says what does not run")
    else:
        console.print(f"said; `expunge case show {case_id}` shows what came of it", soft_wrap=True)
    if refusal or (seconds and not heard):
        raise typer.Exit(NO)


def _why(reason: str) -> str:
    """A reason for people, with its name, by which docs and dead letters know it."""
    return f"{REASONS[reason]} [{reason}]" if reason in REASONS else reason


def _controls_of(expunge: Installation, case_id: str) -> tuple[str, ...]:
    """The words that a case, or a group of plans, has taken."""
    about = queries.case(expunge, case_id) or queries.rate(expunge, case_id)
    return about.controls if about else ()


def standing(expunge: Installation) -> list[Standing]:
    """What stands in each partition of `cases`."""
    return [expunge.cases.reader(partition).standing for partition in range(expunge.settings.kafka.partitions)]


ENDS = ("expunge.emission.resumed.v1", "expunge.hold.released.v1")
"""Words that end what another began."""


def _effect(kind: str) -> str:
    return "what it alone kept back goes out now" if kind in ENDS else "no system may act against it any more"


def await_word(
    expunge: Installation,
    said: SaidWord,
    name: str,
    heard: Callable[[Standing], bool],
    seconds: float,
    *,
    as_json: bool,
    in_vain: str = "",
) -> None:
    """Wait until every partition has heard a word and no system may act against it, and say so.

    Args:
        expunge: the installation.
        said: the word.
        name: its name among what stands.
        heard: whether a partition's standing has it.
        seconds: how long at most; 0: not at all.
        as_json: one document instead of a sentence.
        in_vain: why it may have changed nothing, as far as was known before it was said; empty where it does.

    Raises:
        typer.Exit: it is not in force yet, or changes nothing.
    """

    def in_force_in(found: list[Standing]) -> bool:
        return all(heard(each) and each.in_force(name) for each in found)

    found, refusal = _watched(expunge, said, lambda: standing(expunge), in_force_in, seconds)
    in_force = in_force_in(found) and not refusal
    missing = sum(not heard(each) for each in found)
    cases = sum(each.unsettled.get(name, 0) for each in found)
    if as_json:
        state = {"in_force": in_force, "partitions_missing": missing, "cases_unsettled": cases}
        print_json({"word": name, **state, "refused": refusal or None, "in_vain": in_vain or None})
    elif refusal:
        say_error(f"it was said and changes nothing: {_why(refusal)}")
    elif in_vain and (in_force or not seconds):
        say_error(f"it was said; {in_vain}")
    elif in_force:
        console.print(f"in force: every process has heard it, and {_effect(said.event.type)}", style="green")
    else:
        quiet_console.print(
            f"said, and not in force yet: {missing} partitions have not heard it, and systems hold commands of "
            f"{cases} cases that they have not let go of",
            style="yellow",
        )
    if refusal or in_vain or (seconds and not in_force):
        raise typer.Exit(NO)
