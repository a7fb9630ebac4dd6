"""What the notary remembers, and the policies that cases are bound to: in memory and in Redis alike."""

from __future__ import annotations

import pytest

from expunge.adapters.memory.stores import MemoryNotaryStore, MemoryPolicies
from expunge.adapters.policy_file import load_policy
from expunge.adapters.redis.cases import RedisNotaryStore
from expunge.adapters.redis.policies import RedisPolicies
from expunge.domain.events import Position
from expunge.domain.planning.policy.rules import Policies, Policy
from expunge.errors import Fenced, Unavailable
from expunge.ports import NotaryStore

ONE, TWO = "ab" * 16, "cd" * 16
SHIPPED = load_policy(None)
OTHER = SHIPPED.model_copy(update={"name": "another"})


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> NotaryStore:
    return MemoryNotaryStore() if request.param == "memory" else RedisNotaryStore(request.getfixturevalue("server"))


@pytest.fixture(params=["memory", "redis"])
def policies(request: pytest.FixtureRequest) -> Policies:
    if request.param == "memory":
        return MemoryPolicies(SHIPPED)
    return RedisPolicies(request.getfixturevalue("server"), SHIPPED)


def test_facts_are_remembered_by_case_and_sequence_under_their_position(store: NotaryStore) -> None:
    assert store.position(0) is None
    assert store.known([ONE]) in ({}, {ONE: {}})
    store.write(0, None, Position(0, 1), {ONE: {1: "a", 2: "b"}, TWO: {1: "c"}})
    store.write(0, Position(0, 1), Position(0, 2), {ONE: {3: "d"}})
    assert store.position(0) == Position(0, 2)
    known = store.known([ONE, TWO])
    assert known[ONE] == {1: "a", 2: "b", 3: "d"}
    assert known[TWO] == {1: "c"}


def test_whoever_has_lost_the_partition_writes_nothing(store: NotaryStore) -> None:
    store.write(0, None, Position(0, 5), {ONE: {1: "a"}})
    with pytest.raises(Fenced):
        store.write(0, None, Position(0, 6), {ONE: {2: "b"}})
    assert store.position(0) == Position(0, 5)
    assert store.known([ONE])[ONE] == {1: "a"}


def test_a_policy_is_found_by_its_digest_and_one_that_nobody_kept_is_waited_for(policies: Policies) -> None:
    assert policies.current == SHIPPED
    keep(policies)
    assert policies.of(SHIPPED.digest) == SHIPPED
    with pytest.raises(Unavailable):
        policies.of(OTHER.digest)


def keep(policies: Policies) -> None:
    if isinstance(policies, RedisPolicies):
        policies.keep()


def test_another_process_finds_the_policy_that_a_case_is_bound_to(server: object) -> None:
    RedisPolicies(server, OTHER).keep()  # type: ignore[arg-type]
    found: Policy = RedisPolicies(server, SHIPPED).of(OTHER.digest)  # type: ignore[arg-type]
    assert found.digest == OTHER.digest
