"""What requests, holds and joint retrains may not do to each other, on histories without faults (faults: test_core)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.domain.aggregates.retraining.decide import SendJoint, Tell, decide
from expunge.domain.aggregates.retraining.facts import apply, first_state
from expunge.domain.aggregates.retraining.state import Retraining, RoundPhase
from expunge.domain.limits import MAX_EXCLUDED
from expunge.domain.registry import Registry, System
from expunge.domain.vocabulary import STRICTNESS, Action, Claim
from expunge.wire.cases.case import Receipted, TimerFired
from expunge.wire.cases.retraining import JoinAsked, LeaveAsked, Member
from expunge.wire.cases.said import Place
from expunge.wire.receipts import Outcome
from tests.properties.test_core import Asked, Asset, Script, lineages, names
from tests.simulation import START, World, context

KINDS = st.sampled_from(["ann", "bob", "withdrawal", "asset"])
STRICT = {action.value: rank for rank, action in enumerate(STRICTNESS)}
few = settings(deadline=None, max_examples=40)


def carried_out(assets: list[Asset], *requests: Asked, hold: str = "") -> tuple[World, list[str]]:
    """A deployment in which these requests were carried out, one hold perhaps standing all the time."""
    world = World()
    world.tick_clocks(8 * 86_400)
    if hold:
        world.order("hold.placed", key="h", hold_id="h", scope={"asset": hold}, basis="b", custodian="c")
    script = Script(world, assets, [Asked(asked.kind, len(assets)) for asked in requests])
    while script.next():
        pass
    world.settle(ticks=5)
    return world, [script.cases[number] for number in range(len(requests))]


@few
@given(lineages(), st.builds(Asked, KINDS, st.just(0)), st.builds(Asked, KINDS, st.just(0)))
def test_no_asset_ends_with_less_because_a_second_request_arrived(
    assets: list[Asset], first: Asked, second: Asked
) -> None:
    alone, (only,) = carried_out(assets, first)
    together, (one, _) = carried_out(assets, first, second)
    for world, case_id in ((alone, only), (together, one)):
        assert world.status(case_id) == "completed"
    expected = {(asset, action) for _, asset, action in alone.commanded[only]}
    found = {(asset, action) for _, asset, action in together.commanded[one]}
    for asset, action in expected:
        assert min(STRICT[did] for name, did in found if name == asset) <= STRICT[action]


@few
@given(lineages(), st.builds(Asked, KINDS, st.just(0)), st.integers(0, 6))
def test_a_hold_never_delays_what_it_does_not_cover(assets: list[Asset], asked: Asked, number: int) -> None:
    free, (case_id,) = carried_out(assets, asked)
    held, (other,) = carried_out(assets, asked, hold=f"asset-{number}")
    expected = {asset for _, asset, _ in free.commanded[case_id]}
    commanded = {asset for _, asset, _ in held.commanded[other]}
    assert expected - made_from(assets, f"asset-{number}") <= commanded <= expected


def made_from(assets: list[Asset], name: str) -> set[str]:
    """What a hold on an asset covers: it under all its names, and what was made from that, up to containers."""
    found = names(assets, name)
    while True:
        inside = {a.id for a in assets if a.container and a.id not in names(assets, name)}
        more = {a.id for a in assets if not a.container and set(a.parents) & (found - inside)}
        more |= {other for each in found | more for other in names(assets, each)}
        if more <= found:
            return found
        found |= more


# -- A model's aggregate alone: whatever is said to it, in whatever order

SYSTEM = System(name="ml", actions=(Action.RETRAIN_WITHOUT,), timeout_seconds=3600, retry_seconds=60, retries=2)
PLACE = Place(topic="cases", partition=0, offset=0)
KEY = "ab" * 16
REGISTRY = Registry(systems=(SYSTEM,))
said = st.one_of(
    st.tuples(st.just("join"), st.integers(0, 5), st.integers(0, 48), st.integers(1, 600)),
    st.tuples(st.just("leave"), st.integers(0, 5)),
    st.tuples(st.just("wait"), st.integers(1, 30)),
    st.tuples(st.just("answer"), st.sampled_from(["retrained_without", "failed", "deferred", "withdrawn", "accepted"])),
    st.tuples(st.just("again")),
)


class Cases:
    """Six cases and the owner of a model, seen from its aggregate."""

    def __init__(self) -> None:
        self.state: Retraining | None = None
        self.now, self.offset = START, 0
        self.joined: dict[int, Member] = {}
        self.told: dict[str, list[str]] = {}
        self.heard: dict[str, int] = {}
        self.facts: list[Any] = []
        self.last: Any = None

    def hear(self, message: Any) -> None:
        self.last = message
        decision = decide(self.state, message, context(self.now, REGISTRY))
        self.state = decision.state
        self.facts += [fact for _, fact in decision.facts]
        for emission in decision.effects:
            if isinstance(emission, Tell):
                receipt = emission.receipt
                self.told.setdefault(receipt.command_id, []).append(receipt.status)
                assert receipt.sequence >= self.heard.get(receipt.command_id, 0)
                self.heard[receipt.command_id] = receipt.sequence
            elif isinstance(emission, SendJoint):
                lists = {each.excludes: each.excluded for each in emission.state.members.values()}
                assert sum(lists.values()) <= MAX_EXCLUDED
        self.fire()

    def fire(self) -> None:
        """The timer, if it is due: afterwards nobody waits who must not."""
        if self.state and self.state.timer and self.state.timer <= self.now:
            self.hear(TimerFired(case_id=KEY, timer="retrain"))
        state = self.state
        if state and state.phase is RoundPhase.IDLE:
            assert all(each.begin_by > self.now for each in state.waiting.values())

    def spoken(self, number: int) -> dict[str, Any]:
        self.offset += 1
        return {"retraining": KEY, "partition": 0, "cause": (0, self.offset, f"{number:032x}")}

    def join(self, number: int, hours: int, excluded: int) -> None:
        known = self.joined.get(number)
        attempt = known.attempt + 1 if known else 1
        command = known.command_id if known else f"{self.offset + 1:032x}"
        begin, due = self.now + timedelta(hours=hours), self.now + timedelta(hours=hours + 24)
        member = Member(
            case_id=f"{number:032x}",
            chunk=f"{number:032x}",
            command_id=command,
            attempt=attempt,
            begin_by=begin,
            due_at=due,
            latest=due,
            heard=self.heard.get(command, 0),
            excludes=f"{number % 3:02x}{excluded:030x}",  # the same digest is the same list
            excluded=excluded,
            excluded_bytes=10,
            people_bytes=10,
        )
        self.joined[number] = member
        self.hear(JoinAsked(system="ml", policy=KEY, member=member, **self.spoken(number)))

    def leave(self, number: int) -> None:
        member = self.joined.pop(number, None)
        if member is not None:
            fields = {"case_id": member.case_id, "command_id": member.command_id, "attempt": member.attempt}
            self.hear(LeaveAsked(system="ml", policy=KEY, **fields, **self.spoken(number)))

    def answer(self, word: str) -> None:
        state = self.state
        if state is None or not state.round:
            return
        plain = word in {"withdrawn", "accepted"}
        self.hear(
            Receipted(
                case_id=KEY,
                command_id=state.command_id,
                system="ml",
                attempt=state.attempt,
                sequence=state.receipt[1] + 1 if state.receipt[0] == state.attempt else 1,
                status=word if plain else "done",
                all=None if plain else Outcome(claim=Claim(word)),
                content=KEY,
                place=PLACE,
            )
        )
        if state.phase is RoundPhase.SENT and word in {"retrained_without", "deferred"}:
            for member in state.present:  # whoever was served does not wait any more
                self.joined = {n: each for n, each in self.joined.items() if each.command_id != member.command_id}


@settings(deadline=None, max_examples=300)
@given(st.lists(said, max_size=40))
def test_nobody_is_forgotten_and_no_moment_is_missed(history: list[tuple[Any, ...]]) -> None:
    cases = Cases()
    for move in history:
        match move:
            case ("join", int(number), int(hours), int(excluded)):
                cases.join(number, hours, excluded)
            case ("leave", int(number)):
                cases.leave(number)
            case ("wait", int(hours)):
                cases.now += timedelta(hours=hours)
                cases.fire()
            case ("answer", str(word)):
                cases.answer(word)
            case ("again",) if cases.last is not None and isinstance(cases.last, JoinAsked | LeaveAsked):
                facts = len(cases.facts)
                cases.hear(cases.last)
                assert len(cases.facts) == facts  # what is said again is not heard again
    state = cases.state
    if state is None:
        return
    waiting = {**state.waiting, **{each.command_id: each for each in state.present if state.phase is RoundPhase.SENT}}
    assert {member.command_id for member in cases.joined.values()} <= waiting.keys()
    assert state.phase is not RoundPhase.SENT or state.present
    assert bool(state.leaving) == (state.phase is RoundPhase.RECALLED)
    assert all("accepted" in cases.told[command] for command in waiting)
    replayed = first_state(KEY, "ml", KEY, state.now)
    for fact in cases.facts:
        replayed = apply(replayed, fact)
    assert replayed == state
