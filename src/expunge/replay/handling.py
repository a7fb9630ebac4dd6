"""Handling messages once more: by the roles themselves, each as it was when it came, beside whatever goes on.

Nothing is published on the inlet: that would be another message, of now. A registration that is said again after a
purge means that the asset came back, and a signed word that is said again is stale; the same record read again is
neither. What roles do may be done twice (design: "No deletion is lost"), also by two at once: intake keeps nothing, and
the index only adds up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from expunge.domain.events import Outgoing, Record
from expunge.domain.topics import role_of
from expunge.errors import ConfigurationError
from expunge.ports import Role, Sender


class Handling:
    """One replay."""

    def __init__(self, inlets: Collection[Role], sender: Sender, known: Collection[str]) -> None:
        # inlets: intake and the indexer. known: the ids of dead letters that need not be written again.
        self._inlets: Mapping[str, Role] = {each.name: each for each in inlets}
        self._sender, self._known = sender, known

    def handle(self, record: Record) -> None:
        """Handle one record as its role does.

        Raises:
            ConfigurationError: no role takes in what lies on its topic, or Kafka refuses a message for good.
            Unavailable: a server is away; whoever calls again goes on from there.
        """
        role = self._inlets.get(role_of(record.topic) or "")
        if role is None:
            raise ConfigurationError(f"{record.topic} is no inlet")
        result = role.handle([record])
        for wave in result.waves:
            new = [each for each in wave if not self._is_known(each)]
            refused = self._sender.send(new)
            self._after([each for one in refused for each in role.refused(one)])
        role.write(result)

    def _after(self, outgoing: Iterable[Outgoing]) -> None:
        if refused := self._sender.send(list(outgoing)):
            raise ConfigurationError(f"Kafka refuses a message for {refused[0].outgoing.topic}: see expunge doctor")

    def _is_known(self, message: Outgoing) -> bool:
        return message.topic == "dead-letters" and message.event is not None and message.event.id in self._known
