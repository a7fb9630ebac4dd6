"""`expunge case plan|approve|reject|extend`: what would be done, and an operator's word about it."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from typing import Annotated, Any, NamedTuple

import typer

from expunge.bootstrap import Installation
from expunge.cli import models
from expunge.cli.common import NO, Json, console, installation, print_json, print_table, safe, say_error, status_text
from expunge.cli.words import Heard, Operator, await_heard, say_word
from expunge.domain.case.state import Case, Generation
from expunge.domain.controls import Option
from expunge.domain.events import stamp
from expunge.domain.rates import Rate
from expunge.domain.vocabulary import Action
from expunge.errors import ConfigurationError

PlanDigest = Annotated[str, typer.Option("--plan", help="The digest of the plan, as `expunge case plan` shows it.")]
CaseId = Annotated[str, typer.Argument(help="The case.")]


class Line(NamedTuple):
    """What many obligations of a plan have in common."""

    generation: int
    stage: int
    system: str
    kind: str
    action: str
    rule: str
    open_because: str
    defer_days: int
    defer_until: str
    keep_until: str
    phase: str


def find(expunge: Installation, name: str) -> Case:
    """A case by its id, or by that of its request; or an error for people."""
    case = expunge.case(name)
    if case is not None:
        return case
    partitions = range(expunge.settings.kafka.partitions)
    found = [each for p in partitions for each in expunge.cases.listed(p) if each.request_id == name]
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(f"{each.case_id} (from {each.publisher})" for each in found)
        say_error(f"{name} is the id of {len(found)} requests: name the case, {several}")
    else:
        say_error(f"no case and no request {name}: `expunge case list` shows those that exist")
    raise typer.Exit(NO)


def plan(case_id: CaseId, json_output: Json = False) -> None:
    """Show what a case is going to do: what, where, how much, and which rule says so."""
    expunge = installation()
    group = expunge.rate(case_id)
    if group is not None:
        _show_group(group, as_json=json_output)
        return
    case = find(expunge, case_id)
    case_id = case.case_id
    lines: Counter[Line] = Counter()
    for chunk in expunge.chunks(case_id):
        each = chunk.summary
        reason = "" if each.action is Action.EXEMPT else each.reason
        phase = chunk.phase.value if chunk.live else ""
        line = Line(
            chunk.generation,
            each.stage,
            each.system,
            each.kind,
            chunk.action,
            each.rule,
            reason,
            each.defer_days,
            each.defer_until,
            (date(1970, 1, 1) + timedelta(days=each.keep_until)).isoformat() if each.keep_until else "",
            phase,
        )
        lines[line] += each.size
    plans = [_plan(expunge, case.policy, generation, lines) for generation in case.generations]
    found = models.models_of(expunge, case)
    if json_output:
        print_json({"case_id": case_id, "status": case.status.value, "plans": plans, "models": found})
        return
    console.print(f"case [bold]{case_id}[/bold] ({case.scope}, {case.regime})", status_text(case.status.value))
    if case.grace_until is not None:
        console.print(f"can be taken back until {stamp(case.grace_until)}: no command leaves before", style="yellow")
    for made in plans:
        _show(case_id, made)
    models.show(found)


def _plan(expunge: Installation, pinned: str, generation: Generation, lines: Counter[Line]) -> dict[str, Any]:
    policy = expunge.policies.of(pinned)
    bases = {rule.id: rule.legal_basis for rule in policy.dispositions}
    return {
        "generation": generation.number,
        "plan_digest": generation.plan_digest or None,
        "policy": {"name": policy.name, "digest": policy.digest},
        "awaiting_approval": generation.awaiting,
        "groups": sorted(rate for rate, (group, _) in generation.rates.items() if group),
        "rejected": generation.rejected,
        "thresholds": list(generation.guard),
        "approvals_needed": generation.approvals,
        "approved_by": list(generation.approved_by),
        "obligations": generation.obligations,
        "lines": [
            {
                "stage": policy.stages[line.stage - 1].name,
                "system": line.system,
                "kind": line.kind,
                "action": line.action,
                "rule": line.rule,
                "obligations": number,
                "open_because": line.open_because or None,
                "defer_days": line.defer_days or None,
                "defer_until": line.defer_until or None,
                "keep_until": line.keep_until or None,
                "phase": line.phase or None,
                "legal_basis": bases.get(line.rule) or None,
            }
            for line, number in sorted(lines.items())
            if line.generation == generation.number
        ],
    }


def _show(case_id: str, plan: dict[str, Any]) -> None:
    console.print()
    digest = plan["plan_digest"]
    state = f"digest {digest}" if digest else "not fixed yet: its walk goes on"
    policy = plan["policy"]
    console.print(f"[bold]plan {plan['generation']}[/bold]: {plan['obligations']:,} obligations, {state}")
    console.print(f"under policy {safe(policy['name'])} ({policy['digest']})", style="dim")
    if plan["rejected"]:
        console.print("rejected: it is not carried out", style="red")
    elif plan["approvals_needed"]:
        console.print(
            f"above {safe(', '.join(plan['thresholds']))}; "
            f"approved by {safe(', '.join(plan['approved_by']) or 'nobody')}"
        )
    for group in plan["groups"]:
        console.print(f"waits with plans of other cases: expunge case plan {group}", style="yellow", soft_wrap=True)
    if plan["awaiting_approval"] and not plan["groups"]:
        left = plan["approvals_needed"] - len(plan["approved_by"])
        console.print(
            f"waits for {left} operator{'s' * (left > 1)}: no command has left. To let it go:", style="yellow"
        )
        console.print(f"expunge case approve {case_id} --plan {digest} --operator NAME", soft_wrap=True)
    rows = [
        (
            line["stage"],
            line["system"],
            line["kind"].replace("_", " "),
            line["action"].replace("_", " "),
            line["rule"],
            line["obligations"],
            _remark(line),
        )
        for line in plan["lines"]
    ]
    columns = ("stage", "system", "kind", "action", "rule", "obligations", "remarks")
    width = len(columns) if any(row[-1] for row in rows) else len(columns) - 1
    console.print()
    print_table(columns[:width], [row[:width] for row in rows], empty="nothing is to be done")


def _remark(line: dict[str, Any]) -> str:
    """What is out of the ordinary: nobody can be told, put off, kept by law, or kept back by an operator's word."""
    said = [f"open: {line['open_because'].replace('_', ' ')}"] if line["open_because"] else []
    if line["defer_days"] or line["defer_until"]:
        until = [f"{line['defer_days']} days after the plan"] if line["defer_days"] else []
        said.append(" or ".join([*until, *([f"at its {line['defer_until']}"] if line["defer_until"] else [])]))
    if line["keep_until"]:
        said.append(f"kept until {line['keep_until']}")
    if line["legal_basis"]:
        said.append(f"kept: {line['legal_basis']}")
    if line["phase"] in {"barred", "recalled"}:
        said.append({"barred": "kept back", "recalled": "being withdrawn"}[line["phase"]])
    return ", ".join(said)


