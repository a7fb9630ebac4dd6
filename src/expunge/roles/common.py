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
from expunge.wire.cases.said import CaseEvent
from expunge.wire.cases.suppression import Suppress
from expunge.wire.cases.table import TYPE_OF
from expunge.wire.confirmations import REJECTED, RequestRejected
from expunge.wire.tasks import Task

INTAKE, COORDINATOR = "/expunge/intake", "/expunge/coordinator"
POLICY_TYPE = "expunge.plan.policy.v1"
TASK_TYPE = "expunge.walk.task.v1"


def on_cases(
    message: CaseEvent,
    time: datetime,
    source: str,
    *content: str | int | bytes,
    cause: tuple[str, ...] = (),
    key: str = "",
    partition: int | None = None,
    whole: bool = True,
) -> Outgoing:
    """A message on `cases`, named by what it says or by what caused it: a repetition is the same event.

    Args:
        message: what is said.
        time: when.
        source: who says it.
        content: what tells it from others of its type.
        cause: source and id of the event that leads to it, where those name it (rule "time and ids").
        key: of the aggregate that it is for, where the message itself is for all.
        partition: of `cases`, where the key does not say.
        whole: whether fields are written that hold their defaults.
    """
    kind, data = TYPE_OF[type(message)], message.model_dump(mode="json", exclude_defaults=not whole)
    return Outgoing(
        "cases", key or message.address, Event(kind, source, name(*cause, kind, *content), time, data), partition
    )


def rejection(publisher: str, *, key: str, time: datetime, data: dict[str, Any]) -> Outgoing:
    """What a publisher hears of a request that cannot be taken."""
    event = Event(
        type=REJECTED,
        source=INTAKE,
        id=name(str(data["source"]), str(data["id"]), REJECTED, str(data["reason"])),
        time=time,
        data=RequestRejected.model_validate(data).data(),
    )
    return Outgoing(f"confirmations.{publisher}", key, event)


def suppress_message(message: Suppress, time: datetime, source: str) -> Outgoing:
    """Words for a suppression, to the one process that decides on it."""
    words = (str(sorted(word.model_dump().items())) for word in message.words)
    return on_cases(message, time, source, message.suppression, *words, whole=False)


def late_messages(case_id: str, assets: Mapping[bytes, LateAsset], at: datetime, source: str) -> Iterable[Outgoing]:
    """Late assets of a case, named by what they are, so that a repetition is the same event."""
    ordered = [assets[key] for key in sorted(assets)]
    for start in range(0, len(ordered), ASSETS_PER_MESSAGE):
        late = Late(case_id=case_id, assets=tuple(ordered[start : start + ASSETS_PER_MESSAGE]))
        yield on_cases(late, at, source, case_id, *(asset.model_dump_json() for asset in late.assets))


def task_message(task: Task, now: datetime, source: str) -> Outgoing:
    """A task on `tasks`, or on `walks` if it goes on from another; keyed so that the tasks of a case spread."""
    content = task.model_dump(mode="json", exclude_defaults=True)
    event = Event(TASK_TYPE, source, name(TASK_TYPE, task.task_id, str(task.force)), now, content)
    return Outgoing("walks" if task.kind.goes_on else "tasks", f"{task.case_id}{task.task_id[:8]}", event)


def policy_part(topics: Topics, policy: Policy, time: datetime) -> Outgoing:
    """A policy on `plans`, before anything is decided under it: a rebuild finds there what cases are bound to."""
    data = {"policy": policy.digest, "rules": policy.model_dump(mode="json")}
    event = Event(POLICY_TYPE, COORDINATOR, name(POLICY_TYPE, policy.digest), time, data)
    return Outgoing("plans", f"policy:{policy.digest}", event, partition_of(policy.digest, topics.partitions("plans")))


def plan_part(topics: Topics, case_id: str, part: str, event: Event) -> Outgoing:
    """A part of `plans`: keyed by case and part, on the partition of the case alone (rule "nothing overwritten")."""
    return Outgoing("plans", f"{case_id}:{part}", event, partition_of(case_id, topics.partitions("plans")))
