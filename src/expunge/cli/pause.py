"""`expunge pause|resume`: no command leaves for everything, a system, a publisher or a case."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from expunge.bootstrap import Installation
from expunge.cli.case.found import case_to_name
from expunge.cli.common import Json, installation
from expunge.cli.words import Operator, Wait, await_word, say_word, standing
from expunge.domain.aggregates.standing.state import EVERYTHING, Standing, pause_word
from expunge.errors import ConfigurationError, ExpungeError

System = Annotated[str | None, typer.Option(help="Commands to this system.")]
Publisher = Annotated[str | None, typer.Option(help="Commands of this publisher's requests.")]
Case = Annotated[str | None, typer.Option(help="Commands of this case.")]
All = Annotated[bool, typer.Option("--all", help="Every command.")]


def pause(
    operator: Operator,
    reason: Annotated[str, typer.Option(help="Why; it stands on the topic of controls.")],
    system: System = None,
    publisher: Publisher = None,
    case: Case = None,
    everything: All = False,
    wait: Wait = 60,
    json_output: Json = False,
) -> None:
    """Let no command leave, at once, and withdraw those that are with systems. Receipts are still taken.

    Due dates do not move. Exit status 1: it was said, and some system has not let go yet.
    """
    _say(True, operator, {"reason": reason}, _scope(system, publisher, case, everything), wait, json_output)


def resume(
    operator: Operator,
    system: System = None,
    publisher: Publisher = None,
    case: Case = None,
    everything: All = False,
    reason: Annotated[str | None, typer.Option(help="Why; it stands on the topic of controls.")] = None,
    wait: Wait = 60,
    json_output: Json = False,
) -> None:
    """Let commands leave again; what was withdrawn is commanded anew, under another id."""
    said = {"reason": reason} if reason else {}
    _say(False, operator, said, _scope(system, publisher, case, everything), wait, json_output)


def _scope(system: str | None, publisher: str | None, case: str | None, everything: bool) -> dict[str, Any]:
    given = {"system": system, "publisher": publisher, "case_id": case, "all": everything or None}
    scope: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    if len(scope) != 1:
        raise ConfigurationError("name exactly one of --all, --system, --publisher, --case")
    return scope


def _say(
    paused: bool, operator: str, said: dict[str, Any], scope: dict[str, Any], wait: float, json_output: bool
) -> None:
    expunge = installation()
    if "case_id" in scope:
        scope = {"case_id": case_to_name(expunge, scope["case_id"])}
    ((field, value),) = scope.items()
    kind = {"system": "system", "publisher": "publisher", "case_id": "case"}
    named = EVERYTHING if field == "all" else f"{kind[field]}:{value}"
    type_ = "expunge.emission.paused.v1" if paused else "expunge.emission.resumed.v1"
    in_vain = (
        ""
        if paused or _stands(expunge, named)
        else f"as far as is known nothing was paused for {named.replace(':', ' ')}"
    )
    word = say_word(expunge, type_, pause_word(named), operator, "pause", said | {"scope": scope})

    def heard(standing: Standing) -> bool:
        known = standing.pauses.get(named)
        return known is not None and (known.word == word.name or (known.paused is paused and word.before(known.at)))

    await_word(expunge, word, pause_word(named), heard, wait, as_json=json_output, in_vain=in_vain)


def _stands(expunge: Installation, named: str) -> bool:
    """Whether something is paused, as far as is known: a pause may be on its way, so `resume` is said all the same."""
    try:
        return any(each.is_paused(named) for each in standing(expunge))
    except ExpungeError:
        return True
