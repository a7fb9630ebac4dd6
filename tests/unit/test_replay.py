"""What handling messages once more would do, and that it changes nothing where they were handled."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from expunge.domain.events import Record
from expunge.errors import InvalidMessage
from expunge.replay.forecast import Forecast, Outcome
from expunge.replay.form import form_of
from expunge.replay.handling import Handling
from expunge.replay.letters import Letter, LetterBook, letters, record_of, settled
from expunge.replay.selection import Selection
from expunge.wire.dead_letters import Fate
from tests.forecasting import forecast_all, forecaster
from tests.simulation import World

INLETS = ("requests", "controls", "registrations", "receipts", "findings")


def furnished() -> World:
    """A day: data of two people, a set that was made of it, a holding, and one of them is gone."""
    world = World()
    world.register("photo-1", subjects=["ann", "bob"], data_sources=["supplier-a"])
    world.register("photo-2", subjects=["ann"])
    world.register("set", "dataset", "ml", parents=["photo-1", "photo-2"])
    world.declare_holding("users.db", namespaces=["user_id"])
    world.settle()
    world.erase("ann")
    world.settle()
    world.grant("bob", "training")
    world.order("hold.placed", hold_id="h", scope={"subject": {"namespace": "user_id", "id": "bob"}}, **WHY)
    world.order("emission.paused", scope={"system": "photos"}, reason="why not")
    world.order("emission.resumed", scope={"system": "photos"})
    world.settle()
    assert not world.dead_letters()
    assert world.status(case_of(world)) == "completed"
    return world


WHY = {"basis": "litigation", "custodian": "counsel"}


def case_of(world: World, request: str = "r1") -> str:
    return world.keys.case("/app", request)


def last(world: World, topic: str) -> Forecast:
    """What handling the message would do that was appended last."""
    records = [record for (name, _), log in world.broker.logs.items() if name == topic for record in log]
    return forecaster(world).of(max(records, key=lambda each: each.appended_at), world.broker.now)


def test_what_was_handled_leads_to_nothing_and_looking_writes_nothing() -> None:
    world = furnished()
    index: Any = world.index
    before = ({place: len(log) for place, log in world.broker.logs.items()}, dict(index.raw), str(index.marked))
    told = forecast_all(world, *INLETS)
    assert len(told) > 10
    assert {said.outcome for _, said in told} == {Outcome.NOTHING}
    after = ({place: len(log) for place, log in world.broker.logs.items()}, dict(index.raw), str(index.marked))
    assert before == after


def opens(world: World) -> str:
    world.erase("bob", request="r2")
    return "requests"


def wrong(world: World) -> str:
    world.erase({"namespace": "nowhere", "id": "x"}, request="r2")
    return "requests"


def late(world: World) -> str:
    world.register("photo-9", subjects=["ann"], collected_at="2020-01-01T00:00:00Z")
    return "registrations"


def unheard_of(world: World) -> str:
    world.register("photo-9", subjects=["cleo"])
    return "registrations"


def pauses(world: World) -> str:
    world.order("emission.paused", scope={"system": "photos"}, reason="why not")
    return "controls"


def cancels_what_nobody_has_asked(world: World) -> str:
    world.say("request.cancelled", case_of(world, "never"), reason="why not")
    return "controls"


@pytest.mark.parametrize(
    ("happens", "outcome", "why"),
    [
        (opens, Outcome.OPENS, "opened"),
        (wrong, Outcome.DEAD_LETTER, "undeclared_namespace"),
        (late, Outcome.LATE, "walk_announced"),
        (unheard_of, Outcome.INDEXES, ""),
        (pauses, Outcome.CHANGES, ""),
        (cancels_what_nobody_has_asked, Outcome.DEAD_LETTER, "control_without_case"),
    ],
)
def test_each_outcome(happens: Callable[[World], str], outcome: Outcome, why: str) -> None:
    world = furnished()
    world.tick()
    topic = happens(world)
    said = last(world, topic)
    assert said.outcome is outcome
    assert why in (*said.why, "")
    world.settle()
    assert last(world, topic).outcome in {Outcome.NOTHING, Outcome.DEAD_LETTER}


def unheard(world: World, *, parked: bool) -> Record:
    """What the index has learned, and no case has heard of: `cases` was cut, or the indexer died behind its write."""
    record = newest(world, "registrations")
    while not parked and world.step("indexer", 50):
        pass
    if parked:
        for _ in world.roles["indexer"].handle([record]).waves:
            pass
        world.broker.send([each for wave in world.roles["indexer"].park(record, "MemoryError").waves for each in wave])
        world.committed["indexer", "registrations", record.partition] = record.position.offset + 1
    for (topic, number), log in world.broker.logs.items():
        if topic == "cases":
            world.committed["coordinator", topic, number] = len(log)
    world.settle()
    return record


def newest(world: World, topic: str) -> Record:
    records = [record for (name, _), log in world.broker.logs.items() if name == topic for record in log]
    return max(records, key=lambda each: each.appended_at)


def commands(world: World, system: str) -> int:
    return sum(len(log) for (topic, _), log in world.broker.logs.items() if topic == f"commands.{system}")


@pytest.mark.parametrize("parked", [False, True])
def test_what_the_index_knows_and_its_case_has_never_heard_of_is_not_called_handled(*, parked: bool) -> None:
    """A forecast of nothing was taken from the index alone; a late asset was left undeleted, and nobody told."""
    world = furnished()
    world.tick()
    world.register("photo-9", subjects=["ann"], collected_at="2020-01-01T00:00:00Z")
    record = unheard(world, parked=parked)
    before = commands(world, "photos")
    assert forecaster(world).of(record, world.broker.now).outcome is Outcome.LATE
    Handling([world.roles["indexer"]], cast("Any", world.broker), ()).handle(record)
    world.settle()
    assert commands(world, "photos") > before
    assert forecaster(world).of(record, world.broker.now).outcome is Outcome.NOTHING


def test_a_holding_that_an_open_case_was_not_told_of_is_late() -> None:
    world = World()
    world.register("photo-1", subjects=["ann"])
    world.order("emission.paused", scope={"system": "photos"}, reason="why not")
    world.settle()
    world.erase("ann")
    world.settle()
    world.tick()
    world.declare_holding("users.db", namespaces=["user_id"])
    record = unheard(world, parked=False)
    before = commands(world, "users")
    said = forecaster(world).of(record, world.broker.now)
    assert (said.outcome, said.why) == (Outcome.LATE, ("walk_announced",))
    Handling([world.roles["indexer"]], cast("Any", world.broker), ()).handle(record)
    world.settle()
    assert commands(world, "users") > before
    assert forecaster(world).of(record, world.broker.now).outcome is Outcome.NOTHING


def test_a_case_that_has_not_heard_that_lineage_changed_under_a_hold_is_told() -> None:
    """Its copy was commanded: data under a hold, of which a forecast said that nothing was left to be done."""
    world = World()
    world.register("scan")
    world.register("copy", subjects=["ann"], parents=["scan"])
    world.settle(ticks=1)
    person = {"subject": {"namespace": "user_id", "id": "bob"}}
    world.order("hold.placed", key="h1", hold_id="h1", scope=person, **WHY)
    world.order("emission.paused", scope={"all": True}, reason="why not", key="p")
    world.settle(ticks=1)
    case_id = world.erase("ann")
    world.settle(ticks=1)
    world.tick()
    world.register("scan", subjects=["bob"])
    record = unheard(world, parked=False)
    assert forecaster(world).of(record, world.broker.now).why == ("index_changed", "holds_asked")
    Handling([world.roles["indexer"]], cast("Any", world.broker), ()).handle(record)
    world.settle(ticks=1)
    assert forecaster(world).of(record, world.broker.now).outcome is Outcome.NOTHING
    world.order("emission.resumed", scope={"all": True}, key="p")
    world.settle(ticks=2)
    assert not world.commanded[case_id]


def test_what_the_index_has_lost_it_learns_again() -> None:
    """Rows alone were looked at: memberships of data sources and the list of holdings were not."""
    world = World()
    world.register("photo-1", data_sources=["supplier-a"])
    source = newest(world, "registrations")
    world.tick()
    world.declare_holding("users.db", namespaces=["user_id"])
    holding = newest(world, "registrations")
    world.settle()
    index: Any = world.index
    for record, lost in ((source, [members for group, members in index.groups.items()]), (holding, [index.held])):
        assert forecaster(world).of(record, world.broker.now).outcome is Outcome.NOTHING
        for each in lost:
            each.clear()
        assert forecaster(world).of(record, world.broker.now).outcome is Outcome.INDEXES
        Handling([world.roles["indexer"]], cast("Any", world.broker), ()).handle(record)


def test_an_asset_that_came_back_is_told_of_until_its_case_has_heard_of_it() -> None:
    world = furnished()
    world.tick(60)
    world.register("photo-2", subjects=["ann"])
    assert last(world, "registrations").outcome is Outcome.LATE
    world.settle()
    assert len(world.confirmations("reopened")) == 1
    assert last(world, "registrations").outcome is Outcome.NOTHING


def test_what_expunge_itself_says_is_no_inlet() -> None:
    world = furnished()
    (record, *_) = (each for (topic, _), log in world.broker.logs.items() if topic == "cases" for each in log)
    with pytest.raises(InvalidMessage, match="no_inlet"):
        forecaster(world).of(record, world.broker.now)


@pytest.mark.parametrize("seed", range(5))
def test_a_days_topics_handled_once_more_in_any_order_change_nothing(seed: int) -> None:
    """Also without looking first whether they were: whatever roles do may be done twice."""
    world = furnished()
    index: Any = world.index
    before = dict(index.raw), {key: list(done) for key, done in world.commanded.items()}, told(world)
    inlets = [world.roles["intake"], world.roles["indexer"]]
    handling = Handling(inlets, cast("Any", world.broker), known=())
    records = [each for (topic, _), log in world.broker.logs.items() if topic.split(".")[0] in INLETS for each in log]
    random.Random(seed).shuffle(records)  # noqa: S311 - no secret
    for record in records:
        handling.handle(record)
    world.settle()
    assert (dict(index.raw), {key: list(done) for key, done in world.commanded.items()}, told(world)) == before
    assert {said.outcome for _, said in forecast_all(world, *INLETS)} == {Outcome.NOTHING}


def told(world: World) -> dict[str, set[tuple[str, str]]]:
    """What left: on each outlet the events, each once."""
    names = [topic for topic, _ in world.broker.logs if topic.split(".")[0] in {"commands", "confirmations"}]
    return {name: {(each["source"], each["id"]) for each in world.broker.events(name)} for name in names}


def test_a_dead_letter_that_is_there_is_not_written_again() -> None:
    world = furnished()
    world.erase({"namespace": "nowhere", "id": "x"}, request="r2")
    world.settle()
    (letter,) = letters(dead(world))
    assert (letter.is_sealed, letter.place[1] >= 0) == (True, True)  # that it was sealed, and not what: it may be large
    record = record_of(letter, "t.", payload(world, letter))
    number = len(dead(world))
    Handling([world.roles["intake"]], cast("Any", world.broker), {letter.id}).handle(record)
    assert len(dead(world)) == number
    Handling([world.roles["intake"]], cast("Any", world.broker), ()).handle(record)
    assert len(letters(dead(world))) == 1  # written again, it is the same letter


def dead(world: World) -> list[Record]:
    return [each for (topic, _), log in sorted(world.broker.logs.items()) if topic == "dead-letters" for each in log]


def payload(world: World, letter: Letter) -> bytes:
    topic, partition, offset = letter.lies
    return world.broker.logs[topic.removeprefix("t."), partition][offset].value or b""


def test_letters_are_listed_with_what_became_of_them_whatever_else_lies_there() -> None:
    world = furnished()
    for number in range(3):
        world.erase({"namespace": "nowhere", "id": "x"}, request=f"w{number}")
    world.settle()
    first, second, third = letters(dead(world))
    assert [each.settled for each in (first, second, third)] == [None, None, None]
    word = settled(second, Fate.DISCARDED, "olga", "a test", world.broker.now)
    world.broker.send([word])
    world.broker.append("dead-letters", "k", b"{nonsense")
    world.broker.append("dead-letters", "k", b'{"specversion": "1.0", "id": "1", "source": "/x", "type": "y"}')
    again = {each.id: each for each in letters(dead(world))}
    assert len(again) == 3
    known = again[second.id].settled
    assert known is not None
    assert known.fate is Fate.DISCARDED
    assert again[first.id].settled is None


def test_letters_that_retention_has_taken_are_forgotten() -> None:
    """Whoever watches for months counted them as open for ever, and nobody could settle them."""
    world = furnished()
    for number in range(3):
        world.erase({"namespace": "nowhere", "id": "x"}, request=f"w{number}")
    world.settle()
    book = LetterBook()
    book.take(dead(world))
    assert book.open_by_reason() == {"undeclared_namespace": 3}
    first = book.letters()[0]
    partition, offset = first.place
    left = [each for each in book.letters() if each.place[0] != partition or each.place[1] > offset]
    book.forget({partition: offset + 1})
    assert book.letters() == left


def record(offset: int, *, partition: int = 0, topic: str = "requests", **data: Any) -> Record:
    world = World()
    world.publish(topic, "expunge.erasure.requested.v1", data, event=f"e{offset}")
    (made,) = (each for (name, _), log in world.broker.logs.items() if name == topic for each in log)
    return replace(made, partition=partition, position=made.position._replace(offset=offset))


def test_selections_mean_what_they_say() -> None:
    registry, one = World().registry, record(5, request_id="r1")
    at = one.appended_at
    for meant, selection in (
        (True, Selection("requests")),
        (False, Selection("controls")),
        (True, Selection("requests", first=5, end=6)),
        (False, Selection("requests", first=6)),
        (False, Selection("requests", end=5)),
        (False, Selection("requests", frozenset({1}))),
        (True, Selection("requests", frozenset({0}))),
        (True, Selection("requests", since=at, until=at + timedelta(seconds=1))),
        (False, Selection("requests", until=at)),
        (False, Selection("requests", since=at + timedelta(milliseconds=1))),
        (True, Selection("requests", publisher="app", request_id="r1")),
        (False, Selection("requests", publisher="other")),
        (False, Selection("requests", request_id="r2")),
        (True, Selection("requests", places=frozenset({("requests", 0, 5)}))),
        (False, Selection("requests", places=frozenset())),
    ):
        assert selection.meant(one, registry) is meant, selection
    assert Selection("requests", end=5).is_behind(one)
    assert not Selection("requests", end=6).is_behind(one)
    places = [("requests", number, 5) for number in range(20)]
    said = {
        Selection("requests", frozenset(range(9)), places=frozenset(each)).canonical()
        for each in (places, places[::-1])
    }
    assert len(said) == 1
    assert Selection("requests", since=at).canonical() not in {*said, Selection("requests").canonical()}
    broken = replace(one, value=b"{")
    assert Selection("requests").meant(broken, registry)
    assert not Selection("requests", request_id="r1").meant(broken, registry)
    several = record(1, topic="registrations", common={"system": "ml"}, assets=[{"asset": "a", "system": "photos"}])
    for system in ("ml", "photos"):
        assert Selection("registrations", system=system).meant(several, registry)
    assert not Selection("registrations", system="users").meant(several, registry)
    assert Selection("receipts.ml", system="ml").meant(replace(several, topic="receipts.ml"), registry)


def test_a_part_of_a_message_is_told_from_a_whole() -> None:
    """A batch of which everything was wrong was taken for its first part, and could not be opened."""
    for others, is_part in ((["good"], True), ([], False)):
        world = World()
        parts: list[dict[str, Any]] = [{"asset": asset} for asset in others]
        parts += [{"asset": "bad", "data_sources": ["nobody"]}]
        common = {"kind": "object", "system": "photos", "collected_at": "2026-01-01T00:00:00Z"}
        world.publish("registrations", "expunge.assets.registered.v1", {"common": common, "assets": parts})
        world.settle()
        (letter,) = letters(dead(world))
        assert (letter.is_part, letter.part) == (is_part, 1 if is_part else None)


def test_the_form_of_a_message_names_nobody() -> None:
    """Keys may be people's, and so may types that nobody knows."""
    said = {
        "type": "expunge.erasure.requested.dsse.v1",
        "data": {
            "subjects": [{"namespace": "email", "id": "ann@example.com"}, {}],
            "ann@example.com": True,
            "bob": [1],
        },
        "x-ann": {"type": "ann"},
    }
    shown = form_of(said)
    assert shown == {
        "type": "expunge.erasure.requested.dsse.v1",
        "data": {
            "subjects": [{"namespace": "<str>", "id": "<str>"}, "<1 more>"],
            "<2 other fields>": "<hidden>",
        },
        "<1 other fields>": "<hidden>",
    }
    assert form_of({"type": "ann"}) == {"type": "<str>"}
    assert form_of([]) == []
    assert form_of(None) == "<NoneType>"


def test_what_would_be_set_aside_again_is_said_beside_what_else_comes_of_it() -> None:
    """A letter about one part counted as handled where another part of its message led to something."""
    world = World()
    world.register("known", subjects=["ann"])
    world.tick()
    parts = [{"asset": "good", "data_sources": ["supplier-a"]}, {"asset": "bad", "data_sources": ["nobody"]}]
    common = {"kind": "object", "system": "photos", "collected_at": "2026-01-01T00:00:00Z"}
    world.publish("registrations", "expunge.assets.registered.v1", {"common": common, "assets": parts})
    world.settle()
    (letter,) = letters(dead(world))
    index: Any = world.index
    index.raw.pop(world.keys.asset("good"))  # as if the index had lost it
    said = last(world, "registrations")
    assert said.outcome is Outcome.INDEXES
    assert said.letters == (letter.id,)


def test_what_ends_a_role_ends_nobody_who_looks() -> None:
    world = furnished()
    asked: Any = forecaster(world)
    asked._index.rows = lambda _: 1 / 0
    (one, *_) = (each for (topic, _), log in world.broker.logs.items() if topic == "registrations" for each in log)
    assert asked.of(one, world.broker.now) == Forecast(Outcome.POISON, why=("ZeroDivisionError",))
