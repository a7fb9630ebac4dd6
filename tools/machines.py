"""Writes docs/machines.md: pictures of the state machines, drawn from what the code does; `--check` compares instead.

The facts of simulated deployments are replayed one by one, and every step from one state to another that they lead to
is drawn. So a picture shows what can happen, as far as the story of tools/schemas.py and the histories here tell it.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from expunge.domain.aggregates.case.chunks import ChunkState  # noqa: E402 - the tree is not installed as a package
from expunge.domain.aggregates.case.fact import apply  # noqa: E402
from expunge.domain.aggregates.case.models import is_model, state_of  # noqa: E402
from expunge.domain.aggregates.case.opening import Opened  # noqa: E402
from expunge.domain.aggregates.retraining.facts import apply as apply_retraining  # noqa: E402
from expunge.domain.aggregates.retraining.facts import first_state  # noqa: E402
from expunge.domain.aggregates.retraining.state import Retraining, RoundPhase  # noqa: E402
from expunge.domain.events import stamp  # noqa: E402
from expunge.domain.partition import partition_of  # noqa: E402
from expunge.domain.planning.policy.models import Models  # noqa: E402
from expunge.domain.planning.policy.rules import DispositionRule  # noqa: E402
from tests.simulation import PARTITIONS, World, honest, receipt  # noqa: E402
from tools.pages import write_or_compare  # noqa: E402
from tools.story import story  # noqa: E402

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
    unplanned = World()  # no resolver runs before the due date
    unplanned.register("photo", subjects=["eve"])
    unplanned.settle(ticks=0)
    unplanned.erase("eve")
    for _ in range(80):
        unplanned.tick(86_400 / 2)
        for role in ("intake", "coordinator", "notary"):
            unplanned.step(role, 50)
    unplanned.settle(ticks=3)
    words = World()
    words.watches_holds = True
    words.register("one", subjects=["bob"])
    words.register("tape", "backup", "ml", parents=["one"])
    review = {"review_by": stamp(words.broker.now + timedelta(days=1))}
    words.order("hold.placed", key="h", hold_id="h", scope={"asset": "one"}, basis="b", custodian="c", **review)
    case_id = words.erase("bob")
    words.settle(ticks=2)
    words.tick(2 * 86_400)
    words.settle(ticks=2)
    words.order("hold.released", key="h", hold_id="h")
    words.settle(ticks=2)
    words.say("request.cancelled", case_id, reason="x")
    words.settle(ticks=1)
    return [story(), late, unplanned, words, *_models()]


def _models() -> list[World]:
    """Models: quarantined, held, put off, kept, anonymous, refused; a hold that takes effect late."""
    served = {"id": "served", "when": {"kind": "deployment"}, "first": "disable", "then": "rebuild_without"}
    kept = {"id": "kept", "when": {"category": "biometric"}, "then": "exempt", "legal_basis": "a law"}
    found = []
    for claim in ("retrained_without", "deferred", "anonymised_with_proof", "failed"):
        world = World()
        world.watches_holds = True
        policy = world.policies.current
        rules = (*map(DispositionRule.model_validate, (served, kept)), *policy.dispositions)
        changes = {"dispositions": rules, "models": Models(collect_hours=24)}
        world.policies.change(policy.model_copy(update=changes))
        world.register("photo", subjects=["ann"])
        world.register("net", "model", "ml", parents=["photo"])
        world.register("law", "model", "ml", parents=["photo"], categories=["biometric"])
        world.register("live", "deployment", "ml", parents=["net"])
        outcome = {"claim": claim, "artefact_digest": "sha256:ab", "until": stamp(world.broker.now + timedelta(days=9))}
        world.answers["ml"] = partial(_says, outcome)
        world.settle(ticks=1)
        world.erase("ann", received_at=stamp(world.broker.now))
        world.settle(ticks=1)
        world.tick(86_400)
        if claim == "failed":
            world.answers["ml"] = lambda command: [] if command["action"] == "retrain_without" else honest(command)
            world.settle(ticks=1)
            world.deaf.add("ml")
            world.order("hold.placed", key="h", hold_id="h", scope={"asset": "net"}, basis="b", custodian="c")
            world.settle(ticks=1)
            world.deaf.clear()
            world.tick(3600)
            world.settle(ticks=1)
            world.order("hold.released", key="h", hold_id="h")
            world.settle(ticks=1)
            world.answers["ml"] = lambda command: [receipt(command, all={"claim": "failed"})]
            world.tick(86_400)
        world.settle(ticks=1)
        world.answers.clear()
        for _ in range(3):
            world.tick(5 * 86_400)
            world.settle(ticks=2)
        found.append(world)
    return found


class Machines(NamedTuple):
    """The steps of each machine."""

    cases: Steps
    chunks: Steps
    models: Steps
    retrains: Steps
    holds: Steps


def _says(outcome: dict[str, str], command: dict[str, Any]) -> list[dict[str, Any]]:
    anew = command["action"] == "retrain_without"
    return [receipt(command, all=dict(outcome))] if anew else honest(command)


def nothing() -> Machines:
    """No steps yet."""
    return Machines(defaultdict(set), defaultdict(set), defaultdict(set), defaultdict(set), defaultdict(set))


def steps(world: World) -> Machines:
    """Steps of every machine: (before, after) -> what leads there."""
    found = nothing()
    kinds: dict[str, str] = {}
    for event in world.broker.events("ledger"):
        kinds.setdefault(event["data"]["case_id"], event["type"])
    for key, first in sorted(kinds.items()):
        if first.startswith("expunge.ledger.retrain_"):
            of_retrain(world, key, found.retrains)
        else:
            of_case(world, key, found)
    of_holds(world, found.holds)
    return found


def of_case(world: World, case_id: str, found: Machines) -> None:
    """A case, its chunks, and its models."""
    root = world.store.reader(partition_of(case_id, PARTITIONS)).root(case_id)
    first, *others = world.facts(case_id)
    case = cast("Opened", first).begin(root, world.broker.now)
    found.cases["[*]", case.status.value].add("opened")
    chunks: dict[str, ChunkState] = {}
    models: dict[str, str] = {}
    for fact in others:
        before, phases = case.status.value, {digest: chunk.phase.value for digest, chunk in chunks.items()}
        case, touched = apply(case, chunks, fact)
        chunks |= touched
        if case.status.value != before:
            found.cases[before, case.status.value].add(fact.fact)
        for digest, chunk in touched.items():
            was = phases.get(digest, "[*]")
            if chunk.phase.value != was:
                found.chunks[was, chunk.phase.value].add(fact.fact)
        for digest, chunk in chunks.items():
            if not is_model(chunk):
                continue
            state, was = state_of(case, chunk).value, models.get(digest, "[*]")
            if state != was:
                found.models[was, state].add(fact.fact if digest in touched else "elsewhere in the case")
            models[digest] = state


def of_retrain(world: World, key: str, found: Steps) -> None:
    """A model that is made anew for several cases; while its owner has no command, somebody waits or nobody does."""

    def name(state: Retraining) -> str:
        waits = "collecting" if state.waiting else "idle"
        return waits if state.phase is RoundPhase.IDLE else state.phase.value

    kept = world.retraining(key)
    state = first_state(key, kept.system, kept.policy, kept.now)
    before = "[*]"
    for fact in world.retrain_facts()[key]:
        state = apply_retraining(state, fact)
        if name(state) != before:
            found[before, name(state)].add(fact.fact)
        before = name(state)


def of_holds(world: World, found: Steps) -> None:
    """A hold, as `hold list` would say it after every step of the deployment (`World.seen_holds`)."""
    for states in world.seen_holds.values():
        before = "[*]"
        for state, why in states:
            found[before, state].add(why)
            before = state


def drawn(found: Steps) -> str:
    """A Mermaid state diagram."""
    lines = [f"    {a} --> {b}: {', '.join(sorted(by))}" for (a, b), by in sorted(found.items())]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


def page() -> str:
    """The whole page."""
    cases, chunks, models, retrains, holds = whole = nothing()
    for world in histories():
        for known, more in zip(whole, steps(world), strict=True):
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

## A model in a case

What a regulator asks: how far has each model come? A view of its chunk and of its case's counts
(`domain/aggregates/case/models.py`), kept nowhere.

{drawn(models)}

`quarantined`: what serves it was disabled first. `artefacts_destroyed`: its owner says that it was made anew, and its
replacement is not known to be clean. `verified`: its answer counts; `closed`: nothing that is made with models is open
in the case any more. [models.md](models.md) says when an answer counts.

## A model that is made anew for several cases

{drawn(retrains)}

`collecting`: its owner has no command, and somebody waits for one.

## A hold

{drawn(holds)}

What it covers goes from any open answer to `held`, and back when no other hold covers it.
"""


if __name__ == "__main__":
    sys.exit(write_or_compare("machines", page()))
