"""What is played from end to end is searched for whom it names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deployment import SCANS


@pytest.fixture(scope="module", autouse=True)
def searched() -> Iterator[None]:
    before = SCANS.set(True)
    yield
    SCANS.reset(before)
