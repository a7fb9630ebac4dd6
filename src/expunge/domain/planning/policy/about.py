"""What a request is about, in the words of a policy."""

from __future__ import annotations

from enum import StrEnum


class About(StrEnum):
    """What a request is about, in the words of a policy."""

    SUBJECT = "subject"
    PURPOSE = "purpose"
    DATA_SOURCE = "data_source"
    ASSET = "asset"
    RESTRICTION = "restriction"
