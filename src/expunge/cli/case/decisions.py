"""`expunge case approve|reject|extend|cancel|decide|retry|forget`: an operator's word about a case or a group."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from expunge import queries
from expunge.cli.case import models
from expunge.cli.case.found import CaseId, find, kept
from expunge.cli.common import Json, console, installation
from expunge.cli.words import Heard, Operator, await_heard, say_word
from expunge.errors import ConfigurationError
from expunge.wire.controls import Option

PlanDigest = Annotated[str, typer.Option("--plan", help="The digest of the plan, as `expunge case plan` shows it.")]


def approve(
    case_id: CaseId, plan_digest: PlanDigest, operator: Operator, wait: Heard = 60, json_output: Json = False
) -> None:
    """Approve a plan that waits; with the last approval it is carried out."""
    data = {"plan_digest": plan_digest}
    _say("expunge.plan.approved.v1", case_id, operator, "approve", data, wait, as_json=json_output)


def reject(
    case_id: CaseId,
    plan_digest: PlanDigest,
    operator: Operator,
    reason: Annotated[str, typer.Option(help="Why; the requester is told.")],
    wait: Heard = 60,
    json_output: Json = False,
) -> None:
    """Reject a plan that waits; it is not carried out."""
    data = {"plan_digest": plan_digest, "reason": reason}
    _say("expunge.plan.rejected.v1", case_id, operator, "approve", data, wait, as_json=json_output)


def extend(
    case_id: CaseId,
    operator: Operator,
    reason: Annotated[str, typer.Option(help="Why; the requester is told.")],
    wait: Heard = 60,
    json_output: Json = False,
) -> None:
    """Take as much more time as the law lets, once, before the first term has ended."""
    case = find(installation(), case_id)
    if case.extendable_to is None:
        raise ConfigurationError(f"clock {case.clock} of this case knows no extension")
    _say("expunge.deadline.extended.v1", case_id, operator, "decide", {"reason": reason}, wait, as_json=json_output)


def cancel(
    case_id: CaseId,
    operator: Operator,
    reason: Annotated[str, typer.Option(help="Why; it stands on the topic of controls.")],
    wait: Heard = 60,
    json_output: Json = False,
) -> None:
    """Take a request back: nothing more is commanded, and what is with systems is withdrawn.

    What is gone is gone; the case is `cancelled` once every system has said that it lets go, and says what was done.
    """
    _say("expunge.request.cancelled.v1", case_id, operator, "decide", {"reason": reason}, wait, as_json=json_output)


def forget(
    case_id: CaseId,
    operator: Operator,
    reason: Annotated[str, typer.Option(help="Why; it stands on the topic of controls.")],
    wait: Heard = 60,
    json_output: Json = False,
) -> None:
    """Have a case forgotten that has ended, before the evidence period of its policy has passed.

    What names people and assets in it goes, as soon as nobody can read again on a topic what was said of it: 38 days
    after something happened in it for the last time. Counts, dates and keyed digests stay, so that what comes back is
    caught. A case under a hold is kept.
    """
    _say("expunge.case.forgotten.v1", case_id, operator, "decide", {"reason": reason}, wait, as_json=json_output)
    if wait and not json_output:
        told = kept(find(installation(), case_id)).replace("kept until", "will be forgotten on")
        console.print(f"{told}, or soon after; until then `expunge hold place ID --case CASE` keeps it")


def retry(
    case_id: CaseId,
    operator: Operator,
    system: Annotated[str, typer.Option(help="Only there; wherever something is open, without it.")] = "",
    reason: Annotated[str, typer.Option(help="Why; it stands on the topic of controls.")] = "",
    wait: Heard = 60,
    json_output: Json = False,
) -> None:
    """Do now what would be tried later: commands that are open go out once more, and so do those the broker refused.

    For a system that is well again. What was paused, is held, waits for other cases or was put off stays so.
    """
    data = {name: text for name, text in {"system": system, "reason": reason}.items() if text}
    _say("expunge.case.retried.v1", case_id, operator, "decide", data, wait, as_json=json_output)


def decide(
    case_id: CaseId,
    option: Annotated[Option, typer.Option(help="What is decided.")],
    operator: Operator,
    rationale: Annotated[str, typer.Option(help="Why; it stands on the topic of controls.")],
    system: Annotated[str, typer.Option(help="The system in which something is open, or has happened.")] = "",
    asset: Annotated[str, typer.Option(help="The model that is made anew.")] = "",
    due_at: Annotated[str, typer.Option("--by", help="With retrain_by: from when on (RFC 3339).")] = "",
    wait: Heard = 60,
    json_output: Json = False,
) -> None:
    """Settle what is open in a system, say that something has happened there, or when a model is made anew.

    accept_not_found: it is right that the system does not find so much of what it registered.
    exempt: what nobody can be told to do there is kept.
    restored, schedule_ended: what waited for that goes on.
    retrain_now, retrain_by: a model (--asset) is not made anew when policy says, but now, or from --by on.
    """
    given = {"system": system, "asset": asset, "due_at": due_at}
    data = {"option": option.value, "rationale": rationale} | {name: text for name, text in given.items() if text}
    _say("expunge.obligation.decided.v1", case_id, operator, "decide", data, wait, as_json=json_output)


def _say(
    kind: str, case_id: str, operator: str, role: str, data: dict[str, Any], wait: float, *, as_json: bool
) -> None:
    """Publish an operator's word about a case or a group, and say whether it changes anything."""
    expunge = installation()
    case = None if queries.rate(expunge, case_id) else find(expunge, case_id)
    case_id = case.case_id if case else case_id
    passed_on = models.hearing(expunge, case, data["asset"]) if case and "asset" in data else lambda: True
    word = say_word(expunge, kind, case_id, operator, role, data | {"case_id": case_id})
    await_heard(expunge, word, case_id, wait, as_json=as_json, passed_on=passed_on)
