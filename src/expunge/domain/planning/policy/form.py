"""What all rows of a policy file have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

RuleId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
"""Every row has one, so that whatever is done can name its rule; ledger and confirmations repeat it."""


class PolicyRow(BaseModel):
    """Base of rows: an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def many(value: object) -> object:
    """One word stands for a list of one."""
    return (value,) if isinstance(value, str) else value
