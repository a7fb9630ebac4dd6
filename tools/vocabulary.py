"""Writes docs/vocabulary.md: every word that messages, configuration and metrics may use; `--check` compares."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from expunge.domain.admission.requests import JURISDICTIONS  # noqa: E402 - the tree is not installed as a package
from expunge.domain.normalisers import NORMALISERS  # noqa: E402
from expunge.domain.registry import Operator  # noqa: E402
from expunge.domain.vocabulary import ANSWERS, CONTAINERS, Action, Claim, Kind, Regime, Status  # noqa: E402
from expunge.overview.gauges import GAUGES  # noqa: E402
from expunge.ports import GaugeName, MetricName  # noqa: E402
from expunge.wire.registrations import REGISTRATIONS  # noqa: E402
from expunge.wire.requests import REQUESTS  # noqa: E402
from tools.pages import write_or_compare  # noqa: E402


def page() -> str:
    """The page, from the code."""
    about = "Every word that messages, configuration and metrics may use. Written by `python tools/vocabulary.py`."
    parts = [f"# Vocabulary\n\n{about}\n"]
    parts.append(_table("Kinds of assets", ("kind", "holds many people's data"), _kinds()))
    parts.append(_table("Actions, and the claims that answer them", ("action", "claims"), _actions()))
    parts.append(_list("Claims", [each.value for each in Claim]))
    parts.append(_list("States of a case", [each.value for each in Status]))
    parts.append(_table("Laws", ("regime", "jurisdictions"), _laws()))
    roles = get_args(get_args(Operator.model_fields["roles"].annotation)[0])
    parts.append(_list("Roles of operators", list(roles)))
    versions = [(name, ", ".join(map(str, sorted(known)))) for name, known in NORMALISERS.items()]
    parts.append(_table("Normalisers", ("name", "versions"), versions))
    parts.append(_list("Types of requests", list(REQUESTS)))
    parts.append(_list("Types of registrations", list(REGISTRATIONS)))
    counters = [f"expunge_{name}_total" for name in get_args(MetricName) if name != "batch_seconds"]
    gauges = [f"expunge_{name}" for name in get_args(GaugeName)]
    parts.append(_list("Metrics of roles", [*counters, "expunge_batch_seconds", *gauges]))
    rows = [(f"`expunge_{name}`", ", ".join(each.labels), each.meaning) for name, each in GAUGES.items()]
    parts.append(_table("Metrics of the monitor", ("metric", "labels", ""), rows))
    return "\n".join(parts)


def _kinds() -> list[tuple[str, str]]:
    return [(f"`{kind.value}`", "yes" if kind in CONTAINERS else "") for kind in Kind]


def _actions() -> list[tuple[str, str]]:
    said = {action: sorted(claim.value for claim in claims) for action, claims in ANSWERS.items()}
    return [(f"`{each.value}`", ", ".join(f"`{claim}`" for claim in said.get(each, ()))) for each in Action]


def _laws() -> list[tuple[str, str]]:
    return [
        (f"`{law.value}`", ", ".join(f"`{code}`" for code, regime in sorted(JURISDICTIONS.items()) if regime is law))
        for law in Regime
    ]


def _list(title: str, words: list[str]) -> str:
    said = ", ".join(f"`{word}`" for word in words)
    return f"## {title}\n\n{textwrap.fill(said, 120, break_long_words=False, break_on_hyphens=False)}\n"


def _table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    head = f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n"
    return f"## {title}\n\n{head}" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    sys.exit(write_or_compare("vocabulary", page()))
