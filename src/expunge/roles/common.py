"""Messages that several roles say, each the same whoever says it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from expunge.domain.digest import name
from expunge.domain.events import Event, Outgoing
from expunge.domain.limits import ASSETS_PER_MESSAGE
from expunge.domain.partition import partition_of
from expunge.domain.planning.policy.rules import Policy
from expunge.ports import Topics
from expunge.wire.cases.case import Late, LateAsset
from expunge.wire.cases.suppression import Suppress
from expunge.wire.cases.table import TYPE_OF
from expunge.wire.confirmations import RequestRejected
from expunge.wire.tasks import Task

INTAKE, COORDINATOR = "/expunge/intake", "/expunge/coordinator"
POLICY_TYPE = "expunge.plan.policy.v1"
TASK_TYPE = "expunge.walk.task.v1"


def rejection(publisher: str, *, key: str, time: datetime, data: dict[str, Any]) -> Outgoing:
    """What a publisher hears of a request that cannot be taken."""
    kind = "expunge.request.rejected.v1"
    event = Event(
        type=kind,
        source=INTAKE,
        id=name(str(data["source"]), str(data["id"]), kind, str(data["reason"])),
        time=time,
        data=RequestRejected.model_validate(data).data(),
    )
    return Outgoing(f"confirmations.{publisher}", key, event)


def suppress_message(message: Suppress, time: datetime, source: str) -> Outgoing:
    """Words for a suppression, to the one process that decides on it."""
    kind = TYPE_OF[Suppress]
    data = message.model_dump(mode="json", exclude_defaults=True)
    identity = name(kind, message.suppression, *(str(sorted(word.model_dump().items())) for word in message.words))
    return Outgoing("cases", message.suppression, Event(kind, source, identity, time, data))


def late_messages(case_id: str, assets: Mapping[bytes, LateAsset], at: datetime, source: str) -> Iterable[Outgoing]:
    """Late assets of a case, named by what they are, so that a repetition is the same event."""
    kind = TYPE_OF[Late]
    ordered = [assets[key] for key in sorted(assets)]
    for start in range(0, len(ordered), ASSETS_PER_MESSAGE):
        late = Late(case_id=case_id, assets=tuple(ordered[start : start + ASSETS_PER_MESSAGE]))
        content = [asset.model_dump_json() for asset in late.assets]
        event = Event(kind, source, name(kind, case_id, *content), at, late.model_dump(mode="json"))
        yield Outgoing("cases", case_id, event)


def task_message(task: Task, now: datetime, source: str) -> Outgoing:
    """A task on `tasks`, keyed so that the tasks of a case spread."""
    content = task.model_dump(mode="json", exclude_defaults=True)
    event = Event(TASK_TYPE, source, name(TASK_TYPE, task.task_id, str(task.force)), now, content)
    return Outgoing("tasks", f"{task.case_id}{task.task_id[:8]}", event)


def policy_part(topics: Topics, policy: Policy, time: datetime) -> Outgoing:
    """A policy on `plans`, before anything is decided under it: a rebuild finds there what cases are bound to."""
    data = {"policy": policy.digest, "rules": policy.model_dump(mode="json")}
    event = Event(POLICY_TYPE, COORDINATOR, name(POLICY_TYPE, policy.digest), time, data)
    return Outgoing("plans", f"policy:{policy.digest}", event, partition_of(policy.digest, topics.partitions("plans")))


def plan_part(topics: Topics, case_id: str, part: str, event: Event) -> Outgoing:
    """A part of `plans`: keyed by case and part, on the partition of the case alone (rule "nothing overwritten")."""
    return Outgoing("plans", f"{case_id}:{part}", event, partition_of(case_id, topics.partitions("plans")))
