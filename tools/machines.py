"""Writes docs/machines.md: pictures of the state machines, drawn from what the code does; `--check` compares instead.

The facts of simulated deployments are replayed one by one, and every step from one state to another that they lead to
is drawn. So a picture shows what can happen, as far as the story of tools/schemas.py and the histories here tell it.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import cast

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from expunge.domain.case import facts  # noqa: E402 - the tree is not installed as a package
from expunge.domain.case.apply import apply, open_case  # noqa: E402
from expunge.domain.case.chunks import ChunkState  # noqa: E402
from expunge.domain.partition import partition_of  # noqa: E402
from tests.simulation import PARTITIONS, World  # noqa: E402
from tools.schemas import story  # noqa: E402

PAGE = ROOT / "docs" / "machines.md"
Steps = dict[tuple[str, str], set[str]]


def histories() -> list[World]:
    """The story, and what it does not tell: a system that answers after the due date, words upon words."""
    late = World()
    late.register("photo", subjects=["ann"])
    late.answers["photos"] = lambda _: []
    late.erase("ann")
    late.settle(ticks=1)
    late.tick(40 * 86_400)
    late.settle(ticks=1)
    late.answers.clear()
    late.tick(86_400)
    late.settle(ticks=1)
    late.register("photo", subjects=["ann"], event="restored from a backup")
    late.settle(ticks=2)
    words = World()
    words.register("one", subjects=["bob"])
    words.register("tape", "backup", "ml", parents=["one"])
    words.order("hold.placed", key="h", hold_id="h", scope={"asset": "one"}, basis="b", custodian="c")
    case_id = words.erase("bob")
    words.settle(ticks=2)
    words.order("hold.released", key="h", hold_id="h")
    words.settle(ticks=2)
    words.say("request.cancelled", case_id, reason="x")
    words.settle(ticks=1)
    return [story(), late, words]


def steps(world: World) -> tuple[Steps, Steps]:
    """Steps of cases and of chunks: (before, after) -> the facts that lead there."""
    cases: Steps = defaultdict(set)
    chunk_steps: Steps = defaultdict(set)
    opened = {each["data"]["case_id"] for each in world.broker.events("ledger")}
    for case_id in sorted(opened):
        root = world.store.root(partition_of(case_id, PARTITIONS), case_id)
        first, *others = world.facts(case_id)
        case = open_case(cast("facts.Opened", first), root, world.broker.now)
        cases["[*]", case.status.value].add("opened")
        chunks: dict[str, ChunkState] = {}
        for fact in others:
            before, phases = case.status.value, {digest: chunk.phase.value for digest, chunk in chunks.items()}
            case, touched = apply(case, chunks, fact)
            chunks |= touched
            if case.status.value != before:
                cases[before, case.status.value].add(fact.fact)
            for digest, chunk in touched.items():
                was = phases.get(digest, "[*]")
                if chunk.phase.value != was:
                    chunk_steps[was, chunk.phase.value].add(fact.fact)
    return cases, chunk_steps


def drawn(found: Steps) -> str:
    """A Mermaid state diagram."""
    lines = [f"    {a} --> {b}: {', '.join(sorted(by))}" for (a, b), by in sorted(found.items())]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


def page() -> str:
    """The whole page."""
    cases: Steps = defaultdict(set)
    chunks: Steps = defaultdict(set)
    for world in histories():
        for known, more in zip((cases, chunks), steps(world), strict=True):
            for step, by in more.items():
                known[step] |= by
    return f"""# The state machines

Drawn by `tools/machines.py` from the facts of simulated deployments, and held to the code by `make check`: each arrow
is a step that was taken there, with the facts that led to it. Names are those of the ledger.

## A case

{drawn(cases)}

`refused` and `cancelled` are never left. While a case is being cancelled it keeps its state until no system has a
command of it.

## A chunk: one command, and what takes its place

{drawn(chunks)}

A chunk is `sent` while its system may carry its command out, and after that with what was answered; `recalled` until
the system says that it lets go; `barred` while something keeps its next command back: a pause, a hold, a cancellation,
or a look into holds.

## A hold

```mermaid
stateDiagram-v2
    [*] --> taking_effect: placed
    taking_effect --> in_force: every partition has heard it, and no system may act against it
    in_force --> in_force: past its review (reported)
    taking_effect --> released: released
    in_force --> released: released
```

What it covers goes from any open answer to `held`, and back when no other hold covers it.
"""


def main() -> int:
    """Write, or with --check compare."""
    wanted = page()
    if "--check" in sys.argv:
        if not PAGE.exists() or PAGE.read_text() != wanted:
            print("docs/machines.md is not what the code does: run `make fix`")
            return 1
        print("machines: the pictures agree with the code")
        return 0
    PAGE.write_text(wanted)
    print("machines: docs/machines.md written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
