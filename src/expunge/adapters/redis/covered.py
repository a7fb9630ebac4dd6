"""How far what stands in Redis reaches (rule "compared"): beside the data itself, so that it is lost with it.

Whatever has forgotten its last writes has forgotten, too, that they were made.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping

from expunge.adapters.records import recalled, remembered
from expunge.adapters.redis.case_reader import CaseKeys, parse_position
from expunge.adapters.redis.cases import commit, commit_call
from expunge.adapters.redis.losses import RedisLosses
from expunge.adapters.redis.server import TAGS, Call, Server
from expunge.adapters.topics import ClusterTopics, by_topic
from expunge.domain.continuity import Place, Reached
from expunge.domain.events import Position
from expunge.domain.topics import INLETS_OF_ASSETS
from expunge.ports import Offsets

EVERY_TAG = range(TAGS)
LOOK_SECONDS = 1.0


class _OnServer:
    """Knows when the server is another one."""

    def __init__(self, server: Server) -> None:
        self._server, self._looked = server, 0.0

    def is_another(self) -> bool:
        """See `ports.logs.Covered.is_another`; the server is asked once a second."""
        if not self._server.is_another and time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            self._server.look()
            self._server.refuse_if_changed()
        return self._server.is_another

    def accept(self) -> None:
        """See `ports.logs.Covered.accept`."""
        self._server.accept()


class IndexCovered(_OnServer):
    """Of what indexers and resolvers write all over the index: in the sentinel of every tag.

    The tags may lie on several servers, of which one may forget: what the earliest of them says holds. See
    `ports.logs.Covered`.
    """

    def covered(self, places: Collection[Place]) -> dict[Place, Reached]:
        """See `ports.logs.Covered.covered`."""
        found, nothing = self.everywhere(), Reached(0)
        if not self._server.meta.covers:  # of what 0.1 wrote nobody knows
            return {place: found[place] for place in places if place in found}
        return {place: found.get(place, nothing) for place in places}

    def cover(self, reached: Mapping[Place, Reached]) -> None:
        """See `ports.logs.Covered.cover`."""
        words = [
            word
            for (topic, partition), each in reached.items()
            for word in (f"{topic}:{partition}", f"{each.next}:{remembered(each)}")
        ]
        if words:
            self._server.run([Call("cover", part, words) for part in self._parts()])

    def restart(self, place: Place, position: Position) -> None:
        """See `ports.logs.Covered.restart`."""
        self.cover({place: Reached(position.offset + 1)})

    def everywhere(self) -> dict[Place, Reached]:
        """How far the whole index reaches, of every partition that anybody has told it of."""
        earliest: dict[bytes, tuple[int, bytes]] = {}
        tags: Counter[bytes] = Counter()
        for answer in self._server.run([Call("covered", part, []) for part in self._parts()]):
            for field, value, number in zip(answer[::3], answer[1::3], answer[2::3], strict=True):
                said = int(value.partition(b":")[0]), value
                earliest[field] = min(said, earliest.get(field, said))
                tags[field] += number
        found: dict[Place, Reached] = {}
        for field, (following, value) in earliest.items():
            topic, _, partition = field.decode().rpartition(":")
            # A tag that knows nothing of a partition holds nothing of what lay there.
            last = value.decode().partition(":")[2]
            found[topic, int(partition)] = recalled(following, last) if tags[field] == TAGS else Reached(0)
        return found

    def _parts(self) -> list[list[int]]:
        return self._server.parts(EVERY_TAG, int, TAGS)


class StateCovered(_OnServer):
    """Of what coordinators and the notary write under the position of its partition. See `ports.logs.Covered`."""

    def __init__(self, server: Server, name: str) -> None:
        super().__init__(server)
        self._name = name

    def covered(self, places: Collection[Place]) -> dict[Place, Reached]:
        """See `ports.logs.Covered.covered`."""
        keys = {place: CaseKeys(self._server, place[1]) for place in places}
        found = self._server.read([(each.tag, ("GET", each.of(self._name))) for each in keys.values()])
        positions = dict(zip(keys, map(parse_position, found), strict=True))
        # A state without a position has included nothing.
        return {place: Reached(at.offset + 1, at) if at else Reached(0) for place, at in positions.items()}

    def cover(self, reached: Mapping[Place, Reached]) -> None:
        """See `ports.logs.Covered.cover`: it was written under its position."""

    def restart(self, place: Place, position: Position) -> None:
        """See `ports.logs.Covered.restart`."""
        keys = CaseKeys(self._server, place[1])
        before = parse_position(self._server.read_one(keys.tag, "GET", keys.of(self._name)))
        commit(self._server, [commit_call(keys, self._name, before, position, ())])


class NotesCovered(StateCovered):
    """Of coordinators on a cluster: what they note on marks lies on other servers than their state.

    See rule "notes again". It is covered as the index is, in every tag, so that what one server has forgotten is seen.
    """

    def __init__(self, server: Server, name: str) -> None:
        super().__init__(server, name)
        self._notes = IndexCovered(server)

    def covered(self, places: Collection[Place]) -> dict[Place, Reached]:
        """See `ports.logs.Covered.covered`: state and notes."""
        state, notes = super().covered(places), self._notes.everywhere()  # an earlier build had covered none
        return {place: min(each, notes.get(place, each), key=lambda at: at.next) for place, each in state.items()}

    def cover(self, reached: Mapping[Place, Reached]) -> None:
        """See `ports.logs.Covered.cover`."""
        self._notes.cover(reached)

    def restart(self, place: Place, position: Position) -> None:
        """See `ports.logs.Covered.restart`."""
        super().restart(place, position)
        self._notes.restart(place, position)


class NothingKept(_OnServer):
    """Of a role that keeps nothing: what it has committed is all that is known. See `ports.logs.Covered`."""

    def is_another(self) -> bool:
        """See `ports.logs.Covered.is_another`. It asks nobody: nothing that it does waits for a server that is away."""
        return self._server.is_another

    def covered(self, places: Collection[Place]) -> dict[Place, Reached]:
        """See `ports.logs.Covered.covered`."""
        del places
        return {}

    def cover(self, reached: Mapping[Place, Reached]) -> None:
        """See `ports.logs.Covered.cover`."""

    def restart(self, place: Place, position: Position) -> None:
        """See `ports.logs.Covered.restart`."""


class IndexProgress:
    """See `ports.Progress`."""

    def __init__(self, topics: ClusterTopics, server: Server) -> None:
        self._topics, self._covered, self._losses = topics, IndexCovered(server), RedisLosses(server)

    def end_offsets(self) -> Offsets:
        """See `ports.Progress.end_offsets`."""
        return self._topics.end_offsets()

    def applied(self) -> Offsets:
        """See `ports.Progress.applied`: where nothing is known to be applied, nothing closes.

        Nor does it where a log is in doubt: what the index says of that is about another one.
        """
        lost, covered = self._losses.known(), self._covered.everywhere()
        inlets = {place: each for place, each in covered.items() if place[0] in INLETS_OF_ASSETS}
        return by_topic({place: 0 if place in lost else each.next for place, each in inlets.items()})
