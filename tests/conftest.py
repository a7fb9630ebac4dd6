"""Real servers, started only when a test asks for them; unit and property tests need none."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis.internal.conjecture.optimiser  # noqa: F401 - in a test CPython 3.11 failed to compile it once
import pytest

from tests.servers import Servers, servers

for variable in [name for name in os.environ if name.startswith("EXPUNGE_") and not name.startswith("EXPUNGE_TEST_")]:
    del os.environ[variable]


@pytest.fixture(scope="session")
def real() -> Iterator[Servers]:
    with servers() as found:
        yield found