def _show_group(group: Rate, *, as_json: bool) -> None:
    """Plans of many cases that wait together."""
    approved = sorted(name for name, count in group.approved.items() if count >= group.members)
    said = {
        "group": group.rate,
        "of": group.of,
        "plan_digest": group.digest if group.waiting else None,
        "cases": group.waiting,
        "obligations": group.obligations,
        "thresholds": list(group.rules),
        "approvals_needed": group.approvals,
        "approved_by": approved,
    }
    if as_json:
        print_json(said)
        return
    kind, _, name = group.of.partition(":")
    if not group.waiting:
        console.print(f"nothing of {kind} {safe(name)} waits")
        return
    console.print(
        f"[bold]{group.waiting:,}[/bold] plans of {kind} [bold]{safe(name)}[/bold] wait as a group of "
        f"{group.members:,} with {group.obligations:,} obligations in all: above {safe(', '.join(group.rules))}",
        highlight=False,
    )
    console.print(
        f"{group.approvals} operator{'s' * (group.approvals > 1)} must approve them; "
        f"so far: {safe(', '.join(approved) or 'nobody')}. What joins later waits on. To let them go, or not:",
        style="yellow",
    )
    console.print(f"expunge case approve {group.rate} --plan {group.digest} --operator NAME", soft_wrap=True)
    console.print(
        f"expunge case reject {group.rate} --plan {group.digest} --operator NAME --reason TEXT", soft_wrap=True
    )


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
    case = None if expunge.rate(case_id) else find(expunge, case_id)
    case_id = case.case_id if case else case_id
    passed_on = models.hearing(expunge, case, data["asset"]) if case and "asset" in data else lambda: True
    word = say_word(expunge, kind, case_id, operator, role, data | {"case_id": case_id})
    await_heard(expunge, word, case_id, wait, as_json=as_json, passed_on=passed_on)
