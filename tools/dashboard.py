"""Writes deploy/grafana/expunge.json, a dashboard over what roles, agents and the monitor serve; `--check` compares."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.pages import write_or_compare  # noqa: E402 - the tree is not installed as a package

PAGE = ROOT / "deploy" / "grafana" / "expunge.json"
WIDTH = 24
SOURCE = {"type": "prometheus", "uid": "${source}"}
Panel = tuple[str, str, int, str, list[tuple[str, str]], str]
"""Title, kind, width, unit, (expression, legend) each, and what it means."""

ROWS: list[tuple[str, int, list[Panel]]] = [
    (
        "Is anything wrong?",
        4,
        [
            ("Overdue", "stat", 4, "short", [("expunge_cases_overdue", "")], "Open cases past their due date"),
            ("Frozen", "stat", 4, "short", [("expunge_cases_frozen", "")], "Cases that wait for a person"),
            ("Plans that wait", "stat", 4, "short", [("expunge_cases_awaiting_approval", "")], "For an operator"),
            ("Set aside", "stat", 4, "short", [("sum(expunge_open_dead_letters)", "")], "Messages nobody has seen to"),
            ("Paused scopes", "stat", 4, "short", [("expunge_paused_scopes", "")], "Commands are held back there"),
            ("Lost partitions", "stat", 4, "short", [("sum(expunge_lost_partitions)", "")], "They stand still"),
        ],
    ),
    (
        "Cases",
        8,
        [
            ("By state", "timeseries", 8, "short", [("sum by (status) (expunge_cases)", "{{status}}")], "Live ones"),
            ("By law", "timeseries", 8, "short", [("sum by (regime) (expunge_cases)", "{{regime}}")], "Live ones"),
            ("Due within days", "timeseries", 8, "short", [("expunge_cases_due", "{{days}} d")], "And not overdue"),
        ],
    ),
    (
        "Systems",
        8,
        [
            ("Open obligations", "timeseries", 8, "short", [("expunge_open_obligations", "{{system}}")], "Unanswered"),
            ("Oldest request", "timeseries", 8, "s", [("expunge_oldest_open_seconds", "{{system}}")], "That waits"),
            (
                "Answered by agents",
                "timeseries",
                8,
                "ops",
                [("sum by (system, claim) (rate(expunge_agent_targets_total[5m]))", "{{system}} {{claim}}")],
                "Targets a second, by claim",
            ),
        ],
    ),
    (
        "Roles",
        8,
        [
            ("Unread", "timeseries", 6, "short", [("expunge_unread_messages", "{{role}} {{topic}}")], "Messages"),
            (
                "Age of the oldest",
                "timeseries",
                6,
                "s",
                [("expunge_oldest_unread_seconds", "{{role}} {{topic}}"), ("expunge_lag_seconds", "{{label}} now")],
                "Unread message, and of the batch at hand",
            ),
            (
                "Handled",
                "timeseries",
                6,
                "ops",
                [("sum by (label) (rate(expunge_messages_handled_total[5m]))", "{{label}}")],
                "Messages a second",
            ),
            (
                "A batch, poll to commit",
                "timeseries",
                6,
                "s",
                [
                    (
                        "histogram_quantile(0.95, sum by (label, le) (rate(expunge_batch_seconds_bucket[5m])))",
                        "{{label}} p95",
                    )
                ],
                "95 of 100 are faster",
            ),
        ],
    ),
    (
        "Faults",
        8,
        [
            ("Waits for a server", "timeseries", 6, "s", [("expunge_waiting_seconds > 0", "{{label}}")], "Goes on"),
            (
                "Set aside, by reason",
                "timeseries",
                6,
                "short",
                [("sum by (reason) (expunge_open_dead_letters)", "{{reason}}")],
                "Nobody has seen to them",
            ),
            (
                "Before retention takes what is unread",
                "timeseries",
                6,
                "s",
                [("expunge_retention_left_seconds", "{{role}} {{topic}}")],
                "At 0 the next is lost",
            ),
            ("Clock ahead", "timeseries", 6, "s", [("expunge_clock_ahead_seconds", "{{label}}")], "Above 300 is wrong"),
        ],
    ),
    (
        "Index and evidence",
        8,
        [
            ("Registered assets", "timeseries", 8, "short", [("expunge_registered_assets", "{{system}}")], "About"),
            ("Leaves of the log", "timeseries", 8, "short", [("max(expunge_log_size)", "ledger")], "Facts logged"),
            (
                "Certificates",
                "timeseries",
                8,
                "short",
                [
                    ("sum(increase(expunge_certificates_made_total[1h]))", "made"),
                    ("sum(increase(expunge_certificates_not_made_total[1h]))", "not made"),
                ],
                "An hour",
            ),
        ],
    ),
]


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, height, row in ROWS:
        panels.append({"type": "row", "title": title, "gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1}, "panels": []})
        left, top = 0, top + 1
        for panel in row:
            panels.append(_panel(panel, {"x": left, "y": top, "w": panel[2], "h": height}))
            left += panel[2]
        top += height
    return {
        "title": "Expunge",
        "uid": "expunge",
        "tags": ["expunge"],
        "schemaVersion": 39,
        "time": {"from": "now-24h", "to": "now"},
        "refresh": "30s",
        "templating": {
            "list": [{"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
        },
        "panels": [panel | {"id": number} for number, panel in enumerate(panels, 1)],
    }


def _panel(panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    title, kind, _, unit, said, about = panel
    wrong = {"mode": "absolute", "steps": [{"color": "green", "value": None}, {"color": "red", "value": 1}]}
    defaults: dict[str, Any] = {"unit": unit, "min": 0}
    defaults |= {"thresholds": wrong} if kind == "stat" else {"custom": {"fillOpacity": 10, "showPoints": "never"}}
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {"refId": chr(65 + number), "expr": expr, "legendFormat": legend or "__auto", "datasource": SOURCE}
            for number, (expr, legend) in enumerate(said)
        ],
    }


if __name__ == "__main__":
    sys.exit(write_or_compare("dashboard", json.dumps(dashboard(), indent=2) + "\n", PAGE))
