"""What lies in `deploy`: whatever a rule or a panel asks for is served by somebody, under those labels."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from expunge.agent.metrics import AgentMetrics
from expunge.overview.gauges import GAUGES
from expunge.ports import GaugeName, MetricName

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RULES: list[dict[str, Any]] = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"][0]["rules"]
PANELS: list[dict[str, Any]] = json.loads((DEPLOY / "grafana" / "expunge.json").read_text())["panels"]


def served() -> dict[str, set[str]]:
    """Every metric that roles, agents and the monitor serve, with its labels."""
    found = {f"expunge_{name}_total": {"label"} for name in get_args(MetricName) if name != "batch_seconds"}
    found |= {f"expunge_{name}": {"label"} for name in get_args(GaugeName)}
    found |= {"expunge_batch_seconds_bucket": {"label", "le"}}
    found |= {f"expunge_{name}": set(gauge.labels) for name, gauge in GAUGES.items()}
    for family in fed().registry.collect():
        for sample in family.samples:
            found[sample.name] = set(sample.labels)
    return found


def fed() -> AgentMetrics:
    agent = AgentMetrics()
    agent.command("photos", {"deleted": 1})
    agent.looked("photos", {"absent": 1})
    agent.skipped("photos")
    agent.not_opened("photos", 1)
    agent.alive("photos")
    agent.of("photos").gauge("waiting_seconds", 1)
    return agent


def expressions() -> Iterator[tuple[str, str, str]]:
    """Name, expression and the text that may name labels."""
    for rule in RULES:
        yield rule["alert"], rule["expr"], " ".join(rule["annotations"].values())
    for panel in PANELS:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"], target["legendFormat"]


SAID = list(expressions())


@pytest.mark.parametrize(("name", "expr", "text"), SAID, ids=[each[0] for each in SAID])
def test_what_is_asked_for_is_served(name: str, expr: str, text: str) -> None:
    known = served()
    metrics = set(re.findall(r"expunge_\w+", expr))
    assert metrics or expr.startswith("up{"), name
    assert metrics <= known.keys(), metrics - known.keys()
    labels = {label for metric in metrics for label in known[metric]}
    by = {each.strip() for said in re.findall(r"by \(([^)]*)\)", expr) for each in said.split(",")}
    shown = {*re.findall(r"\$labels\.(\w+)", text), *re.findall(r"{{(\w+)}}", text)}
    asked = {*re.findall(r"(\w+)=\"", expr), *shown, *by}
    labels |= {"job", "instance"} if expr.startswith("up{") else set()
    assert asked <= labels, asked - labels
    if "sum(" in expr or "max(" in expr or by:
        assert shown <= by, "what is summed up has no other labels"


def test_each_rule_says_what_is_wrong_and_what_to_do_and_nothing_is_wrong_unseen() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
    for rule in RULES:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"].keys() == {"summary", "action"}
        assert ("$value" in rule["annotations"]["summary"]) <= ("absent(" not in rule["expr"])
    asked = {metric for _, expr, _ in SAID for metric in re.findall(r"expunge_\w+", expr)}
    alarms = ("waiting_", "lost", "ahead", "poisoned", "refused", "alarms", "not_made", "failures", "overdue", "frozen")
    wrong = {each for each in served() if any(word in each for word in alarms)} - {"expunge_waiting_cases"}
    assert wrong <= asked


def test_panels_lie_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        columns, rows = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        cells = {(x, y) for x in columns for y in rows}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
