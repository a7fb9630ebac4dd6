"""How a command says an operator's word, and awaits that it is in force."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Annotated, Any

import typer

from expunge.adapters.system import StopWaiter, SystemClock
from expunge.bootstrap import Installation
from expunge.cli.common import NO, console, print_json, quiet_console
from expunge.domain.events import Event, Outgoing
from expunge.domain.standing import Standing
from expunge.errors import ConfigurationError

Operator = Annotated[str, typer.Option(help="The declared name of who says so.")]
Wait = Annotated[float, typer.Option("--wait", help="How many seconds to wait until it is in force; 0: not at all.")]
LOOK_AGAIN_SECONDS = 0.2


def say_word(expunge: Installation, kind: str, key: str, operator: str, role: str, data: dict[str, Any]) -> str:
    """Publish an operator's word; the id of its event.

    Raises:
        ConfigurationError: the operator is not declared, or not for this; or unsigned words are not taken here.
    """
    refuse_unless_declared(expunge, operator, role)
    identity = f"cli-{uuid.uuid4()}"
    event = Event(kind, f"/operators/{operator}", identity, SystemClock().now(), data | {"operator": operator})
    expunge.sender.publish([Outgoing("controls", key, event)])
    return identity


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
    expunge: Installation, word: str, heard: Callable[[Standing], bool], seconds: float, *, as_json: bool
) -> None:
    """Wait until every partition has heard a word and no system may act against it, and say so.

    Args:
        expunge: the installation.
        word: its name.
        heard: whether a partition's standing has it.
        seconds: how long at most; 0: not at all.
        as_json: one document instead of a sentence.

    Raises:
        typer.Exit: it is not in force yet.
    """
    clock, waiter = SystemClock(), StopWaiter(threading.Event())
    until = clock.seconds() + seconds
    while True:
        found = standing(expunge)
        missing = sum(not heard(each) for each in found)
        cases = sum(each.unsettled.get(word, 0) for each in found)
        in_force = not missing and all(each.in_force(word) for each in found)
        if in_force or clock.seconds() >= until:
            break
        waiter.wait(LOOK_AGAIN_SECONDS)
    if as_json:
        print_json({"word": word, "in_force": in_force, "partitions_missing": missing, "cases_unsettled": cases})
    elif in_force:
        console.print("in force: every process has heard it, and no system may act against it any more", style="green")
    else:
        quiet_console.print(
            f"said, and not in force yet: {missing} partitions have not heard it, and systems hold commands of "
            f"{cases} cases that they have not let go of",
            style="yellow",
        )
    if not in_force and seconds:
        raise typer.Exit(NO)
