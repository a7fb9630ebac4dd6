"""RESULTS.md, made from what was measured."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from benchmarks.measure import spread

RATES = (5, 50)
"""Everyday requests a second."""
ORDERS = (10_000, 100_000, 1_000_000)
SIZES = (1_000_000, 5_000_000)
"""Of the index by itself."""
CLIENTS = ("kafka", "confluent")
ASSETS = 200_000
LINES = 1_000_000
CLUSTERED = 200_000
"""Assets of the index on a cluster."""


def line(runs: list[dict[str, float]], label: str, key: str, unit: str, floor_key: str = "") -> str:
    """A row: the median of a figure with its range, and what share it is of the raw client's in the same run."""
    values = sorted(each[key] for each in runs)
    ratio = statistics.median(each[key] / each[floor_key] for each in runs) if floor_key else None
    against = f"{ratio:.3f} of {floor_key}" if ratio else ""
    return f"| {label} | {statistics.median(values):,.0f} {unit} | {values[0]:,.0f} to {values[-1]:,.0f} | {against} |"


def report(runs: list[dict[str, float]]) -> str:
    """Registrations, import and planning beside the raw clients."""
    produced = "kafka-python produce statements"
    lines = [
        line(runs, "kafka-python produce, 200 bytes, acks=all (floor)", "kafka-python produce", "/s"),
        line(runs, "kafka-python consume (floor)", "kafka-python consume", "/s"),
        line(runs, "kafka-python produce, 510 bytes keyed, lz4, as statements are (floor)", produced, "/s"),
        line(runs, "redis-py HSET, pipelines of 1,000 (floor)", "redis-py HSET", "/s"),
        line(runs, "registrations indexed, one indexer", "registrations", "assets/s", produced),
        line(runs, "the same, against 200 bytes", "registrations", "assets/s", "kafka-python produce"),
        line(runs, f"import of {LINES:,} lines of JSON", "imported", "lines/s"),
        line(runs, f"assets planned, withdrawal of {ASSETS:,}, one resolver", "planned", "assets/s", "redis-py HSET"),
    ]
    head = "| what | median | range | against the floor |\n|---|---|---|---|\n"
    return f"## Registrations, import, planning\n\n`make bench`, {len(runs)} runs.\n\n{head}" + "\n".join(lines) + "\n"


INDEX_ROWS = (
    ("resident Redis memory per asset, marks apart", "resident", "bytes"),
    ("the same as Redis counts it", "used", "bytes"),
    ("marks, per asset, after a walk over all", "mark bytes", "bytes"),
    ("written to the index (rows, edges, memberships)", "load", "assets/s"),
    ("walked: marks, rows, children, chunks, messages", "walk", "assets/s"),
    ("walked from a hub of 500,000 children", "hub walk", "assets/s"),
    ("one person's 1,000 assets, six deep, walked", "closure ms", "ms"),
    ("the same, walked and planned", "closure and plan ms", "ms"),
    ("the process that walked, at its largest", "resolver MB", "MB"),
)


