"""What the Redis client is given: no server is needed for that."""

from __future__ import annotations

import json

import pytest

from expunge.adapters.redis.server import Server
from expunge.errors import ConfigurationError


@pytest.mark.parametrize("url", ["http://:hunter2@host", "redis//host", "redis://host:hunter2/0", ""])
def test_an_address_that_is_none_is_an_error_for_people(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"redis\.url") as refused:
        Server(url, "x.")
    assert "hunter2" not in json.dumps(str(refused.value))
