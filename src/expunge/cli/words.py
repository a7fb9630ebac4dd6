"""How a command says an operator's word, and awaits that it is in force."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from expunge.adapters.system import StopWaiter, SystemClock
from expunge.bootstrap import Installation
from expunge.cli.common import NO, console, print_json, quiet_console, say_error
from expunge.domain import inlets
from expunge.domain.admission.controls import content_of
from expunge.domain.controls import CONTROLS, KNOWN_FIELDS
from expunge.domain.events import AHEAD_AT_MOST, Event, Outgoing
from expunge.domain.standing import Standing
from expunge.errors import ConfigurationError, InvalidMessage

Operator = Annotated[str, typer.Option(help="The declared name of who says so.")]
Wait = Annotated[float, typer.Option("--wait", help="How many seconds to wait until it is in force; 0: not at all.")]
Heard = Annotated[
    float, typer.Option("--wait", help="How many seconds to wait until the case has heard it; 0: not at all.")
]
LOOK_AGAIN_SECONDS = 0.2
SHORT_SECONDS = 0.02
T = TypeVar("T")


class Word:
    """An operator's word, and what is said about it; dead letters are read from before it is published."""

    def __init__(self, expunge: Installation, event: Event, content: str) -> None:
        self.identity, self.content = event.id, content
        self._names = {content, expunge.keys.content(event.encode())}
        self._reader = expunge.reader(["dead-letters"], event.time - AHEAD_AT_MOST)

    def refusal(self) -> str:
        """Why it changes nothing; empty while nobody has said that it does not."""
        letters = [json.loads(record.value or b"null") for record in self._reader.poll(SHORT_SECONDS)]
        return next((each["data"]["reason"] for each in letters if each and each["data"]["digest"] in self._names), "")

    def watched(self, look: Callable[[], T], settled: Callable[[T], bool], seconds: float) -> tuple[T, str]:
        """Look until it is settled, the word is known to change nothing, or the time is over.

        Returns:
            What was seen last, and why the word changes nothing.
        """
        clock, waiter = SystemClock(), StopWaiter(threading.Event())
        until = clock.seconds() + seconds
        while True:
            refusal, seen = self.refusal(), look()
            if refusal or settled(seen) or clock.seconds() >= until:
                self._reader.close()
                return seen, refusal
            waiter.wait(LOOK_AGAIN_SECONDS)


def say_word(expunge: Installation, kind: str, key: str, operator: str, role: str, data: dict[str, Any]) -> str:
    """Publish an operator's word; the id of its event.

    Raises:
        ConfigurationError: see `_word`.
    """
    event, _ = _word(expunge, kind, operator, role, data)
    expunge.sender.publish([Outgoing("controls", key, event)])
    return event.id


def say_and_watch(expunge: Installation, kind: str, key: str, operator: str, role: str, data: dict[str, Any]) -> Word:
    """The same, for whoever awaits what comes of it.

    Raises:
        ConfigurationError: see `_word`.
    """
    event, content = _word(expunge, kind, operator, role, data)
    word = Word(expunge, event, content)
    expunge.sender.publish([Outgoing("controls", key, event)])
    return word


def _word(expunge: Installation, kind: str, operator: str, role: str, data: dict[str, Any]) -> tuple[Event, str]:
    """An operator's word, and the name under which cases know it.

    Raises:
        ConfigurationError: the operator is not declared, or not for this; unsigned words are not taken here; or what is
            said would be refused.
    """
    refuse_unless_declared(expunge, operator, role)
    now = SystemClock().now()
    event = Event(kind, f"/operators/{operator}", f"cli-{uuid.uuid4()}", now, data | {"operator": operator})
    try:
        said = inlets.check(CONTROLS[kind][1], event.data, KNOWN_FIELDS, now)
        return event, content_of(expunge.door, said, kind, event.id)
    except InvalidMessage as error:
        raise ConfigurationError(f"that would be refused: {error}") from None


def await_heard(expunge: Installation, word: Word, case_id: str, seconds: float, *, as_json: bool) -> None:
    """Wait until a case, or a group of plans, has taken a word about it, or it is known to change nothing; and say so.

    Raises:
        typer.Exit: it changes nothing, or nobody has heard it yet.
    """
    heard, refusal = word.watched(lambda: word.content in _controls_of(expunge, case_id), bool, seconds)
    if as_json:
        print_json({"control_id": word.identity, "case_id": case_id, "heard": heard, "refused": refusal or None})
    elif heard:
        console.print(f"heard; `expunge case plan {case_id}` shows what came of it", soft_wrap=True)
    elif refusal:
        say_error(f"it was said and changes nothing: {refusal} (`expunge case show {case_id}`)")
    elif seconds:
        say_error("it was said, and the case has not heard it yet: `expunge doctor` says what does not run")
    else:
        console.print(f"said; `expunge case show {case_id}` shows what came of it", soft_wrap=True)
    if refusal or (seconds and not heard):
        raise typer.Exit(NO)


def _controls_of(expunge: Installation, case_id: str) -> tuple[str, ...]:
    """The words that a case, or a group of plans, has taken."""
    about = expunge.case(case_id) or expunge.rate(case_id)
    return about.controls if about else ()


def refuse_unless_declared(expunge: Installation, operator: str, role: str) -> None:
    """Refuse at once what the door would refuse later.

    Raises:
        ConfigurationError: the operator is not declared, or not for this; or unsigned words are not taken here.
    """
    declared = expunge.settings.registry().operator(operator)
    if declared is None or role not in declared.roles:
        known = ", ".join(each.name for each in expunge.settings.operators if role in each.roles) or "nobody"
        raise ConfigurationError(f"operator {operator} is not declared with role {role} in [[operators]]: {known} is")
    if not expunge.settings.allow_unsigned:
        raise ConfigurationError(
            "operators' words cannot be signed yet: they are taken with allow_unsigned = true only"
        )


def standing(expunge: Installation) -> list[Standing]:
    """What stands in each partition of `cases`."""
    return [expunge.cases.standing(partition) for partition in range(expunge.settings.kafka.partitions)]


def await_word(
    expunge: Installation, said: Word, word: str, heard: Callable[[Standing], bool], seconds: float, *, as_json: bool
) -> None:
    """Wait until every partition has heard a word and no system may act against it, and say so.

    Args:
        expunge: the installation.
        said: the word.
        word: its name among what stands.
        heard: whether a partition's standing has it.
        seconds: how long at most; 0: not at all.
        as_json: one document instead of a sentence.

    Raises:
        typer.Exit: it is not in force yet, or changes nothing.
    """

    def in_force_in(found: list[Standing]) -> bool:
        return all(heard(each) and each.in_force(word) for each in found)

    found, refusal = said.watched(lambda: standing(expunge), in_force_in, seconds)
    in_force = in_force_in(found)
    missing = sum(not heard(each) for each in found)
    cases = sum(each.unsettled.get(word, 0) for each in found)
    if as_json:
        state = {"in_force": in_force, "partitions_missing": missing, "cases_unsettled": cases}
        print_json({"word": word, **state, "refused": refusal or None})
    elif refusal:
        say_error(f"it was said and changes nothing: {refusal}")
    elif in_force:
        console.print("in force: every process has heard it, and no system may act against it any more", style="green")
    else:
        quiet_console.print(
            f"said, and not in force yet: {missing} partitions have not heard it, and systems hold commands of "
            f"{cases} cases that they have not let go of",
            style="yellow",
        )
    if refusal or (seconds and not in_force):
        raise typer.Exit(NO)
