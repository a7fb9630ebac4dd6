"""The prober's side: it looks, says what it saw under its own key, and costs nobody anything by what it raises."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from expunge.adapters.signing import create
from expunge.agent import ProbeAgent, Seen, Target, absent, found, unknown
from expunge.agent.filesystem import Filesystem, FilesystemProber
from expunge.agent.probing import LOOK_SECONDS, MOST_RAISED
from expunge.agent.sqlite import SqliteProber, Table
from expunge.agent.types import Person
from expunge.domain.events import CloudEvent, Event, Outgoing
from expunge.domain.signatures import opened
from expunge.domain.vocabulary import Action, Kind
from expunge.errors import ConfigurationError
from tests.agents import NOW, Broker, Clock, put_on

NAMES = tuple(f"p{each}" for each in range(500))


class Store:
    """Somebody who looks; `raises` says at which assets."""

    def __init__(self, *assets: str) -> None:
        self.assets, self.raises, self.looks = set(assets), set[str](), 0
        self.answer: Callable[[Sequence[Target]], Any] | None = None

    def probe(self, batch: Sequence[Target]) -> Any:
        self.looks += 1
        if self.raises.intersection(each.asset for each in batch):
            raise PermissionError("ann@example.com")
        if self.answer is not None:
            return self.answer(batch)
        return [found(each) if each.asset in self.assets else absent(each) for each in batch]


class Lab:
    """A prober on a broker in memory."""

    def __init__(self, folder: Path, store: Any) -> None:
        self.broker, self.clock, key = Broker(), Clock(), folder / "prober.key"
        self.public = create(key).public
        self.events: list[dict[str, Any]] = []
        self.prober = ProbeAgent("s", store, signing_key=key, bootstrap_servers="nowhere:1")
        put_on(self.prober._post, self.broker, self.clock)
        self.broker.send = self._take  # type: ignore[method-assign]

    def _take(self, outgoing: Sequence[Outgoing]) -> Sequence[Any]:
        for each in outgoing:
            assert each.topic == "findings.s"
            event, signers = opened(CloudEvent.model_validate_json(each.value or b""), [self.public])
            assert signers == {self.public}
            self.events.append(event.data)
        return ()

    def asks(self, *raw: bytes) -> list[dict[str, Any]]:
        before = len(self.events)
        self.broker.waiting += raw
        self.prober.turn(lambda _: None)
        return self.events[before:]


def question(*assets: str, kind: str = "object", **more: Any) -> bytes:
    data = {
        "number": 1,
        "case_id": "a" * 32,
        "command_id": "b" * 32,
        "system": "s",
        "answer_by": "2026-12-01T00:00:00.000Z",
        "targets": [{"asset": each, "kind": kind} for each in assets],
    }
    return Event("expunge.probe.asked.v1", "/expunge/coordinator", "q1", NOW, data | more).encode()


def seen(said: list[dict[str, Any]]) -> list[tuple[str, str, str | None]]:
    return [(each["asset"], each["finding"], each.get("reason_code")) for one in said for each in one["results"]]


def test_what_is_not_there_is_said_in_a_word_and_what_is_by_name(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Store("p2"))
    (said,) = lab.asks(question("p1", "p3"))
    assert said["all"] == "absent"
    assert (said["number"], said["case_id"], said["command_id"], said["system"]) == (1, "a" * 32, "b" * 32, "s")
    assert seen(lab.asks(question("p1", "p2"))) == [("p1", "absent", None), ("p2", "found", None)]
    assert lab.broker.committed == 2


def test_what_a_look_raises_costs_the_target_at_which_it_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store()
    store.raises = {"p3"}
    lab = Lab(tmp_path, store)
    said = {asset: (finding, why) for asset, finding, why in seen(lab.asks(question("p1", "p2", "p3", "p4")))}
    assert said.pop("p3") == ("unknown", "raised_permission_error")
    assert set(said.values()) == {("absent", None)}
    assert "ann@" not in capsys.readouterr().out


def test_a_store_that_is_down_is_not_asked_for_ever(tmp_path: Path) -> None:
    store = Store()
    store.raises = {f"p{each}" for each in range(500)}
    said = seen(Lab(tmp_path, store).asks(question(*sorted(store.raises))))
    assert store.looks == MOST_RAISED
    assert len(said) == 500
    assert {finding for _, finding, _ in said} == {"unknown"}


def test_culprits_all_over_a_question_do_not_hide_everybody(tmp_path: Path) -> None:
    store = Store("p7")
    store.raises = {"p3", "p450"}
    said = {asset: finding for asset, finding, _ in seen(Lab(tmp_path, store).asks(question(*NAMES)))}
    assert said["p7"] == "found"
    assert {asset for asset, finding in said.items() if finding == "unknown"} == store.raises


def test_a_slow_store_does_not_hold_a_question_for_ever(tmp_path: Path) -> None:
    store = Store()
    lab = Lab(tmp_path, store)

    def slowly(batch: Sequence[Target]) -> list[Seen]:
        lab.clock.at += timedelta(seconds=LOOK_SECONDS / 2 + 1)
        return [absent(each) for each in batch]

    store.answer = slowly
    said = seen(lab.asks(question(*NAMES)))
    counts = Counter((finding, reason) for _, finding, reason in said)
    assert counts == {("absent", None): 200, ("unknown", "took_too_long"): 300}


def test_a_reason_that_cannot_be_sent_hides_nothing_that_was_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A code is a code: what a prober's own words say of somebody is not passed on."""
    store = Store()
    lab = Lab(tmp_path, store)
    for reason in ("Could not see ann@example.com", OSError("ann@example.com"), None, "x" * 65):
        store.answer = lambda batch, why=reason: [unknown(batch[0], why), found(batch[1])]
        said = seen(lab.asks(question("p1", "p2")))
        assert ("p2", "found", None) in said
        assert ("p1", "unknown", "invalid_result") in said or reason is None
    assert "ann@" not in capsys.readouterr().out


