"""What all values are made of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, StringConstraints

A_DAY = timedelta(days=1)

Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""A 16-byte key or id in hexadecimal."""


_new, _set = object.__new__, object.__setattr__


class Value(BaseModel):
    """Base of Expunge's own immutable values; `repr` shows no content."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with some fields changed, unchecked. Decisions make many, and the library takes five times as long."""
        if deep:
            return super().model_copy(update=update, deep=True)
        copied = _new(type(self))
        _set(copied, "__dict__", {**self.__dict__, **(update or {})})
        _set(copied, "__pydantic_fields_set__", self.__pydantic_fields_set__.union(update or ()))
        _set(copied, "__pydantic_extra__", None)
        _set(copied, "__pydantic_private__", None)
        return copied

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    __str__ = __repr__
