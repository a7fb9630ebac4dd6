"""One task's walk through the index: from its roots, level by level, until nothing is left or its step is full."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from expunge.domain.admission.door import Door
from expunge.domain.limits import MAX_FRONTIER
from expunge.domain.lineage.marks import TASK_DIGITS, Mark
from expunge.domain.lineage.row import CONTAINER, Row
from expunge.domain.lineage.walk import Walk, is_covered, reach_of
from expunge.domain.planning.policy.dispose import Judge
from expunge.domain.scope import SHARDS, Arrival, Group, GroupKind, data_source_node
from expunge.ports import Index, Peek, Rule, Tenure
from expunge.roles.exclusions import names_of
from expunge.roles.resolver.purposes import Inheritance
from expunge.wire.tasks import Task, TaskKind, pack, task_id, unpack


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one task may do before it continues in others.

    Attributes:
        step_nodes: nodes visited; whatever comes meanwhile waits for the end of a step.
        frontier_nodes: nodes that wait; more go on in tasks of their own at once.
        trip_nodes: nodes in one round trip to the index.
        group_nodes: members of a group that come along with the task that meets it.
    """

    step_nodes: int = 20_000
    frontier_nodes: int = 400_000
    trip_nodes: int = 12_000
    group_nodes: int = 5_000