def test_a_prober_may_answer_one_by_one(tmp_path: Path) -> None:
    store = Store()
    store.answer = lambda batch: (absent(each) for each in batch)
    (said,) = Lab(tmp_path, store).asks(question("p1", "p2"))
    assert said["all"] == "absent"


def test_a_topic_that_is_missing_says_so(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Store())

    def missing(topic: str) -> int:
        raise ConfigurationError(f"topic {topic} is missing")

    lab.broker.partitions = missing  # type: ignore[method-assign,assignment]
    with pytest.raises(ConfigurationError, match="is missing"):
        lab.asks()


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: [],
        lambda batch: [absent(batch[0])],
        lambda batch: ["absent" for _ in batch],
        lambda _: None,
        lambda batch: [Seen(Target("c" * 32, "d" * 32, "p1", Kind.OBJECT, Action.PROBE), absent(batch[0]).finding)],
    ],
)
def test_who_says_nothing_of_a_target_has_shown_nothing(tmp_path: Path, answer: Callable[[Any], Any]) -> None:
    store = Store()
    store.answer = answer
    said = seen(Lab(tmp_path, store).asks(question("p1", "p2")))
    assert ("p2", "absent", None) not in said
    assert {asset for asset, _, _ in said} == {"p1", "p2"}


def test_what_is_no_question_is_passed_over_and_a_kind_of_a_later_version_cannot_be_told(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Store())
    wrong = Event("expunge.purge.commanded.v1", "/x", "1", NOW, {}).encode()
    assert lab.asks(b"{", wrong, question("p1", number=0)) == []
    assert seen(lab.asks(question("p1", kind="hologram"))) == [("p1", "unknown", "unsupported_kind")]


def test_a_long_answer_is_cut_and_nothing_is_left_out(tmp_path: Path) -> None:
    assets = [f"{each:04d}" + "x" * 1990 for each in range(900)]
    lab = Lab(tmp_path, Store(assets[0]))
    said = lab.asks(question(*assets))
    assert len(said) > 1
    assert {asset for asset, _, _ in seen(said)} == set(assets)
    assert all(len(orjson.dumps(each)) < 700_000 for each in said)


def test_the_same_question_is_answered_again(tmp_path: Path) -> None:
    store = Store("p1")
    lab = Lab(tmp_path, store)
    assert seen(lab.asks(question("p1"))) == [("p1", "found", None)]
    store.assets.clear()
    assert lab.asks(question("p1"))[0]["all"] == "absent"


def target(asset: str, *people: Person) -> Target:
    return Target("b" * 32, "a" * 32, asset, Kind.OBJECT, Action.PROBE, people=people)


