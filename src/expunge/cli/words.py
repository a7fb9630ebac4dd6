"""How a command says an operator's word, and awaits that it is in force."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

import typer

from expunge.adapters.system import StopWaiter, SystemClock
from expunge.bootstrap import Installation
from expunge.cli.common import NO, console, print_json, quiet_console, say_error
from expunge.domain import inlets
from expunge.domain.admission.controls import content_of
from expunge.domain.controls import CONTROLS, KNOWN_FIELDS
from expunge.domain.events import CONTENT_TYPE, MAX_PAYLOAD_BYTES, Event, Outgoing, Position, Record, decode
from expunge.domain.standing import Standing
from expunge.errors import ConfigurationError, InvalidMessage

Operator = Annotated[str, typer.Option(help="The declared name of who says so.")]
Wait = Annotated[float, typer.Option("--wait", help="How many seconds to wait until it is in force; 0: not at all.")]
Heard = Annotated[
    float, typer.Option("--wait", help="How many seconds to wait until the case has heard it; 0: not at all.")
]
LOOK_AGAIN_SECONDS = 0.2
SHORT_SECONDS = 0.02
DIFFER_SECONDS = 300
"""How far the clocks of broker and command may differ."""


class Word:
    """An operator's word that was said, and what came of it."""

    def __init__(self, expunge: Installation, event: Event, key: str) -> None:
        """Publish it; from before that dead letters are read, for one may be about it."""
        value = event.encode()
        self.identity, self.content = event.id, _content(expunge, event, value)
        self._names = {self.content, expunge.keys.content(value)}
        self._reader = expunge.reader(["dead-letters"], event.time - timedelta(seconds=DIFFER_SECONDS))
        expunge.sender.publish([Outgoing("controls", key, event)])

    def refusal(self) -> str:
        """Why it changes nothing; empty while nobody has said that it does not."""
        letters = [json.loads(record.value or b"null") for record in self._reader.poll(SHORT_SECONDS)]
        return next((each["data"]["reason"] for each in letters if each and each["data"]["digest"] in self._names), "")

    def close(self) -> None:
        """Let go of the connection."""
        self._reader.close()


def _content(expunge: Installation, event: Event, value: bytes) -> str:
    """The name under which a case will know a word.

    Raises:
        ConfigurationError: it would be refused.
    """
    record = Record("controls", 0, Position(0, 0), event.time, None, value, CONTENT_TYPE)
    try:
        decoded = decode(record, max_bytes=MAX_PAYLOAD_BYTES)
        said = inlets.read(CONTROLS[event.type][1], decoded, event.time, KNOWN_FIELDS)
        return content_of(expunge.door, said, decoded)
    except InvalidMessage as error:
        raise ConfigurationError(f"that would be refused: {error}") from None


def say_word(expunge: Installation, kind: str, key: str, operator: str, role: str, data: dict[str, Any]) -> Word:
    """Publish an operator's word.

    Raises:
        ConfigurationError: the operator is not declared, or not for this; or unsigned words are not taken here.
    """
    refuse_unless_declared(expunge, operator, role)
    now = SystemClock().now()
    event = Event(kind, f"/operators/{operator}", f"cli-{uuid.uuid4()}", now, data | {"operator": operator})
    return Word(expunge, event, key)


def await_heard(expunge: Installation, word: Word, case_id: str, seconds: float, *, as_json: bool) -> None:
    """Wait until a case, or a group of plans, has taken a word about it, or it is known to change nothing; and say so.

    Raises:
        typer.Exit: it changes nothing, or nobody has heard it yet.
    """
    clock, waiter = SystemClock(), StopWaiter(threading.Event())
    until = clock.seconds() + seconds
    while True:
        refusal, heard = word.refusal(), word.content in _controls_of(expunge, case_id)
        if refusal or heard or clock.seconds() >= until:
            break
        waiter.wait(LOOK_AGAIN_SECONDS)
    word.close()
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
    clock, waiter = SystemClock(), StopWaiter(threading.Event())
    until = clock.seconds() + seconds
    while True:
        found = standing(expunge)
        missing = sum(not heard(each) for each in found)
        cases = sum(each.unsettled.get(word, 0) for each in found)
        in_force, refusal = not missing and all(each.in_force(word) for each in found), said.refusal()
        if in_force or refusal or clock.seconds() >= until:
            break
        waiter.wait(LOOK_AGAIN_SECONDS)
    said.close()
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
