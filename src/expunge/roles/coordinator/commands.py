"""What systems are told: purge these; and: do not, after all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from expunge.domain.aggregates.case.chunks import ChunkState
from expunge.domain.aggregates.case.state import Case
from expunge.domain.aggregates.retraining.state import Retraining
from expunge.domain.aggregates.suppression import RESTRICTED
from expunge.domain.digest import name
from expunge.domain.events import Event, Outgoing, stamp
from expunge.domain.planning.chunks import Chunk, Detail
from expunge.domain.planning.policy.rules import Grade
from expunge.domain.scope import ScopeKind, names_of_person
from expunge.domain.vocabulary import Action
from expunge.roles.common import COORDINATOR
from expunge.wire.cases.case import Root

COMMAND_TYPE = "expunge.purge.commanded.v1"
WITHDRAWAL_TYPE = "expunge.purge.withdrawn.v1"

_PLAIN = Detail()
_WITHOUT = frozenset({Action.REBUILD_WITHOUT, Action.RETRAIN_WITHOUT, Action.REDACT, Action.RESTRICT})


NOT_COUNTED = "answer_does_not_count"
"""Said of a joint command, whose parties may have refused the last answer for several reasons."""


def command(
    state: ChunkState, attempt: int, chunk: Chunk, root: Root, case: Case | None, least: Grade, now: datetime
) -> Outgoing:
    """A chunk's command: its targets, but for those that are held or answered where it takes another's place."""
    summary, refusals = state.summary, state.refusals
    data: dict[str, Any] = {
        "command_id": state.command_id,
        "case_id": root.case_id,
        "system": summary.system,
        "action": state.action.value,
        "stage": chunk.stage,
        "generation": state.generation,
        "attempt": attempt,
        "due_at": stamp(case.due_of(summary.provision)) if case else "",
        "regime": root.regime.value,
        "minimum_grade": least.value,
        "purposes": [each for each in state.lifting if each != RESTRICTED] if state.lifting else list(chunk.purposes),
        "collected_until": _reach(root),
        "exclude": _exclude(chunk, root),
        "people": _sealed(root, chunk.system),
        "targets": [
            target | ({"refused": refusals[ordinal]} if ordinal in refusals else {})
            for ordinal, target in zip(state.ordinals, _targets(chunk, root, state.ordinals), strict=True)
        ],
    }
    event = Event(
        COMMAND_TYPE,
        COORDINATOR,
        name(COMMAND_TYPE, state.command_id, attempt),
        now,
        {key: value for key, value in data.items() if value not in ([], {}, None)},
    )
    return Outgoing(f"commands.{summary.system}", state.command_id, event)


def joint_command(state: Retraining, parties: Sequence[tuple[Root, Chunk]], least: Grade, now: datetime) -> Outgoing:
    """The command to make a model anew without what several cases have found in it, and without their people."""
    _, chunk = parties[0]
    excludes = [_exclude(each, root) for root, each in parties]
    exclude = {
        field: sorted({value for each in excludes for value in each.get(field, ())})
        for field in ("subjects", "data_sources", "assets")
    }
    (target, *others) = [_targets(each, root, (0,))[0] for root, each in parties]
    people = [person for each in (target, *others) for person in each.get("subjects", ())]
    regimes = {root.regime.value for root, _ in parties}
    data: dict[str, Any] = {
        "command_id": state.command_id,
        "case_id": state.retraining,
        "system": state.system,
        "action": chunk.action.value,
        "stage": chunk.stage,
        "generation": state.round,
        "attempt": state.attempt,
        "due_at": stamp(state.due_at),
        "regime": regimes.pop() if len(regimes) == 1 else "",
        "requests": len(parties),
        "minimum_grade": least.value,
        "exclude": {field: values for field, values in exclude.items() if values},
        "people": _distinct(
            sorted(
                (each for root, _ in parties for each in _sealed(root, state.system)), key=lambda one: "also" in one
            ),
            "pseudonym",
        ),
        "targets": [
            target
            | ({"subjects": _distinct(people, "pseudonym", "ref")} if people else {})
            | ({"refused": NOT_COUNTED} if state.is_told_again else {})
        ],
    }
    event = Event(
        COMMAND_TYPE,
        COORDINATOR,
        name(COMMAND_TYPE, state.command_id, state.attempt),
        now,
        {key: value for key, value in data.items() if value not in ([], {}, "")},
    )
    return Outgoing(f"commands.{state.system}", state.command_id, event)


def _distinct(people: Sequence[dict[str, Any]], *by: str) -> list[dict[str, Any]]:
    """Everybody once: two requests may be one person's."""
    return list({tuple(each.get(field, "") for field in by): each for each in people}.values())