def index_report(sizes: dict[int, list[dict[str, Any]]]) -> str:
    """The index by itself, a column for each size; and its memory by part."""
    heads = [f"{assets:,} assets" for assets in sizes]
    lines = ["| what | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    for label, key, unit in INDEX_ROWS:
        cells = []
        for runs in sizes.values():
            values = sorted(each[key] for each in runs)
            cells.append(f"{statistics.median(values):,.0f} {unit} ({values[0]:,.0f} to {values[-1]:,.0f})")
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    for part in next(iter(sizes.values()))[0]["parts"]:
        if part != "marks":
            cells = [f"{statistics.median(each['parts'][part] for each in runs):,.0f} bytes" for runs in sizes.values()]
            lines.append(f"| of that: {part} (estimated) | " + " | ".join(cells) + " |")
    few = next(iter(sizes.values()))
    server = f"a Redis {few[0]['redis']} of its own without persistence"
    return (
        f"\n## The index by itself\n\n`python benchmarks/index.py --assets N`, {len(few)} runs each, on {server};\n"
        "half photos with one person, one data source, two purposes and a category, "
        "half embeddings with one parent; ids of\n40 bytes. Resident memory is what the server adds to its empty self, "
        "after it has given back free pages.\n\n" + "\n".join(lines) + "\n"
    )


def everyday_report(results: dict[str, Any]) -> str:
    """Everyday requests, each figure beside its floor."""
    rows = []
    for client in _measured(results):
        ours, bare = results[f"everyday {client} flat"], results[f"floor {client}"]
        times = statistics.median(a["ms"] / b["ms"] for a, b in zip(ours, bare, strict=True))
        rows.append(f"| {client} | flat out | {spread(ours, 'rate')}/s | {spread(bare, 'rate')}/s | | |")
        cost = f"{spread(ours, 'ms', 1)} ms, {times:.1f} times | {spread(bare, 'ms', 1)} ms"
        rows.append(f"| | processor time a request | {cost} | | |")
        for rate in RATES:
            (mine,), (its,) = results[f"everyday {client} at {rate}"], results[f"floor {client} at {rate}"]
            ours_ms, its_ms = (f"{each['median ms']:,.0f}, {each['p99 ms']:,.0f} ms" for each in (mine, its))
            what = f"at {rate}/s, to the last command: median, p99"
            rows.append(f"| | {what} | {ours_ms} | {its_ms} | {mine['ms']:.1f} ms | {its['ms']:.1f} ms |")
    for each in results.get("everyday kafka beside", ()):
        high = f"{each['median ms']:,.0f}, {each['p99 ms']:,.0f} ms"
        rows.append(f"| kafka | at 5/s beside an order of 1,000,000: median, p99 | {high} | | | |")
    head = "| client | what | Expunge | floor | processor time | of the floor |\n|---|---|---|---|---|---|\n"
    return head + "\n".join(rows) + "\n\n" + _roles(results) + "\n" + _processes(results)


def _measured(results: dict[str, Any]) -> list[str]:
    return [client for client in CLIENTS if f"everyday {client} flat" in results]


def _roles(results: dict[str, Any]) -> str:
    """What a request costs by process."""
    names = ("intake", "indexer", "resolver", "coordinator", "notary", "answering", "kafka", "redis")
    rows = []
    for client in _measured(results):
        ours, bare = results[f"everyday {client} flat"], results[f"floor {client}"]
        for label, runs in (("Expunge", ours), ("floor", bare)):
            cells = (f"{statistics.median(r.get(f'ms {name}', 0) for r in runs):.2f}" for name in names)
            rows.append(f"| {client}, {label} | " + " | ".join(cells) + " |")
    head = "| milliseconds a request, flat out | " + " | ".join(names) + " |\n|---|" + "---|" * len(names) + "\n"
    each = results["everyday kafka flat"][0]
    counts = [f"{key.split()[1]} {value:.1f}" for key, value in sorted(each.items()) if key.startswith("records ")]
    sizes = sum(value for key, value in each.items() if key.startswith("bytes ")) / 1000
    records = f"A request is {each['records']:.1f} records ({', '.join(counts)}) of {sizes:.0f} kB before compression"
    asked = f"{each['redis reads']:.1f} round trips to Redis, {each['redis commands']:.0f} commands in its scripts"
    redis = f"{asked}; {each['redis bytes'] / 1000:.1f} kB stay there"
    return head + "\n".join(rows) + f"\n\n{records}, and {redis}.\n"


def _processes(results: dict[str, Any]) -> str:
    rates = {1: statistics.median(run["rate"] for run in results["everyday kafka flat"])}
    found = {number: results.get(f"everyday kafka in {number}", ()) for number in (2, 4)}
    rates |= {number: runs[0]["rate"] for number, runs in found.items() if runs}
    cells = ", ".join(f"{number}: {rate:,.0f}/s" for number, rate in rates.items())
    return f"Processes of each role but the notary, on the same two cores: {cells}.\n"


def orders_report(results: dict[str, Any]) -> str:
    """Orders by size."""
    head = (
        "| assets | planned | commanded after that | answered | processor time an asset | resolver, coordinator |\n"
        "|---|---|---|---|---|---|\n"
    )
    rows = []
    for assets in (size for size in ORDERS if f"orders {size}" in results):
        (each,) = results[f"orders {assets}"]
        memory = f"{each['MB resolver']:.0f} MB, {each['MB coordinator']:.0f} MB"
        moments = f"{each['planned s']:.1f} s | {max(0.0, each['commanded s']):.1f} s | {each['answered s']:.1f} s"
        rows.append(f"| {assets:,} | {moments} | {each['us']:.0f} us | {memory} |")
    return head + "\n".join(rows) + "\n"


def rebuild_report(runs: list[dict[str, float]]) -> str:
    """What a rebuild takes beside the consumption of what it reads."""
    rows = "".join(
        f"| {each['records']:,.0f} records, {each['MB']:.0f} MB | {each['floor']:.1f} s | {each['seconds']:.1f} s | "
        f"{each['times']:.1f} |\n"
        for each in runs
    )
    return (
        "\n## Rebuild\n\n`benchmarks/rebuild.py`: an index of 1,000,000 assets and 1,000 open cases of 20 assets,"
        "\nbeside what kafka-python needs to consume the same topics and nothing else. The checksum is what it was.\n\n"
        "| read | consumed alone | rebuilt | times |\n|---|---|---|---|\n" + rows + "\n"
    )


def cluster_report(runs: list[dict[str, Any]]) -> str:
    """The index on a cluster beside one server."""

    def cell(where: str, key: str, shape: str) -> str:
        found = sorted(run[where][key] for run in runs)
        return f"{statistics.median(found):{shape}} ({found[0]:{shape}} to {found[-1]:{shape}})"

    rows = "".join(
        f"| {what} | {cell('one', key, ',.0f')} | {cell('cluster', key, ',.0f')} | {cell('ratios', key, '.2f')} |\n"
        for key, what in CLUSTER_ROWS.items()
    )
    return (
        f"\n## Redis Cluster\n\n`python benchmarks/index.py --assets {CLUSTERED} --clustered`, {len(runs)} runs: one "
        "server, then three masters with a\nreplica each, all without persistence, on the cores of the client. What a "
        "cluster gains by having more cores does not\nshow here; what its many small calls cost does.\n\n"
        "| what | one server | cluster | ratio |\n|---|---|---|---|\n" + rows + "\n"
    )


CLUSTER_ROWS = {
    "load": "rows, edges and people written, assets a second",
    "walk": "walked: marks, rows, children, chunks, messages, assets a second",
    "closure ms": "one person's 1,000 assets, six deep, walked, milliseconds",
}


def page(results: dict[str, Any], before: str = "") -> str:
    """RESULTS.md; of parts that were not measured since, what stood there before."""
    intro = (
        f"# Results\n\n`make bench`, {results['machine']}.\n"
        "Medians with their range; broker, Redis, roles, systems and load share the cores. Quote ratios against the\n"
        "floor of the same run, not the absolute figures.\n\n"
    )
    parts = [intro, NOTES.read_text().strip() + "\n\n" if NOTES.exists() else ""]
    if "floor kafka" in results:
        parts.append("## Everyday requests\n\n" + EVERYDAY + everyday_report(results) + "\n")
    if f"orders {ORDERS[0]}" in results:
        parts.append(
            "## Orders\n\n`benchmarks/orders.py`: everything from one supplier, registered beforehand, in one "
            "system that answers at once.\n\n" + orders_report(results) + "\n"
        )
    if "flow" in results:
        parts.append(report(results["flow"]))
    if "rebuild" in results:
        parts.append(rebuild_report(results["rebuild"]))
    if f"index {SIZES[0]}" in results:
        parts.append(index_report({assets: results[f"index {assets}"] for assets in SIZES}))
    if "cluster" in results:
        parts.append(cluster_report(results["cluster"]))
    made = "".join(parts)
    titles = {part.partition("\n")[0] for part in made.split(SECTION)}
    kept = [SECTION + part for part in before.split(SECTION)[1:] if part.partition("\n")[0] not in titles]
    return made.rstrip() + "\n" + "".join(kept)


SECTION = "\n## "
NOTES = Path(__file__).with_name("notes.md")
"""What people have to say of the figures; stands in front of them."""
EVERYDAY = (
    "`benchmarks/everyday.py` beside `benchmarks/floor.py`: a person with 20 assets in five systems, each of which\n"
    "answers at once. The floor has the same durable hops and no logic. Latencies are from the request to its last\n"
    "command, both durable.\n\n"
)
