"""What all values are made of."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

A_DAY = timedelta(days=1)

Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""A 16-byte key or id in hexadecimal."""


class Value(BaseModel):
    """Base of Expunge's own immutable values; `repr` shows no content."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    __str__ = __repr__