def findings(prober: FilesystemProber, *assets: str) -> list[str]:
    return [each.finding.value for each in prober.probe([target(each) for each in assets])]


def test_a_file_is_there_under_its_name_or_where_restricted_ones_are(tmp_path: Path) -> None:
    agent, prober = Filesystem(tmp_path, "file://"), FilesystemProber(tmp_path, "file://")
    (tmp_path / "a").write_text("x")
    assert findings(prober, "file://a", "file://b", "file://no/such") == ["found", "absent", "absent"]
    agent.purge([Target("b" * 32, "a" * 32, "file://a", Kind.OBJECT, Action.RESTRICT)])
    assert not (tmp_path / "a").exists()
    assert findings(prober, "file://a") == ["found"]
    assert prober.probe([target("s3://a")]) == [unknown(target("s3://a"), "foreign_asset")]
    assert findings(prober, "file://../a", "file://./a", "file://a/", "file://a\0b") == ["unknown"] * 4


def test_whatever_has_the_name_of_a_file_is_seen_and_nothing_is_changed(tmp_path: Path) -> None:
    """Another name of its bytes, a link or a directory in its place do not hide that it was not deleted."""
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    (tmp_path / "c").symlink_to(tmp_path / "nowhere")
    (tmp_path / "d").mkdir()
    (tmp_path / ".expunge-making").mkdir()
    (tmp_path / ".expunge-making/under-way").write_text("the agent's")
    prober = FilesystemProber(tmp_path, "file://")
    assert findings(prober, *(f"file://{each}" for each in "abcd")) == ["found"] * 4
    assert (tmp_path / ".expunge-making/under-way").exists()
    assert findings(prober, "file://a/x", "file://c/x") == ["unknown"] * 2


def test_what_may_not_be_read_cannot_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    prober = FilesystemProber(tmp_path, "file://")
    real = os.open

    def guarded(path: Any, *arguments: Any, **named: Any) -> int:
        if path == "closed":
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **named)

    monkeypatch.setattr(os, "open", guarded)
    assert prober.probe([target("file://closed/x")]) == [unknown(target("file://closed/x"), "permission_denied")]


def test_of_two_findings_about_one_target_the_worse_is_said(tmp_path: Path) -> None:
    store = Store()
    store.answer = lambda batch: [each for one in batch for each in (found(one), unknown(one, "why"), absent(one))]
    assert seen(Lab(tmp_path, store).asks(question("p1"))) == [("p1", "found", None)]


def test_rows_of_a_person_are_found_and_nobody_is_called_absent_who_cannot_be_looked_for(tmp_path: Path) -> None:
    database = tmp_path / "users.db"
    with sqlite3.connect(database) as connection:
        connection.execute("create table users (id text)")
        connection.execute("insert into users values ('ann')")
    agent = SqliteProber(database, [Table("users", "user_id", "id")])
    ann = Person("p" * 32, namespace="user_id", id="ann")
    bob = Person("q" * 32, namespace="user_id", id="bob")
    assert agent.probe([target("h", ann), target("h", bob)]) == [found(target("h", ann)), absent(target("h", bob))]
    for nobody in (Person("q" * 32, namespace="user_id"), Person("q" * 32, namespace="user_id", closed=True)):
        assert agent.probe([target("h", nobody)])[0].finding.value == "unknown"
    assert agent.probe([target("h")])[0].finding.value == "unknown"
    mail = Person("q" * 32, namespace="email", id="ann@example.com")
    assert agent.probe([target("h", mail)]) == [unknown(target("h", mail), "nothing_to_search")]
    before = database.read_bytes()
    with sqlite3.connect(database, isolation_level=None) as writer:
        writer.execute("pragma journal_mode = wal")
        writer.execute("insert into users values ('bob')")
        assert agent.probe([target("h", bob)]) == [found(target("h", bob))]
        assert Path(f"{database}-wal").stat().st_size > 0  # what is in the log stays there
    assert before
    with sqlite3.connect(database) as connection:
        connection.execute("alter table users rename to people")
    assert agent.probe([target("h", ann)]) == [unknown(target("h", ann), "schema_changed")]
    database.unlink()
    assert agent.probe([target("h", ann)])[0].finding.value == "unknown"
