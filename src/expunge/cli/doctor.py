"""`expunge doctor`: what is wrong with this installation, and the mend."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import typer
from rich.text import Text

from expunge import preflight
from expunge.adapters.redis.losses import RedisLosses
from expunge.adapters.redis.suspects import RedisSuspects
from expunge.adapters.redis.sweeps import RedisSweeps
from expunge.adapters.system import SystemClock
from expunge.bootstrap import Installation
from expunge.cli import rotating
from expunge.cli.agent import READY
from expunge.cli.case.thaw import frozen_line
from expunge.cli.common import NO, Json, console, installation, print_json, print_table, safe, visible
from expunge.cli.words import standing
from expunge.config import Settings, config_file, without_password
from expunge.domain.planning.policy.capabilities import incapable
from expunge.domain.planning.policy.dispose import Nature
from expunge.domain.topics import role_of
from expunge.errors import ConfigurationError, Contradicted, Forgotten, NotUnderstood, Unavailable
from expunge.ports import Finding
from expunge.roles import ROLES
from expunge.runtime.label import Label


def doctor(json_output: Json = False) -> None:
    """Check secret, servers, topics, index and declarations; print the effective settings without secrets."""
    expunge = installation()
    findings = examine(expunge)
    settings = expunge.settings.model_dump(mode="json", exclude={"kafka": {"options"}})
    settings["redis"]["url"] = without_password(expunge.settings.redis.url)
    if json_output:
        listed = [{"problem": finding.problem, "mend": finding.mend} for finding in findings]
        print_json({"configuration": str(config_file() or ""), "settings": settings, "findings": listed})
    else:
        print_table(("key", "value"), _flat(settings), title="Settings")
        console.print(f"configuration: {safe(config_file() or 'none')}")
        console.print(f"secrets: {_secrets_at_hand(expunge)}")
        _print_findings(findings)
    if findings:
        raise typer.Exit(NO)


SWEPT_AT_LEAST_EVERY = timedelta(days=3)
COMPACT = {"hash-max-ziplist-entries": 512, "hash-max-ziplist-value": 2048}
"""What keeps buckets in the compact encoding; newer servers take these names, too."""


def examine(expunge: Installation) -> list[Finding]:
    """Everything that is wrong; a check that cannot run is a finding itself."""
    checks: list[Callable[[], list[Finding]]] = [
        lambda: _secret(expunge),
        _checksums,
        lambda: expunge.topics.check(expunge.settings.topics()),
        lambda: preflight.index_findings(expunge),
        lambda: _rotation(expunge),
        lambda: _eviction(expunge),
        lambda: _persistence(expunge),
        lambda: _encodings(expunge),
        lambda: _declarations(expunge),
        lambda: _standing(expunge),
        lambda: _aside(expunge),
        lambda: _losses(expunge),
        lambda: _sweeps(expunge),
        lambda: _evidence(expunge),
        lambda: _clocks(expunge),
        lambda: _members(expunge),
        lambda: _progress(expunge),
        lambda: _capabilities(expunge),
        lambda: _asked_for(expunge),
    ]
    findings: list[Finding] = []
    for check in checks:
        try:
            findings += check()
        except Forgotten:
            pass  # how the index is says a check of its own
        except Unavailable as error:
            findings.append(Finding(str(error), "start the server, or correct its address"))
        except ConfigurationError as error:
            findings.append(Finding(str(error), "do what it says; `docs/configuration.md` lists the settings"))
        except NotUnderstood:
            mend = "run the version that wrote it: `expunge --version` says which this is"
            findings.append(Finding("Redis holds state that this version does not understand", mend))
    return list({finding.problem: finding for finding in findings}.values())


def _secret(expunge: Installation) -> list[Finding]:
    readable = [each for each in expunge.settings.secret_files() if each.exists() and each.stat().st_mode & 0o077]
    _ = expunge.keys
    return [Finding("the secret file can be read by others", f"chmod 600 {file}") for file in readable]


def _secrets_at_hand(expunge: Installation) -> str:
    """How many there are here, and what tells them from others: machines that have the same say the same."""
    try:
        return f"{expunge.keys.last} at hand, check value {expunge.keys.check[:8]}"
    except ConfigurationError:
        return "none that can be used"


def _rotation(expunge: Installation) -> list[Finding]:
    """A secret that takes another's place, or that nobody uses yet."""
    meta = expunge.server.read_meta()
    if meta is None or expunge.wrong_secret(meta) or meta.turning:
        return []  # how the index is says a check of its own
    if rotating.is_under_way(meta):
        mend = "expunge keys rotate, or wait for the next `expunge sweep`"
        return [Finding("a rotation of the secret is under way: people stand under two secrets", mend)]
    if meta.newest < expunge.keys.last and rotating.secrets_said(expunge) > meta.newest:
        problem = f"a rotation to secret {meta.newest + 1} was begun, and the index does not know of it"
        return [Finding(problem, "expunge keys rotate")]
    if meta.newest < expunge.keys.last:
        problem = f"the secret in {expunge.settings.secret_file_of(meta.newest + 1)} is not in use yet"
        return [Finding(problem, "when it is wherever Expunge runs: expunge keys rotate; or delete the file")]
    return []


