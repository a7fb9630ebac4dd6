"""The way from the data to each model: two programs find the same, and it is among the obligations."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from expunge.domain.evidence import verify
from expunge.domain.evidence.ways import MOST_PARENTS, Step, lines, summary, within
from tests.simulation import World
from tests.unit.test_certificates import Certificate

NAMES = [f"{each:02x}" * 32 for each in range(8)]
graphs = st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=4), max_size=8)
kinds_of = st.fixed_dictionaries({each: st.sampled_from(["object", "dataset", "model"]) for each in NAMES})


@given(graphs, kinds_of)
def test_two_programs_find_the_same_ways(graph: dict[str, list[str]], kinds: dict[str, str]) -> None:
    """Also where something was made from itself, or a name stands there that nothing is said of."""
    steps = within([Step(asset, tuple(parents)) for asset, parents in graph.items()], NAMES)
    made = {each.asset: list(each.made_from) for each in steps}
    models = [asset for asset in made if kinds[asset] == "model"]
    found = Counter(tuple(kinds[each] for each in verify._shortest(asset, made)) for asset in models)
    said = summary(steps, kinds)
    assert {tuple(each["way"]): each["count"] for each in said} == found
    assert sum(each["count"] for each in said) == len(models)
    assert all(each["way"][-1] == "model" for each in said)
    assert len(list(lines(steps))) == len(steps)


def test_what_is_no_obligation_stands_on_no_way() -> None:
    steps = [Step("b", ("a", "x", "a")), Step("y", ("a",))]
    assert within(steps, {"a", "b"}) == [Step("b", ("a",))]


def ways(world: World, case_id: str) -> tuple[list[tuple[tuple[str, ...], int]], list[str]]:
    certificate = Certificate(world, case_id)
    steps = certificate.verified()
    assert all(step.passed for step in steps), steps
    said = certificate.statement["predicate"]
    return [(tuple(each["way"]), each["count"]) for each in said["models"]["ways"]], said["not_shown"]


def test_data_comes_into_models_by_sets_and_other_models(tmp_path: Path) -> None:
    world = World(signs=True, evidence=tmp_path)
    world.register("photo", data_sources=["supplier-a"])
    world.register("vector", "embedding", "ml", parents=["photo"])
    world.register("set", "dataset", "ml", parents=["photo"], aliases=["latest"])
    world.register("base", "model", "ml", parents=["set"])
    world.register("tuned", "model", "ml", parents=["base"])
    world.register("served", "deployment", "ml", parents=["tuned"])
    world.register("search", "model", "ml", parents=["vector"])
    world.register("alone", "model", "ml", data_sources=["supplier-a"])
    case_id = world.withdraw("supplier-a")
    world.settle()
    found, not_shown = ways(world, case_id)
    assert dict(found) == {
        ("model",): 1,
        ("object", "dataset", "model"): 1,
        ("object", "dataset", "model", "model"): 1,
        ("object", "dataset", "model", "model", "deployment"): 1,
        ("object", "embedding", "model"): 1,
    }
    assert any("the way from the data to some of the models" in each for each in not_shown)


def test_a_set_of_many_parts_is_told_in_bounds_and_where_all_is_shown_nothing_is_missing(tmp_path: Path) -> None:
    world = World(signs=True, evidence=tmp_path)
    for each in range(MOST_PARENTS + 20):
        world.register(f"p{each}", subjects=["ann"])
    world.register("set", "dataset", "ml", parents=[f"p{each}" for each in range(MOST_PARENTS + 20)])
    world.register("net", "model", "ml", parents=["set"])
    case_id = world.erase("ann")
    world.settle()
    found, not_shown = ways(world, case_id)
    assert found == [(("object", "dataset", "model"), 1)]
    assert not any("the way from the data" in each for each in not_shown)
    assert max(each.count(b'"') for each in Certificate(world, case_id).ways) < 3 * MOST_PARENTS


def test_when_the_case_was_forgotten_no_way_is_told(tmp_path: Path) -> None:
    world = World(signs=True, evidence=tmp_path)
    world.register("p", subjects=["ann"])
    world.register("net", "model", "ml", parents=["p"])
    case_id = world.erase("ann")
    world.settle()
    assert ways(world, case_id)[0] == [(("object", "model"), 1)]
