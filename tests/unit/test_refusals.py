"""What may count as done for a model, by regime, and what may not: refused by the name of its rule."""

from __future__ import annotations

import pytest

from expunge.domain.vocabulary import Regime
from tests.simulation import World, receipt


def answered(regime: Regime, claim: str, method: str | None) -> tuple[World, str]:
    """A model made from a person's photo, and what its system says that it did."""
    world = World()
    world.register("photo", subjects=["ann"])
    world.register("model", "model", "ml", parents=["photo"])
    world.settle()
    outcome = {"claim": claim} | ({"method": method} if method else {})
    world.answers["ml"] = lambda command: [receipt(command, all=outcome)]
    case_id = world.erase("ann", regime=regime.value)
    world.settle(ticks=12)
    return world, case_id


NO_ANSWER = "claim_does_not_answer"
"""Under BIPA a model is told to be deleted; making it anew is no answer to that."""
SHARD, UNLEARN, FILTER = "exact_shard_retrain", "approximate_unlearning", "output_filter"


@pytest.mark.parametrize("regime", list(Regime))
@pytest.mark.parametrize(
    ("claim", "method", "refused_by"),
    [
        ("deleted", None, {}),
        ("retrained_without", None, {Regime.BIPA: NO_ANSWER}),
        (
            "retrained_without",
            SHARD,
            {Regime.ORDER: "no-shard-retrain-for-orders", Regime.BIPA: NO_ANSWER},
        ),
        ("retrained_without", UNLEARN, dict.fromkeys(Regime, "no-approximate-unlearning") | {Regime.BIPA: NO_ANSWER}),
        ("retrained_without", FILTER, dict.fromkeys(Regime, "no-output-filter") | {Regime.BIPA: NO_ANSWER}),
        ("deleted", "masking", dict.fromkeys(Regime, "no-masking")),
    ],
)
def test_the_matrix_of_models(regime: Regime, claim: str, method: str | None, refused_by: dict[Regime, str]) -> None:
    world, case_id = answered(regime, claim, method)
    rule = refused_by.get(regime)
    if rule is None:
        assert world.status(case_id) == "completed"
        return
    assert world.status(case_id) == "partially_completed"
    failures = world.confirmations("partially_completed")[-1]["failures"]
    assert [(line["claim"], line["reason"]) for line in failures] == [("failed", rule)]


def test_a_better_answer_takes_the_place_of_one_that_was_refused() -> None:
    world, case_id = answered(Regime.GDPR, "retrained_without", UNLEARN)
    world.answers["ml"] = lambda command: [receipt(command, all={"claim": "retrained_without"})]
    world.tick(2 * 86_400)
    world.settle(ticks=2)
    assert world.status(case_id) == "completed"