def _sweeps(expunge: Installation) -> list[Finding]:
    """Where cases are forgotten, topics must be swept; a pass that nobody knows of has perhaps never been."""
    sweeps = RedisSweeps(expunge.server)
    number, last = sweeps.forgotten(range(expunge.settings.kafka.partitions)), sweeps.last()
    if not number or (last is not None and SystemClock().now() - last < SWEPT_AT_LEAST_EVERY):
        return []
    when = f"was last swept on {last.date().isoformat()}" if last else "was never swept, as far as Redis knows"
    mend = "run `expunge sweep` now, and once a day: `expunge run` does so where it runs all roles"
    return [Finding(f"{number} cases are forgotten, and what they left on topics {when}", mend)]


def _evidence(expunge: Installation) -> list[Finding]:
    """Whether anything is kept for those who do not take our word for it; what is kept is looked at where it lies."""
    evidence = expunge.settings.evidence
    if not evidence.origin:
        mend = 'expunge keys create notary, and [evidence] origin = "HOST/ledger" (docs/evidence.md)'
        return [Finding("no evidence is kept: nobody outside can check what became of a case", mend)]
    if not evidence.directory.exists() or (log := expunge.ledger_log) is None:
        return []  # the notary runs elsewhere
    try:
        log.check()
    except Contradicted as error:
        return [Finding(str(error), 'keep everything as it is, and see docs/evidence.md, "When the notary stops"')]
    reached, end = log.reached().next, sum(expunge.topics.ends(["ledger"])["ledger"].values())
    if reached > end:
        problem = f"the ledger ends at {end}, and {reached} of its records were logged: part of it is gone"
        return [Finding(problem, "docs/recovery.md")]
    return []


def _checksums() -> list[Finding]:
    if importlib.util.find_spec("crc32c") is None:
        return [Finding("the crc32c package is missing: Kafka would be ten times slower", "pip install crc32c")]
    return []


def _eviction(expunge: Installation) -> list[Finding]:
    wrong = sorted(set(expunge.server.settings("maxmemory-policy")) - {"", "noeviction"})
    if wrong:
        return [
            Finding(f"Redis may evict keys (maxmemory-policy {wrong[0]})", "CONFIG SET maxmemory-policy noeviction")
        ]
    return []


def _persistence(expunge: Installation) -> list[Finding]:
    """A server that writes nothing to disk forgets everything when it ends; a service that does not say is let be."""
    kept = zip(expunge.server.settings("appendonly"), expunge.server.settings("save"), strict=False)
    if any(log == "no" and not snapshots for log, snapshots in kept):
        problem = "Redis keeps nothing on disk (appendonly no, no save): when it ends, everything is forgotten"
        return [Finding(problem, "CONFIG SET appendonly yes, and in the server's configuration file")]
    return []


def _encodings(expunge: Installation) -> list[Finding]:
    """Buckets that Redis does not keep compact take several times the memory; nothing else is wrong with them."""
    found = []
    for setting, least in COMPACT.items():
        value = min((each for each in expunge.server.settings(setting) if each.isdigit()), key=int, default="")
        if value and int(value) < least:
            mend = f"CONFIG SET {setting} {least}, and in the server's configuration file"
            found.append(Finding(f"Redis keeps the index in several times the memory ({setting} is {value})", mend))
    return found


def _standing(expunge: Installation) -> list[Finding]:
    """What operators have said and may have forgotten."""
    found, now = standing(expunge), SystemClock().now()
    paused = sorted({pause.scope for each in found for pause in each.pauses.values() if pause.paused})
    late = {hold.hold_id for each in found for hold in each.active if hold.review_by and hold.review_by <= now}
    findings = [
        Finding(
            f"commands are paused: {scope.replace(':', ' ')}",
            f"expunge resume --{scope.replace(':', ' ')} --operator {_who(expunge, 'pause')}",
        )
        for scope in paused
    ]
    return findings + [
        Finding(
            f"hold {name} is past its review: it holds on",
            f"expunge hold release {name} --operator {_who(expunge, 'hold')}",
        )
        for name in sorted(late)
    ]


