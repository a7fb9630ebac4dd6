"""For teams that take data in: what must not be collected (again).

    from expunge.suppression import Filter

    with Filter("127.0.0.1:9092", key, namespaces={"user_id": "exact"}) as suppressed:
        if suppressed.purposes_left("user_id", "12345", ["training"], collected_at):
            ...

The key is the suppression key alone (`expunge keys show suppression`): with it one can ask about a person whose id one
has, and nothing else. The topic holds everything that is suppressed; a filter reads it once and follows it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, NamedTuple, Self

from expunge.adapters.broker import DEFAULT, broker
from expunge.adapters.system import SystemClock
from expunge.domain.aggregates.suppression import EVERYTHING, source_key
from expunge.domain.events import Record, decode
from expunge.domain.identity import SuppressionKey
from expunge.errors import InvalidMessage

TOPIC = "suppressions"
POLL_SECONDS = 0.2


class _Entry(NamedTuple):
    since_ms: int
    until: int
    ends_ms: int = 0

    def covers(self, collected: float, now: float = 0) -> bool:
        """Whether it stands for what was collected at a moment, as things are now (both in seconds since 1970)."""
        is_over = 0 < self.ends_ms <= now * 1000
        return not is_over and (self.until == 0 or int(collected) <= self.until)


class Filter:
    """Everything that is suppressed, as far as it has been read.

    Args:
        bootstrap_servers: where Kafka is.
        key: the suppression key, in hexadecimal.
        namespaces: of the ids that will be asked about: name -> normaliser, as in the deployment's configuration.
        prefix: of the deployment's topics.
        tenant: of ids that name none, as in the deployment's configuration.
        options: settings of the Kafka client under its own names; kafka-python's, for the client that comes along.
        client: the Kafka client, as `kafka.client` in a deployment's configuration.

    Raises:
        Unavailable: Kafka does not answer. Nobody must take data in without having read what is suppressed.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        key: str,
        *,
        namespaces: Mapping[str, str],
        prefix: str = "expunge.",
        tenant: str = "default",
        options: Mapping[str, Any] | None = None,
        client: str = DEFAULT,
    ) -> None:
        self._key, self._namespaces, self._tenant = SuppressionKey(bytes.fromhex(key)), dict(namespaces), tenant
        self._known: dict[str, dict[str, _Entry]] = {}
        self._sequences: dict[str, int] = {}
        start = datetime.fromtimestamp(0, UTC)
        self._reader = broker(bootstrap_servers, options, prefix, client).reader([TOPIC], start)
        self.refresh()

    def refresh(self) -> None:
        """Read what has been said since; call it before each batch of data that is taken in.

        Raises:
            Unavailable: Kafka does not answer.
        """
        behind = True
        while behind:
            for record in self._reader.poll(POLL_SECONDS):
                self.take(record)
            behind = self._reader.behind()

    def take(self, record: Record) -> None:
        """Take in one message of the topic; the newest of a key holds everything, and a tombstone lifts it."""
        key = (record.key or b"").decode("ascii", "replace")
        if record.value is None:
            self._known.pop(key, None)
            return
        data = decode(record).data
        if data["sequence"] < self._sequences.get(key, 0):
            return  # a process that had lost its partition: the owner will say so, too
        self._sequences[key] = data["sequence"]
        self._known[key] = {
            each["purpose"]: _Entry(each["since_ms"], each["until"], each.get("ends_ms", 0)) for each in data["entries"]
        }

    def purposes_left(
        self, namespace: str, text: str, purposes: Collection[str], collected_at: datetime, *, tenant: str = ""
    ) -> list[str]:
        """Those of `purposes` for which a person's data may be taken in; none: it must not be.

        Args:
            namespace: of the id.
            text: the id, as the person is known.
            purposes: what the data is wanted for.
            collected_at: when it was collected. What is collected after somebody consents again, or signs up again
                after an erasure, may be kept.
            tenant: of the id, where it is not the default one.

        Raises:
            ValueError: the namespace is not known here, or the id is not of its form.
        """
        normaliser = self._namespaces.get(namespace)
        if normaliser is None:
            raise ValueError(f"namespace {namespace} is not one of {', '.join(sorted(self._namespaces))}")
        try:
            key = self._key.of(tenant or self._tenant, namespace, normaliser, text)
        except InvalidMessage as error:
            raise ValueError(str(error)) from None
        return self._left(key, purposes, collected_at)

    def source_left(self, data_source: str, purposes: Collection[str], collected_at: datetime) -> list[str]:
        """As `purposes_left`, for what comes from a data source."""
        return self._left(source_key(data_source), purposes, collected_at)

    def _left(self, key: str, purposes: Collection[str], collected_at: datetime) -> list[str]:
        known, collected, now = self._known.get(key, {}), collected_at.timestamp(), SystemClock().now().timestamp()

        def covered(purpose: str) -> bool:
            return any(each in known and known[each].covers(collected, now) for each in (EVERYTHING, purpose))

        return [purpose for purpose in purposes if not covered(purpose)]

    def close(self) -> None:
        """Let go of the connection."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Filter({len(self._known)} suppressions)"
