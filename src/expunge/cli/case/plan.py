"""`expunge case plan`: what a case, or a group of plans that wait together, is going to do."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from typing import Any, NamedTuple

from expunge import queries
from expunge.bootstrap import Installation
from expunge.cli.case import models
from expunge.cli.case.found import CaseId, find
from expunge.cli.common import Json, console, installation, print_json, print_table, safe, status_text
from expunge.domain.aggregates.case.state import Generation
from expunge.domain.aggregates.rate import Rate
from expunge.domain.events import stamp
from expunge.domain.vocabulary import Action


class PlanLine(NamedTuple):
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


def plan(case_id: CaseId, json_output: Json = False) -> None:
    """Show what a case is going to do: what, where, how much, and which rule says so."""
    expunge = installation()
    group = queries.rate(expunge, case_id)
    if group is not None:
        _show_group(group, as_json=json_output)
        return
    case = find(expunge, case_id)
    case_id = case.case_id
    lines: Counter[PlanLine] = Counter()
    for chunk in queries.chunks(expunge, case_id):
        each = chunk.summary
        reason = "" if each.action is Action.EXEMPT else each.reason
        phase = chunk.phase.value if chunk.live else ""
        line = PlanLine(
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


def _plan(expunge: Installation, pinned: str, generation: Generation, lines: Counter[PlanLine]) -> dict[str, Any]:
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
