"""What the command line says of an operator's word that was published: what is true, and not what was seen first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest
import typer

from expunge.adapters.policy_file import load_policy
from expunge.bootstrap import Installation
from expunge.cli import words
from expunge.domain.events import Event, Position, Record
from expunge.domain.registry import Registry
from expunge.errors import Unavailable
from expunge.runtime.label import Label

POLICY = load_policy(None)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def letter(data: object) -> Record:
    said = {"specversion": "1.0", "id": "1", "source": "/x", "type": "expunge.message.set_aside.v1", "data": data}
    return Record("dead-letters", 0, Position(0, 0), NOW, None, json.dumps(said).encode())


class Letters:
    """A topic of dead letters; what is there is handed over once."""

    def __init__(self, *there: Record, away: bool = False) -> None:
        self.there, self.away, self.closed = list(there), away, False

    def to_the_end(self) -> Iterator[Record]:
        if self.away:
            raise Unavailable("Kafka is away")
        found, self.there = self.there, []
        return iter(found)

    def close(self) -> None:
        self.closed = True


class House:
    """An installation of which only the dead letters matter."""

    def __init__(self, letters: Letters) -> None:
        self.letters = letters

    def reader(self, topics: Sequence[str], since: datetime) -> Letters:
        del topics, since
        return self.letters


WORD = words.SaidWord(Event("t", "/x", "1", NOW, {}), "w", frozenset({"c"}))


def watched(letters: Letters, *, seen: bool) -> tuple[bool, str]:
    return words._watched(cast("Installation", House(letters)), WORD, lambda: seen, bool, 0)


def test_a_word_that_was_heard_and_then_refused_is_refused() -> None:
    """`case decide --option retrain_now` said "heard" of what the model's aggregate had refused behind the case."""
    letters = Letters(letter({"digest": "other", "reason": "x"}), letter({"digest": "c", "reason": "no_model_waits"}))
    assert watched(letters, seen=True) == (True, "no_model_waits")
    assert letters.closed


@pytest.mark.parametrize("data", [None, 7, [], "text", {}, {"digest": ["c"]}, {"digest": {"c": 1}}, {"reason": "x"}])
def test_a_dead_letter_of_another_shape_is_passed_over(data: object) -> None:
    assert watched(Letters(letter(data)), seen=True) == (True, "")


def test_a_server_that_goes_away_meanwhile_is_said_and_nothing_stays_open(capsys: pytest.CaptureFixture[str]) -> None:
    letters = Letters(away=True)
    with pytest.raises(typer.Exit) as ended:
        watched(letters, seen=False)
    assert ended.value.exit_code == 3
    assert letters.closed
    assert "it was said, and what comes of it cannot be seen: Kafka is away" in capsys.readouterr().err


def test_a_label_says_with_what_a_process_runs() -> None:
    ours = Label.of(Registry(), POLICY)
    assert Label.read(str(ours)) == ours
    other: dict[str, Any] = {"policy": "0" * 8, "declarations": "1" * 8}
    assert not ours.differing(ours)
    assert ours._replace(**other).differing(ours) == "another policy and other declarations"
    assert ours._replace(version="9", **other).differing(ours) == "version 9"


@pytest.mark.parametrize("client_id", ["", "kafka-python-3.0.12", "expunge.0a1b2c3d.0a1b2c3d", "expunge-1", "a_b_c"])
def test_a_process_that_says_nothing_of_itself_runs_with_another_version(client_id: str) -> None:
    """It was said to run with another policy and other declarations, too, which nobody knows."""
    assert Label.read(client_id).differing(Label.of(Registry(), POLICY)) == "another version"