class Traversal:
    """Feeds walks with what the index answers."""

    def __init__(self, door: Door, index: Index, tenure: Tenure, bounds: Bounds) -> None:
        self._door, self._index, self._tenure, self._bounds = door, index, tenure, bounds

    def judge(self, task: Task) -> Judge:
        """The policy that is pinned in a task's generation, as it applies to the case."""
        return Judge(self._door.policies.of(task.policy), task.scope, task.regime)

    def people(self, task: Task) -> Mapping[str, Sequence[str]]:
        """What the index calls those whom a task is about -> what the request calls them."""
        return task.scope.called(self._door.keys.live)

    def _walk(self, task: Task, roots: Collection[bytes], returned: int = 0) -> Walk:
        known = self._index.combination
        return Walk(self.judge(task), frozenset(roots), known, self.people(task), self.inherited, returned)

    @property
    def inherited(self) -> Callable[[Row], frozenset[str]]:
        """What rows inherit, as the index knows it now."""
        return Inheritance(self._index).of

    def run(self, task: Task) -> tuple[Walk, list[Task]]:
        """The walk of a task as far as its step goes, and the tasks that go on from it."""
        walk, spawned = self._start(task)
        more, peeks = self._go(task, walk)
        return walk, [*spawned, *more, *self._go_on(task, walk, peeks)]

    def _start(self, task: Task) -> tuple[Walk, list[Task]]:
        """A task's walk with its roots on the frontier, and the tasks that it is split into at once."""
        if task.kind is TaskKind.ROOTS:
            return self._start_roots(task)
        if task.kind is TaskKind.SHARD:
            return self._start_shard(task), []
        nodes = unpack(task.nodes)
        walk = self._walk(task, nodes, task.returned)
        if task.kind in {TaskKind.LATE, TaskKind.HOLDING}:
            self._plan_holdings(walk, sorted(nodes))
        if task.kind is not TaskKind.HOLDING:
            for key, arrival in nodes.items():
                walk.reach([key], arrival)
        return walk, []

    def _start_roots(self, task: Task) -> tuple[Walk, list[Task]]:
        """Mark the roots, then read what belongs to them, holdings included (rules "mark first" and "holdings")."""
        scope = task.scope
        subjects = self._door.keys.nodes(scope.people)
        sources = [data_source_node(each) for each in scope.data_sources]
        lease, newest = self._tenure.until_ms(), [each for each in subjects if each[0] == subjects[0][0]]
        # Those under the newest secret first: what has a mark under an earlier one has it under the later, too.
        for nodes in ([*newest, *sources], subjects[len(newest) :]):
            if nodes:
                self._index.mark_roots(task.case_id, task.task_id, nodes, scope.until, lease)
        groups = [(Group(GroupKind.SUBJECT, node), Arrival.MEMBER) for node in subjects]
        groups += [(Group(GroupKind.SOURCE, node), Arrival.THROUGH) for node in sources]
        members: dict[bytes, Arrival] = {}
        spawned: list[Task] = []
        for group, arrival in groups:
            few, tasks = self._split(task, group, arrival)
            members |= dict.fromkeys(few, arrival)
            spawned += tasks
        keys = self._door.keys
        withdrawn = sorted(names_of(self._index, keys, [keys.asset(asset) for asset in scope.assets]))
        holdings = self._index.holdings()
        walk = self._walk(task, [*members, *withdrawn, *holdings])
        for key, arrival in members.items():
            walk.reach([key], arrival)
        walk.reach(withdrawn, Arrival.ROOT)
        self._plan_holdings(walk, holdings)
        return walk, spawned

    def _plan_holdings(self, walk: Walk, keys: Sequence[bytes]) -> None:
        for key, row in zip(keys, self._index.rows(keys), strict=True):
            if row is not None and row.holding is not None:
                walk.plan_holding(key, row)

    def _split(self, task: Task, group: Group, arrival: Arrival) -> tuple[list[bytes], list[Task]]:
        """The members of a small group; for a large one tasks, of neighbouring shards until each is half a step.

        The other half is for what was made from them: what has no room goes on in tasks of few nodes, which is slower.
        """
        sizes = self._index.sizes(group)
        if sum(sizes) <= self._bounds.group_nodes:
            return self._index.members(group, range(SHARDS)) if any(sizes) else [], []
        return [], self._shards(task, group, arrival, sizes)

    def children(self, task: Task, node: bytes, arrival: Arrival) -> list[Task]:
        """Tasks for what was made from a node."""
        group = Group(GroupKind.CHILDREN, node)
        return self._shards(task, group, arrival, self._index.sizes(group))

    def _shards(self, task: Task, group: Group, arrival: Arrival, sizes: Sequence[int]) -> list[Task]:
        tasks = []
        start, members = 0, 0
        for shard, size in enumerate(sizes):
            members += size
            if members and (members + max(sizes) > self._bounds.step_nodes // 2 or shard == SHARDS - 1):
                child = task_id(task.task_id, "shard", group.kind, group.node, start, shard)
                place = {"group": group.kind, "node": group.node.hex(), "shard": start, "shard_end": shard + 1}
                tasks.append(_child(task, child, TaskKind.SHARD, arrival=arrival, **place))
                start, members = shard + 1, 0
        return tasks

    def _start_shard(self, task: Task) -> Walk:
        group, shards = Group(task.group, bytes.fromhex(task.node)), range(task.shard, task.shard_end)
        groups = self._named(task, group) if group.kind is GroupKind.SUBJECT else [group]
        members = sorted({member for each in groups for member in self._index.members(each, shards)})
        walk, parent = self._walk(task, members), None
        if group.kind is GroupKind.CHILDREN:
            (row,) = self._index.rows([group.node])
            parent = None if row and is_covered(task.scope, row) else group.node
        walk.reach(members, task.arrival, parent)
        return walk

    def _named(self, task: Task, person: Group) -> list[Group]:
        """A person under every name that is in use now: it was announced under those of another time, perhaps."""
        keys, nodes = self._door.keys, self._door.keys.nodes(task.scope.people)
        return [Group(person.kind, each) for each in nodes if keys.newest(each) == keys.newest(person.node)]

    def _go(self, task: Task, walk: Walk) -> tuple[list[Task], Mapping[bytes, Peek]]:
        """Walk on; the tasks that large groups of children are, and a last look at what waits.

        What only this task can finish is finished here, however full the step is: its own roots, nodes that it marked
        before a crash, and, after the first plan, containers that others have marked but in which something more was
        found.
        """
        bounds = self._bounds
        rule = Rule(
            bounded=task.scope.bounded,
            again=task.generation > 1,
            until=task.scope.until,
            returned=task.returned,
            lease=self._tenure.until_ms,
        )
        spawned: list[Task] = []
        peeks: Mapping[bytes, Peek] = {}
        while walk.waiting:
            mine: list[bytes] | None = None
            if walk.visited >= bounds.step_nodes or walk.waiting >= bounds.frontier_nodes:
                peeks = self._peek(task, walk)
                mine = [key for key, peek in peeks.items() if key in walk.roots or _is_to_finish(task, peek)]
                if not mine:
                    break
            trips = walk.level(self._room(walk), bounds.trip_nodes, mine)
            for visits in self._index.visit(task.case_id, task.task_id, trips, rule):
                walk.absorb(visits)
            spawned += self._hubs(task, walk)
        return spawned, peeks

    def _room(self, walk: Walk) -> int:
        """How many nodes to visit before looking again: so few that their children, too, find room."""
        bounds = self._bounds
        left = bounds.step_nodes - walk.visited
        if not walk.visited:
            return min(left, bounds.trip_nodes)
        children = 1 + walk.children // walk.visited
        return min(left, max(bounds.trip_nodes // 20, (bounds.frontier_nodes - walk.waiting) // children, 1))

    def _peek(self, task: Task, walk: Walk) -> dict[bytes, Peek]:
        keys = list(walk.rest())
        return dict(zip(keys, self._index.peek(task.case_id, keys), strict=True))

    def _hubs(self, task: Task, walk: Walk) -> list[Task]:
        spawned: list[Task] = []
        for key, arrival, covered in walk.hubs:
            few, tasks = self._split(task, Group(GroupKind.CHILDREN, key), arrival)
            walk.reach(few, arrival, None if covered else key)
            spawned += tasks
        walk.hubs.clear()
        return spawned

    def _go_on(self, task: Task, walk: Walk, peeks: Mapping[bytes, Peek]) -> list[Task]:
        """The tasks for what the step had no room for; then what the containers must leave out.

        What another task of the case has marked as widely goes nowhere: a task plans its own roots whatever their marks
        say, so a marked node that went on in a task of its own would send a walk round a cycle for ever. (What this
        very task had marked, `_go` has visited.)
        """
        rest = walk.rest()
        free = []
        for key in sorted(rest):
            flags, row, mark = peeks[key]
            reach = reach_of(rest[key], flags, bounded=task.scope.bounded)
            if mark is None or mark.reach.width < reach.width:
                free.append(key)
            if row is not None:
                walk.meet(key, row)
        exclusions = walk.exclusions()
        if exclusions:
            self._index.exclude(task.case_id, exclusions)
        tasks = []
        for start in range(0, len(free), MAX_FRONTIER):
            nodes = pack({key: rest[key] for key in free[start : start + MAX_FRONTIER]})
            tasks.append(_child(task, task_id(task.task_id, "frontier", nodes), TaskKind.FRONTIER, nodes=nodes))
        return tasks


def is_mine(task: Task, mark: Mark) -> bool:
    """Whether a task is an owner of a mark."""
    return task.task_id[:TASK_DIGITS] in mark.tasks


def _is_to_finish(task: Task, peek: Peek) -> bool:
    again = task.generation > 1 and peek.flags & CONTAINER
    return peek.mark is not None and bool(again or is_mine(task, peek.mark))


def _child(task: Task, child: str, kind: TaskKind, **fields: object) -> Task:
    """A task that goes on from another; the withdrawn assets are the roots' alone."""
    scope = task.scope.model_copy(update={"assets": ()})
    plain = {"task_id": child, "kind": kind, "scope": scope, "nodes": "", "watermark": {}, "force": True, "returned": 0}
    plain |= {"found": (), "system": "", "chunks": ()}
    return task.model_copy(update=plain | fields)
