"""Pictures of the figures, as SVG."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

MEANING = {
    "rows": "rows: what is known of each asset",
    "edges": "edges: what was made from it",
    "subjects": "people: the assets that name them",
    "data sources": "data sources: the assets that came from them",
    "free": "slack of the allocator and of Redis' own tables",
}
COLOURS = {"rows": "#31688e", "edges": "#35b779", "subjects": "#fde725", "data sources": "#90d743", "free": "#c9c9c9"}
TARGET = 180


def plot(runs: list[dict[str, Any]], file: Path) -> None:
    """One bar: bytes of resident memory per asset, by part, with the target; and marks beside it."""
    parts = {part: statistics.median(run["parts"][part] for run in runs) for part in MEANING if part != "free"}
    resident = statistics.median(run["resident"] for run in runs)
    parts["free"] = max(0.0, resident - sum(parts.values()))
    marks = statistics.median(run["mark bytes"] for run in runs)
    _styled()
    figure, axes = plt.subplots(figsize=(9.5, 3.9), layout="constrained")
    left = 0.0
    for part, size in parts.items():
        axes.barh("index", size, left=left, color=COLOURS[part], edgecolor="white", label=MEANING[part])
        if size > 6:
            dark = part in {"rows", "edges"}
            axes.text(left + size / 2, 0, f"{size:.0f}", ha="center", va="center", color="white" if dark else "black")
        left += size
    axes.barh("marks", marks, color="#440154", edgecolor="white", label="marks, once a case has walked over all of it")
    axes.text(marks / 2, 1, f"{marks:.0f}", ha="center", va="center", color="white")
    axes.axvline(TARGET, color="black", linestyle="--", linewidth=1)
    axes.text(TARGET + 1.5, 0.5, f"target {TARGET}", rotation=90, ha="left", va="center", fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, TARGET + 12)
    axes.set_xlabel("bytes of resident Redis memory per registered asset")
    axes.set_title(f"Where {runs[0]['assets']:,} assets lie: {resident:.0f} bytes each", loc="left", fontweight="bold")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2, frameon=False, fontsize=9.5)
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


def plot_latency(results: Mapping[str, Any], rates: Sequence[int], file: Path) -> None:
    """Latency to the last command against the rate, for each client, with the floor."""
    _styled()
    figure, axes = plt.subplots(figsize=(8.5, 4.6), layout="constrained")
    for client, colour in (("kafka", "#31688e"), ("confluent", "#35b779")):
        for part, style, label in (("everyday", "-", "Expunge"), ("floor", ":", "floor")):
            runs = [results[f"{part} {client} at {rate}"][0] for rate in rates]
            medians, name = [run["median ms"] for run in runs], f"{client}, {label}"
            axes.plot(rates, medians, style, color=colour, marker="o", label=name)
            if part == "everyday":
                high = [run["p99 ms"] for run in runs]
                axes.fill_between(rates, medians, high, color=colour, alpha=0.12)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_xticks(list(rates))
    axes.set_xlabel("everyday requests a second")
    axes.set_ylabel("milliseconds: median, shaded to p99")
    axes.set_title("From a request to its last command, everything on two cores", loc="left", fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.legend(frameon=False)
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


def plot_cost(results: Mapping[str, Any], sizes: Sequence[int], file: Path) -> None:
    """What an asset of an order costs, by process, against the size of the order."""
    _styled()
    parts = ("resolver", "coordinator", "intake", "notary", "indexer", "answering", "kafka", "redis")
    colours = plt.get_cmap("viridis")
    figure, axes = plt.subplots(figsize=(8.5, 4.2), layout="constrained")
    labels, bottom = [f"{size:,}" for size in sizes], [0.0] * len(sizes)
    for number, part in enumerate(parts):
        heights = [results[f"orders {size}"][0].get(f"us {part}", 0.0) for size in sizes]
        axes.bar(labels, heights, bottom=bottom, color=colours(number / len(parts)), label=part, width=0.55)
        bottom = [low + high for low, high in zip(bottom, heights, strict=True)]
    for at, whole in enumerate(bottom):
        axes.text(at, whole, f"{whole:.0f}", ha="center", va="bottom")
    axes.set_xlabel("assets of the order")
    axes.set_ylabel("microseconds of processor time an asset")
    axes.set_title("Cost against size: planned, commanded, answered", loc="left", fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, bbox_to_anchor=(1.0, 1.0), loc="upper left")
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


def _styled() -> None:
    plt.rcParams.update({"font.family": "sans-serif", "svg.hashsalt": "expunge", "font.size": 11})
