"""Which server of a cluster has which tag, and commands to each of them in one round trip.

The library's own pipelines ask a server for the keys of every script before they send it, and the same server for ever.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import redis

from expunge.errors import ConfigurationError, Unavailable

MOST_MOVES = 3
"""So often commands follow a slot that has moved; then whoever asked tries again later."""
_LOST = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.SlotNotCoveredError,
)

OF_CLUSTERS = (
    redis.exceptions.RedisClusterException,
    redis.exceptions.ClusterError,
    redis.exceptions.AskError,
    redis.exceptions.TryAgainError,
)
"""What only a cluster, or the client of one, says."""
_WRONG_CALLS = ("same key slot", "No way to dispatch", "is blocked when")
_NO_CLUSTER = "Cluster mode is not enabled"


class Slots:
    """The tags of one deployment."""

    def __init__(self, client: Any, keys: Sequence[bytes]) -> None:
        # client: of the library, for the cluster. keys: one of each tag.
        self._client = client
        self._slots = [int(client.keyslot(key)) for key in keys]
        self._met: set[str] = set()
        """Servers to which all connections were made when they were primaries; none has sent a command away since."""

    def pipelined(self, tags: Sequence[int], commands: Sequence[Sequence[Any]]) -> list[Any]:
        """The answers to commands, each of which is for one tag; errors of single ones are among them.

        Raises:
            redis.ConnectionError: a server is away; where its slots are by then is known at the next attempt.
        """
        answers: list[Any] = [None] * len(commands)
        waiting = list(range(len(commands)))
        for _ in range(MOST_MOVES):
            with self._looking_anew():
                for number, answer in self._sent(waiting, tags, commands):
                    answers[number] = answer
            waiting = [number for number in waiting if isinstance(answers[number], redis.exceptions.MovedError)]
            if not waiting:
                break
            self._client.nodes_manager.initialize()
        return answers

    def _sent(
        self, numbers: Sequence[int], tags: Sequence[int], commands: Sequence[Sequence[Any]]
    ) -> Iterator[tuple[int, Any]]:
        by_node: dict[Any, list[int]] = defaultdict(list)
        for number in numbers:
            by_node[self._client.nodes_manager.get_node_from_slot(self._slots[tags[number]])].append(number)
        for node, mine in by_node.items():
            answers = pipelined(self._of(node), [commands[each] for each in mine])
            if any(isinstance(answer, redis.exceptions.MovedError) for answer in answers):
                self._met.discard(node.name)
            yield from zip(mine, answers, strict=True)

    def _of(self, node: Any) -> Any:
        """The client of a primary; a connection of before it was one would not be greeted (`Server._greet`)."""
        one = self._client.get_redis_connection(node)
        if node.name not in self._met:
            one.connection_pool.update_active_connections_for_reconnect()
            one.connection_pool.disconnect_free_connections()
            self._met.add(node.name)
        return one

    def primaries(self) -> list[tuple[str, Any]]:
        """Address and client of every server that has slots; each has answered."""
        found = []
        with self._looking_anew():
            for node in self._client.get_primaries():
                one = self._of(node)
                one.ping()
                found.append((f"{node.host}:{node.port}", one))
        return found

    @contextlib.contextmanager
    def _looking_anew(self) -> Iterator[None]:
        """After an error, ask who has which slot: whoever tries again finds the server that has taken its place."""
        try:
            yield
        except _LOST:
            self._met.clear()
            with contextlib.suppress(redis.RedisError, redis.exceptions.RedisClusterException):
                self._client.nodes_manager.initialize()
            raise


def pipelined(client: Any, commands: Sequence[Sequence[Any]]) -> list[Any]:
    """The answers of one server, errors of single commands among them."""
    pipe = client.pipeline(transaction=False)
    for words in commands:
        pipe.execute_command(*words)
    return list(pipe.execute(raise_on_error=False))


def is_wrong_call(error: Exception) -> bool:
    """Whether no cluster takes what was asked: that is a defect of the call."""
    return any(words in str(error) for words in _WRONG_CALLS)


def from_cluster(error: Exception) -> Unavailable | ConfigurationError:
    """Expunge's exception for one that only a cluster, or the client of one, raises."""
    if _NO_CLUSTER in str(error):
        return ConfigurationError("redis.cluster is true, but the Redis at redis.url is no cluster: set it to false")
    if isinstance(error, redis.exceptions.MovedError):
        text = "a slot has moved, or this is a server of a Redis Cluster, and redis.cluster = true is not set"
    elif isinstance(error, (redis.exceptions.AskError, redis.exceptions.TryAgainError)):
        text = "slots of the cluster are being moved"
    else:
        text = "the cluster does not answer for every slot, or the server in redis.url is away"
    return Unavailable(text, server="Redis")