def _sealed(root: Root, system: str) -> list[dict[str, Any]]:
    """Identities that a system needs in clear, sealed to it: once in a command, however often targets name them."""
    seals = [seal for seal in root.seals if seal.system == system]
    also = {seal.pseudonym: list(seal.also or ()) for seal in seals}
    if any(seal.also is None for seal in seals):
        also |= _others(root, list(also))
    return [
        {"pseudonym": seal.pseudonym, "sealed": seal.sealed}
        | ({"also": also[seal.pseudonym]} if also[seal.pseudonym] else {})
        for seal in seals
    ]


def _others(root: Root, sealed: Sequence[str]) -> dict[str, list[str]]:
    """To the first sealed pseudonym of each namespace, those of that namespace to which nothing was sealed."""
    spaces = {subject.pseudonym: subject.namespace or "" for subject in root.scope.subjects}
    first: dict[str, str] = {}
    for pseudonym in sealed:
        first.setdefault(spaces.get(pseudonym, ""), pseudonym)
    found: dict[str, list[str]] = {}
    for pseudonym, space in spaces.items():
        if space in first and pseudonym not in sealed:
            found.setdefault(first[space], []).append(pseudonym)
    return found


def weight(chunk: Chunk, root: Root) -> int:
    """Bytes that the people of one target add to a command for several cases: handles and sealed identities."""
    subjects = _targets(chunk, root, (0,))[0].get("subjects", [])
    return len(orjson.dumps([subjects, _sealed(root, chunk.system)]))


def withdrawal(command: str, case_id: str, system: str, attempt: int, reason: str, now: datetime) -> Outgoing:
    """A command taken back. Its system remembers the id for good, and answers with what it had done by then."""
    data = {"command_id": command, "case_id": case_id, "system": system, "attempt": attempt, "reason": reason}
    event = Event(WITHDRAWAL_TYPE, COORDINATOR, name(WITHDRAWAL_TYPE, command), now, data)
    return Outgoing(f"commands.{system}", command, event)


def _targets(chunk: Chunk, root: Root, ordinals: Sequence[int]) -> list[dict[str, Any]]:
    """The targets of a command, each with the people it is about: pseudonym, and the system's own handle."""
    meant = names_of_person(chunk.root)
    named = [each for each in root.scope.subjects if not chunk.holding or each.pseudonym in meant]
    people = {each.pseudonym: {"namespace": each.namespace} if each.namespace else {} for each in named}
    targets = []
    for ordinal in ordinals:
        asset = chunk.assets[ordinal]
        detail = chunk.details.get(ordinal, _PLAIN)
        # A person may stand in an asset under several handles: one entry each.
        subjects = [
            {"pseudonym": pseudonym, **space} | ({"ref": ref} if ref else {})
            for pseudonym, space in people.items()
            for ref in [handle for person, handle in detail.refs if person == pseudonym] or [""]
        ]
        data: dict[str, Any] = {"asset": asset, "kind": chunk.kind.value, "attributes": dict(detail.attributes)}
        if root.scope.kind is ScopeKind.WITHDRAWAL and chunk.holding:
            data["data_sources"] = [chunk.root]
        data["subjects"] = subjects
        targets.append({key: value for key, value in data.items() if value not in ([], {})})
    return targets


def _reach(root: Root) -> str | None:
    """Up to when something of a person must have been collected to be meant; None: whenever it was."""
    return stamp(datetime.fromtimestamp(root.scope.until, UTC)) if root.scope.until else None


def _exclude(chunk: Chunk, root: Root) -> dict[str, Any]:
    """What an asset that stays must leave out."""
    if chunk.action not in _WITHOUT:
        return {}
    exclude = {
        "subjects": list(dict.fromkeys(subject.pseudonym for subject in root.scope.subjects)),
        "data_sources": list(root.scope.data_sources),
        "assets": list(chunk.excluded),
    }
    return {key: value for key, value in exclude.items() if value}
