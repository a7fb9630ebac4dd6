"""What systems are told: purge these; and: do not, after all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

import orjson

from expunge.domain.aggregates.case.chunks import ChunkState
from expunge.domain.aggregates.case.state import Case
from expunge.domain.aggregates.retraining.state import Retraining
from expunge.domain.aggregates.suppression import RESTRICTED
from expunge.domain.digest import name
from expunge.domain.events import Event, Outgoing
from expunge.domain.limits import MAX_DISMISSED
from expunge.domain.planning.chunks import Chunk, Detail
from expunge.domain.scope import ScopeKind, names_of_person
from expunge.domain.vocabulary import Action, Grade
from expunge.roles.common import COORDINATOR
from expunge.wire.cases.case import Root
from expunge.wire.commands import (
    COMMANDED,
    FORGOTTEN,
    WITHDRAWN,
    CommandPerson,
    CommandSubject,
    CommandTarget,
    Exclude,
    PurgeCommanded,
    PurgeForgotten,
    PurgeWithdrawn,
)

NOT_COUNTED = "answer_does_not_count"
"""Said of a joint command, whose parties may have refused the last answer for several reasons."""
_PLAIN = Detail()
_WITHOUT = frozenset({Action.REBUILD_WITHOUT, Action.RETRAIN_WITHOUT, Action.REDACT, Action.RESTRICT})


def command(
    state: ChunkState, attempt: int, chunk: Chunk, root: Root, case: Case, least: Grade, now: datetime
) -> Outgoing:
    """A chunk's command: its targets, but for those that are held or answered where it takes another's place."""
    purposes = [each for each in state.lifting if each != RESTRICTED] if state.lifting else chunk.purposes
    return _sent(
        PurgeCommanded(
            command_id=state.command_id,
            case_id=root.case_id,
            system=state.summary.system,
            action=state.action,
            stage=chunk.stage,
            generation=state.generation,
            attempt=attempt,
            due_at=case.due_of(state.summary.provision),
            regime=root.regime,
            minimum_grade=least.value,
            purposes=tuple(purposes),
            collected_until=datetime.fromtimestamp(root.scope.until, UTC) if root.scope.until else None,
            exclude=_exclude(chunk, root),
            people=sealed_to(root, chunk.system),
            targets=targets_of(chunk, root, state.ordinals, state.refusals),
        ),
        now,
    )


def joint_command(state: Retraining, parties: Sequence[tuple[Root, Chunk]], least: Grade, now: datetime) -> Outgoing:
    """The command to make a model anew without what several cases have found in it, and without their people."""
    _, chunk = parties[0]
    excludes = [_exclude(each, root) for root, each in parties]
    targets = [targets_of(each, root, (0,))[0] for root, each in parties]
    people = [person for root, _ in parties for person in sealed_to(root, state.system)]
    regimes = {root.regime for root, _ in parties}
    changes = {
        "subjects": _distinct([person for target in targets for person in target.subjects], "pseudonym", "ref"),
        "refused": NOT_COUNTED if state.is_told_again else None,
    }
    return _sent(
        PurgeCommanded(
            command_id=state.command_id,
            case_id=state.retraining,
            system=state.system,
            action=chunk.action,
            stage=chunk.stage,
            generation=state.round,
            attempt=state.attempt,
            due_at=state.due_at,
            regime=regimes.pop() if len(regimes) == 1 else None,
            requests=len(parties),
            minimum_grade=least.value,
            exclude=Exclude(
                subjects=tuple(sorted({each for one in excludes for each in one.subjects})),
                data_sources=tuple(sorted({each for one in excludes for each in one.data_sources})),
                assets=tuple(sorted({each for one in excludes for each in one.assets})),
            ),
            people=_distinct(sorted(people, key=lambda one: bool(one.also)), "pseudonym"),
            targets=(targets[0].model_copy(update=changes),),
        ),
        now,
    )


def withdrawal(command: str, case_id: str, system: str, attempt: int, reason: str, now: datetime) -> Outgoing:
    """A command taken back. Its system remembers the id for good, and answers with what it had done by then."""
    said = PurgeWithdrawn(command_id=command, case_id=case_id, system=system, attempt=attempt, reason=reason)
    event = Event(WITHDRAWN, COORDINATOR, name(WITHDRAWN, command), now, said.data())
    return Outgoing(f"commands.{system}", command, event)


def forgotten(case_id: str, chunks: Iterable[ChunkState], now: datetime) -> Iterator[Outgoing]:
    """To each system, which commands of a case it need not remember the answers of any more."""
    sent: dict[str, list[str]] = defaultdict(list)
    for chunk in chunks:
        if chunk.attempt and not chunk.pooled:
            sent[chunk.summary.system] += {chunk.command_id, *chunk.named}
    for system, ids in sorted(sent.items()):
        for start in range(0, len(ids), MAX_DISMISSED):
            some = tuple(sorted(ids)[start : start + MAX_DISMISSED])
            said = PurgeForgotten(case_id=case_id, system=system, command_ids=some)
            event = Event(FORGOTTEN, COORDINATOR, name(FORGOTTEN, case_id, *some), now, said.data())
            yield Outgoing(f"commands.{system}", case_id, event)


def weight(chunk: Chunk, root: Root) -> int:
    """Bytes that the people of one target add to a command for several cases: handles and sealed identities."""
    (target,) = targets_of(chunk, root, (0,))
    people = [each.data() for each in (*target.subjects, *sealed_to(root, chunk.system))]
    return len(orjson.dumps(people))


def _sent(said: PurgeCommanded, now: datetime) -> Outgoing:
    identity = name(COMMANDED, said.command_id, said.attempt)
    event = Event(COMMANDED, COORDINATOR, identity, now, said.data())
    return Outgoing(f"commands.{said.system}", said.command_id, event)


def _distinct(people: Sequence[CommandSubject] | Sequence[CommandPerson], *by: str) -> tuple[object, ...]:
    """Everybody once: two requests may be one person's."""
    return tuple({tuple(getattr(each, field) for field in by): each for each in people}.values())


