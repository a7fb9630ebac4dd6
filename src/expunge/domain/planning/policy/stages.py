"""In which order a plan is carried out: stages, and their share of the time until the due date."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from expunge.domain.planning.policy.form import PolicyRow, RuleId, many
from expunge.domain.vocabulary import Action, Kind


class StageRule(PolicyRow):
    """What is purged together, and its share of the time until the due date."""

    name: RuleId
    kinds: Annotated[tuple[Kind, ...], BeforeValidator(many)] = ()
    actions: Annotated[tuple[Action, ...], BeforeValidator(many)] = ()
    """Only what is told to do one of these, whatever stage its kind has otherwise."""
    holdings: bool = False
    """Whether holdings are purged in this stage, whatever their kind."""
    share: int = Field(ge=1, le=100)
    """Per cent. Stages in which nothing is to be done leave their share to the others."""

    @model_validator(mode="after")
    def _takes_something(self) -> StageRule:
        if not (self.kinds or self.actions):
            raise ValueError("name kinds or actions")
        if self.actions and self.holdings:
            raise ValueError("a stage for some actions takes no holdings")
        return self

    def takes(self, kind: Kind, action: Action) -> bool:
        """Whether it is for what is told to do this, of its own right."""
        return action in self.actions and (not self.kinds or kind in self.kinds)


def stage_of(stages: Sequence[StageRule], kind: Kind, action: Action, *, holding: bool) -> int:
    """The number, from 1, of the stage of an obligation: that of its action, where there is one, else of its kind."""
    if holding:
        return next(number for number, stage in enumerate(stages, 1) if stage.holdings)
    own = (number for number, stage in enumerate(stages, 1) if stage.takes(kind, action))
    plain = (number for number, stage in enumerate(stages, 1) if not stage.actions and kind in stage.kinds)
    return next(own, None) or next(plain, len(stages))  # a kind that is younger than the policy comes last


def check_stages(stages: Sequence[StageRule]) -> None:
    """Hold the stages of a policy together.

    Raises:
        ValueError: a kind has no stage or two, or holdings have, or the shares are not a whole.
    """
    kinds = Counter(kind for stage in stages if not stage.actions for kind in stage.kinds)
    wrong = [kind for kind in Kind if kinds[kind] != 1]
    if wrong:
        raise ValueError(f"stages: kind {wrong[0]} stands in {kinds[wrong[0]]} stages, it must stand in one")
    if sum(stage.holdings for stage in stages) != 1:
        raise ValueError("stages: exactly one of them must have holdings: true")
    if sum(stage.share for stage in stages) != 100:  # noqa: PLR2004 - per cent
        raise ValueError("stages: the shares must add up to 100")