def _who(expunge: Installation, role: str) -> str:
    """An operator who may say a word, so that the line can be pasted."""
    return next((each.name for each in expunge.settings.operators if role in each.roles), "NAME")


def _aside(expunge: Installation) -> list[Finding]:
    """What waits for a person because a message could not be handled."""
    operator = _who(expunge, "decide")
    findings = [
        Finding(f"case {case_id} is {frozen_line(known)}", f"expunge case thaw {case_id} --operator {operator}")
        for each in standing(expunge)
        for case_id, known in sorted(each.frozen.items())
    ]
    for (topic, partition), suspect in sorted(RedisSuspects(expunge.server).known().items()):
        place = f"{topic} partition {partition}, offsets {suspect.first} to {suspect.last}"
        problem = f"a message has ended a process {suspect.deaths} times ({suspect.error}): {place}"
        findings.append(Finding(problem, "see the log of its role; after three times at one offset it is set aside"))
    for topic, partition, offset in sorted(RedisSuspects(expunge.server).parked()):
        problem = f"{role_of(topic)} has not come to a parked message: {topic} partition {partition} offset {offset}"
        mend = f"expunge dead-letters unpark --topic {topic} --partition {partition} --offset {offset}"
        findings.append(Finding(problem, f"see that it runs, or take it back: {mend}"))
    return findings


def _losses(expunge: Installation) -> list[Finding]:
    """Partitions that stand still because part of them is gone."""
    return [
        Finding(
            f"{loss.role} reads nothing of {topic} partition {partition}: part of it is gone ({loss})",
            f"publish again what was in it, then: expunge acknowledge-loss {topic} {partition} "
            f"--operator {_who(expunge, 'decide')} --reason TEXT",
        )
        for (topic, partition), loss in sorted(RedisLosses(expunge.server).known().items())
    ]


def _members(expunge: Installation) -> list[Finding]:
    """Roles and agents that nobody runs: what is for them waits; and roles that run with something else.

    Each role reads its policy and the declarations once, at its start.
    """
    ready = {each.system for each in expunge.settings.agents}
    members = {role: expunge.members(role) for role in ROLES}
    findings = [
        Finding(f"nobody runs the role {role}", f"expunge run --role {role}") for role in ROLES if not members[role]
    ]
    for system in expunge.settings.systems:
        if system.integrated and not expunge.agents(system.name):
            mend = f"expunge agent run {system.name}" if system.name in ready else f"start the agent of {system.name}"
            findings.append(Finding(f"no agent runs for {system.name}: its commands wait", mend))
    for role, found in members.items():
        differing = [what for each in found if (what := Label.read(each).differing(expunge.label))]
        if differing:
            what = ", or ".join(sorted(set(differing)))
            problem = f"{len(differing)} of the processes of role {role} run with {what} than this configuration"
            findings.append(Finding(problem, f"stop them, and start them with this one: expunge run --role {role}"))
    return findings


STALLED = timedelta(minutes=5)
"""Whoever has left something unread for so long is stalled, or too few."""


def _progress(expunge: Installation) -> list[Finding]:
    """Roles and agents that run and leave lie what is for them; of those that do not run, `_members` speaks."""
    topics = [topic.name for topic in expunge.settings.topics()]
    readers = {role: [topic for topic in topics if role_of(topic) == role] for role in ROLES if expunge.members(role)}
    for system in expunge.settings.systems:
        if system.integrated and expunge.agents(system.name):
            readers[f"agent.{system.name}"] = [f"commands.{system.name}"]
    since = SystemClock().now() - STALLED
    return [
        Finding(
            f"{reader.replace('agent.', 'the agent of ')} has left {number} messages of {topic} unread for more than "
            f"{STALLED.seconds // 60} minutes",
            "look into its log: it says for what it waits; where it only has too much to do, start another",
        )
        for reader, its in readers.items()
        for topic, number in expunge.topics.unread(reader, its, since).items()
    ]


def _capabilities(expunge: Installation) -> list[Finding]:
    """Actions that are declared for a system and that its ready agent does not know."""
    types = {each.system: each.type for each in expunge.settings.agents}
    return [
        Finding(
            f"system {system.name} declares {', '.join(sorted(more))}, which its {types[system.name]} agent cannot do",
            f"take that out of the actions of {system.name}, or write an agent that does it",
        )
        for system in expunge.settings.systems
        if system.name in types and (more := set(system.actions) - READY[types[system.name]].actions)
    ]


