"""Looking again after a server was away."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from expunge.cli import looking


class Reader:
    closed = 0

    def close(self) -> None:
        self.closed += 1


def test_whoever_begins_anew_closes_what_it_had_once_and_uses_it_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A screen that began anew left its new reader open, and closed the old one twice."""
    readers = [Reader(), Reader()]
    made = [SimpleNamespace(broker=SimpleNamespace(reader=lambda *_, each=each: each)) for each in readers]
    broken, again = cast("list[Any]", made)
    monkeypatch.setattr(looking, "reopened", lambda _: again)
    lookout = looking.Lookout(broken)
    assert cast("Any", lookout._reader) is readers[0]
    lookout.begin_anew()
    assert cast("Any", lookout._reader) is readers[1]
    lookout.close()
    lookout.close()
    assert [each.closed for each in readers] == [1, 1]