def sealed_to(root: Root, system: str) -> tuple[CommandPerson, ...]:
    """Identities that a system needs in clear, sealed to it: once in a command, however often targets name them."""
    seals = [seal for seal in root.seals if seal.system == system]
    also = {seal.pseudonym: seal.also or () for seal in seals}
    if any(seal.also is None for seal in seals):
        also |= _others(root, list(also))
    return tuple(
        CommandPerson(pseudonym=seal.pseudonym, sealed=seal.sealed, also=also[seal.pseudonym]) for seal in seals
    )


def _others(root: Root, sealed: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """To the first sealed pseudonym of each namespace, those of that namespace to which nothing was sealed."""
    spaces = {subject.pseudonym: subject.namespace or "" for subject in root.scope.subjects}
    first: dict[str, str] = {}
    for pseudonym in sealed:
        first.setdefault(spaces.get(pseudonym, ""), pseudonym)
    found: dict[str, tuple[str, ...]] = {}
    for pseudonym, space in spaces.items():
        if space in first and pseudonym not in sealed:
            found[first[space]] = (*found.get(first[space], ()), pseudonym)
    return found


def targets_of(
    chunk: Chunk, root: Root, ordinals: Sequence[int], refusals: dict[int, str] | None = None
) -> tuple[CommandTarget, ...]:
    """The targets of a command, each with the people it is about: pseudonym, and the system's own handle."""
    meant = names_of_person(chunk.root)
    named = [each for each in root.scope.subjects if not chunk.holding or each.pseudonym in meant]
    people = {each.pseudonym: each.namespace for each in named}
    sources = (chunk.root,) if root.scope.kind is ScopeKind.WITHDRAWAL and chunk.holding else ()
    plain = tuple(CommandSubject(pseudonym=each, namespace=space) for each, space in people.items())
    return tuple(
        CommandTarget(
            asset=chunk.assets[ordinal],
            kind=chunk.kind,
            attributes=detail.attributes,
            data_sources=sources,
            subjects=_handled(people, detail) if detail.refs else plain,
            refused=(refusals or {}).get(ordinal),
        )
        for ordinal in ordinals
        for detail in (chunk.details.get(ordinal, _PLAIN),)
    )


def _handled(people: dict[str, str | None], detail: Detail) -> tuple[CommandSubject, ...]:
    """A person may stand in an asset under several handles: one entry each."""
    return tuple(
        CommandSubject(pseudonym=pseudonym, namespace=space, ref=ref)
        for pseudonym, space in people.items()
        for ref in [handle for person, handle in detail.refs if person == pseudonym] or (None,)
    )


def _exclude(chunk: Chunk, root: Root) -> Exclude:
    """What an asset that stays must leave out."""
    if chunk.action not in _WITHOUT:
        return Exclude()
    return Exclude(
        subjects=tuple(dict.fromkeys(subject.pseudonym for subject in root.scope.subjects)),
        data_sources=root.scope.data_sources,
        assets=chunk.excluded,
    )