def _asked_for(expunge: Installation) -> list[Finding]:
    """What policy may ask of systems for what the index says that they hold, and they do not declare."""
    settings, index = expunge.settings, expunge.index
    holdings = {row.combination for row in index.rows(index.holdings()) if row}
    held = [Nature(each) for each in index.combinations() if each not in holdings]
    held += [Nature(each, holding=True) for each in holdings]
    regimes = {publisher.default_regime for publisher in settings.publishers}
    return [
        Finding(
            f"policy may ask {each.system} to {each.action.value} ({', '.join(each.kinds)}; by its rules for "
            f"{', '.join(each.rules)}), which it does not declare: such obligations would stay open",
            f"add {each.action.value} to the actions of {each.system} once its agent does that, or change the rule",
        )
        for each in incapable(expunge.policy, settings.systems, held, regimes)
    ]


CLOCK_SECONDS = 60


def _clocks(expunge: Installation) -> list[Finding]:
    """Due dates and waits follow the brokers' clocks: they must not differ from the others'."""
    now = SystemClock().now()
    redis = expunge.server.time() - now.timestamp()
    latest = expunge.topics.latest()
    kafka = (latest - now).total_seconds() if latest else 0.0
    findings = []
    if abs(redis) > CLOCK_SECONDS:
        findings.append(Finding(f"the clocks of Redis and of this machine differ by {redis:.0f} s", "set them right"))
    if kafka > CLOCK_SECONDS:
        problem = f"a message was appended {kafka:.0f} s ahead of this machine's clock"
        findings.append(Finding(problem, "set the broker's clock or this one right"))
    return findings


NOT_SIGNED = "declare operators with a key (`expunge keys create NAME`), and take the line out"


def _declarations(expunge: Installation) -> list[Finding]:
    settings = expunge.settings
    found = []
    if not settings.publishers:
        found.append(Finding("no publishers are declared: nobody may ask for anything", "add [[publishers]]"))
    if not settings.systems:
        found.append(Finding("no systems are declared: every asset is unowned", "add [[systems]]"))
    if settings.allow_unsigned:
        found.append(Finding("allow_unsigned is set: anybody who can write to a topic is believed", NOT_SIGNED))
    found += _unbound(settings)
    approvers = sum("approve" in operator.roles for operator in settings.operators)
    most = max(row.approvals for row in expunge.policy.guard)
    if approvers < most:
        problem = f"a large plan may need {most} operators and {approvers} may approve: it would wait for ever"
        found.append(Finding(problem, "declare [[operators]] with the role approve"))
    found += [
        Finding(f"system {system.name} is not integrated ({system.reason})", f"ask {system.owner} for an agent")
        for system in settings.systems
        if not system.integrated
    ]
    return found


def _unbound(settings: Settings) -> list[Finding]:
    """In whose name anybody could speak who can write to a topic."""
    unbound = [each.name for each in settings.publishers if not each.is_bound]
    found = []
    if unbound:
        problem = f"what publishers may ask is not enforced: anybody may speak as {', '.join(unbound)}"
        mend = "give them a key (`expunge keys create NAME`), or own_topic = true and an access list of the broker"
        found.append(Finding(problem, mend))
    mute = [each.name for each in settings.operators if not each.key]
    if mute and not settings.allow_unsigned:
        mend = "expunge keys create NAME, and the line that it prints into their [[operators]]"
        found.append(Finding(f"nobody believes operators without a key: {', '.join(mute)}", mend))
    return found


def _flat(settings: dict[str, Any], path: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in settings.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{path}{key}.")
        elif isinstance(value, list):
            rows.append((path + key, ", ".join(_named(each) for each in value)))
        else:
            rows.append((path + key, str(value)))
    return rows


def _named(value: object) -> str:
    return (
        str(value.get("name") or value.get("pattern") or value.get("system")) if isinstance(value, dict) else str(value)
    )


def _print_findings(findings: list[Finding]) -> None:
    """Each finding with its mend on a line of its own, which can be copied however narrow the terminal is."""
    console.print()
    console.print(Text("Findings", style="bold"))
    for finding in findings:
        console.print(Text(visible(finding.problem), style="yellow"))
        console.print(Text("  " + visible(finding.mend)), soft_wrap=True)
    if not findings:
        console.print(Text("nothing is wrong", style="green"))
