"""Every state of every machine on real servers: of cases, commands, models, joint retrains and holds.

What was reached is read from the ledger at the end, fact by fact, as tools/machines.py reads it in memory.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
import structlog
from typer.testing import CliRunner

from expunge import queries
from expunge.adapters.policy_file import shipped
from expunge.adapters.system import SystemClock, configure_logs
from expunge.agent import Agent, Fields, Result, Target, deferred, deleted, done, failed, later
from expunge.cli.app import app
from expunge.domain.aggregates.case.chunks import ChunkState, Phase
from expunge.domain.aggregates.case.fact import apply
from expunge.domain.aggregates.case.models import ModelState, is_model, state_of
from expunge.domain.aggregates.case.opening import Opened
from expunge.domain.aggregates.retraining.facts import RetrainFact, first_state
from expunge.domain.aggregates.retraining.facts import apply as apply_retraining
from expunge.domain.aggregates.retraining.state import RoundPhase
from expunge.domain.events import stamp
from expunge.domain.vocabulary import Action, Claim, Status
from expunge.wire import ledger
from tests.deployment import Deployment, deployed, until
from tests.servers import Servers

FIRST = "  - id: named-asset"
RULES = f"""  - {{id: kept, when: {{category: biometric}}, then: exempt, legal_basis: "a law"}}
  - {{id: served, when: {{kind: deployment}}, first: disable, then: rebuild_without}}
{FIRST}"""
GUARD = "  - id: many\n    more_than: 100000\n"
Behave = Callable[[Target], Result]


class Trainer:
    """A system of models that does what a test tells it; what it is not told about it does well."""

    def __init__(self) -> None:
        self.behave: dict[str, Behave] = {}
        self.seen: list[tuple[str, Action, str]] = []

    def purge(self, batch: Sequence[Target]) -> list[Result]:
        return [self._one(target) for target in batch]

    def _one(self, target: Target) -> Result:
        self.seen.append((target.asset, target.action, target.command_id))
        behave = self.behave.get(target.asset)
        if behave is not None and target.action in {Action.RETRAIN_WITHOUT, Action.DELETE, Action.REBUILD_WITHOUT}:
            return behave(target)
        return {
            Action.DISABLE: lambda: done(target, Claim.DISABLED),
            Action.REBUILD_WITHOUT: lambda: done(target, Claim.REBUILT_WITHOUT),
            Action.NOTIFY: lambda: done(target, Claim.NOTIFIED),
        }.get(target.action, lambda: deleted(target))()


class Lab:
    """The deployment, its trainer, and what tests ask of them."""

    def __init__(self, world: Deployment) -> None:
        self.world, self.trainer = world, Trainer()
        self.held: set[str] = set()
        """States of holds that were seen."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        world = self.world
        agent = Agent(
            "ml",
            self.trainer,
            bootstrap_servers=world.kafka,
            prefix=world.prefix,
            state=world.directory / "ml.db",
            session_timeout_ms=6000,
        )
        agent.run(self._stop)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(30)

    def model_of(self, person: str, *, deployed: bool = False, **fields: Any) -> str:
        """A photo of somebody, a model of it, perhaps one that is served; the model."""
        file = self.world.directory / "files" / f"{person}.txt"
        file.write_text("x")
        model = {"asset": f"model-{person}", "kind": "model", "system": "ml", "parents": [f"files:{file.name}"]}
        assets = [{"asset": f"files:{file.name}", "subjects": [{"namespace": "user_id", "id": person}]}, model | fields]
        if deployed:
            assets.append(
                {"asset": f"live-{person}", "kind": "deployment", "system": "ml", "parents": [model["asset"]]}
            )
        self.world.register(assets)
        self.world.await_indexed()
        return str(model["asset"])

    def erase(self, person: str) -> str:
        case_id = self.world.erase(person, f"request-{person}", received_at=stamp(SystemClock().now()))
        until(lambda: queries.case(self.world.installation, case_id), 60, self.world)
        return case_id

    def made_anew(self, target: Target) -> Result:
        """What a good trainer does: it makes another model, of clean data, and registers it."""
        self.register_replacement(target)
        return done(target, Claim.RETRAINED_WITHOUT, replacement={"asset": f"{target.asset}+"})

    def register_replacement(self, target: Target) -> None:
        clean = {"asset": "clean-set", "kind": "dataset", "system": "ml"}
        made = {
            "asset": f"{target.asset}+",
            "kind": "model",
            "system": "ml",
            "parents": ["clean-set"],
            "derived_at": stamp(SystemClock().now()),
            "command_id": target.command_id,
        }
        self.world.register([clean, made])

    def state(self, case_id: str, model: str) -> str:
        """The state of a model as `case plan` shows it."""
        found = {each["model"]: each["state"] for each in document("case", "plan", case_id)["models"]}
        return str(found.get(model, ""))

    def await_state(self, case_id: str, model: str, state: ModelState) -> None:
        until(lambda: self.state(case_id, model) == state.value, 60, self.world)

    def hold_state(self, hold: str) -> str:
        lines = invoke("hold", "list", "--released", "--json").splitlines()
        found = {each["hold_id"]: each for each in map(json.loads, lines)}
        state = str(found[hold]["state"])
        self.held.add("overdue for review" if found[hold]["review_overdue"] else state)
        return state


@pytest.fixture(scope="module")
def lab(real: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    assert FIRST in shipped()
    assert GUARD in shipped()
    policy = shipped().replace(FIRST, RULES).replace(GUARD, GUARD.replace("100000", "20"))
    with deployed(tmp_path_factory.mktemp("states") / "d", real.kafka, real.redis, policy=policy) as deployment:
        deployment.start("roles", "run")
        deployment.start("agent", "agent", "run", "files")
        configure_logs()  # to standard error: an agent of this process says a line for each command
        made = Lab(deployment)
        try:
            yield made
        finally:
            made.close()
            structlog.reset_defaults()


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def document(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(invoke(*arguments, "--json"))
    return found


def say(*arguments: str) -> None:
    invoke(*arguments, "--operator", "olga")


def test_a_model_is_made_anew_from_the_first_step_to_the_last(lab: Lab) -> None:
    model = lab.model_of("ann", deployed=True)
    lab.trainer.behave[model] = lambda target: done(
        target, Claim.RETRAINED_WITHOUT, replacement={"asset": f"{target.asset}+"}
    )
    case_id = lab.erase("ann")
    lab.await_state(case_id, model, ModelState.SCHEDULED)
    (shown,) = [each for each in document("case", "plan", case_id)["models"] if each["model"] == model]
    assert shown["begins_at"]
    assert ("live-ann", Action.DISABLE) in [(asset, action) for asset, action, _ in lab.trainer.seen]
    say("case", "decide", case_id, "--asset", model, "--option", "retrain_now", "--rationale", "an urgent matter")
    lab.await_state(case_id, model, ModelState.ARTEFACTS_DESTROYED)  # nobody has registered what took its place
    (command,) = [each for each in lab.world.events("commands.ml") if each["data"].get("requests")]
    lab.register_replacement(
        Target(command["data"]["command_id"], "", model, None, Action.RETRAIN_WITHOUT)  # type: ignore[arg-type]
    )
    said = lab.world.await_milestone(case_id)
    assert said["counts"]["model"] == {"retrained_without": 1}
    assert said["counts"]["deployment"] == {"disabled": 1, "rebuilt_without": 1}
    assert lab.state(case_id, model) == "closed"


def test_two_people_share_a_retrain_that_is_withdrawn_while_its_system_is_paused(lab: Lab) -> None:
    files = [lab.world.directory / "files" / f"{person}.txt" for person in ("bea", "ben")]
    for file in files:
        file.write_text("x")
    people = [
        {"asset": f"files:{file.name}", "subjects": [{"namespace": "user_id", "id": file.stem}]} for file in files
    ]
    parents = [each["asset"] for each in people]
    lab.world.register([*people, {"asset": "shared-model", "kind": "model", "system": "ml", "parents": parents}])
    lab.world.await_indexed()
    day = SystemClock().now() + timedelta(days=1)
    lab.trainer.behave["shared-model"] = lambda target: later(target, day)  # it takes its time
    cases = [lab.erase(person) for person in ("bea", "ben")]
    for case_id in cases:
        lab.await_state(case_id, "shared-model", ModelState.SCHEDULED)
    say("case", "decide", cases[0], "--asset", "shared-model", "--option", "retrain_now", "--rationale", "x")
    for case_id in cases:
        lab.await_state(case_id, "shared-model", ModelState.EXECUTING)
    say("pause", "--system", "ml", "--reason", "a bad day")  # ends when its word is in force
    for case_id in cases:
        lab.await_state(case_id, "shared-model", ModelState.KEPT_BACK)
    lab.trainer.behave["shared-model"] = lab.made_anew
    say("resume", "--system", "ml")
    for case_id in cases:
        lab.await_state(case_id, "shared-model", ModelState.SCHEDULED)
    say("case", "decide", cases[1], "--asset", "shared-model", "--option", "retrain_now", "--rationale", "x")
    for case_id in cases:
        assert lab.world.await_milestone(case_id)["counts"]["model"] == {"retrained_without": 1}
    told = [each["data"] for each in lab.world.events("commands.ml") if each["data"].get("requests") == 2]
    assert len({each["command_id"] for each in told}) == 2
    assert not any(file.exists() for file in files)


def test_a_model_that_fails_is_missing_and_done_when_it_succeeds(lab: Lab) -> None:
    model = lab.model_of("cleo")
    lab.trainer.behave[model] = lambda target: failed(target, "disk_full")
    case_id = lab.erase("cleo")
    lab.await_state(case_id, model, ModelState.SCHEDULED)
    say("case", "decide", case_id, "--asset", model, "--option", "retrain_now", "--rationale", "x")
    lab.await_state(case_id, model, ModelState.FAILED)
    overdue = lab.world.erase("cleo", "late", received_at="2026-01-01T00:00:00Z")  # its due date has passed
    lab.world.await_milestone(overdue, "overdue")
    until(lambda: document("case", "show", overdue)["counts"].get("model"), 60, lab.world)
    say("case", "cancel", overdue, "--reason", "asked twice")
    lab.world.await_milestone(overdue, "cancelled")


def test_what_fails_as_often_as_it_may_is_said_to_be_missing(lab: Lab) -> None:
    lab.trainer.behave["set-drew"] = lambda target: failed(target, "disk_full")
    person = [{"namespace": "user_id", "id": "drew"}]
    lab.world.register([{"asset": "set-drew", "kind": "dataset", "system": "ml", "subjects": person}])
    lab.world.await_indexed()
    said = lab.world.await_milestone(lab.erase("drew"), "partially_completed")
    assert said["failures"] == [
        {"system": "ml", "kind": "dataset", "claim": "failed", "reason": "disk_full", "count": 1}
    ]


def test_what_is_held_put_off_exempt_or_anonymous_is_said_so(lab: Lab) -> None:
    world, names = lab.world, ("dora", "emil", "fay", "gus")
    held, put_off, anonymous = (lab.model_of(person) for person in names[:3])
    exempt = lab.model_of("gus", categories=["biometric"])
    evidence: Fields = {"artefact_digest": "sha256:" + "ab" * 32, "until": "2027-11-01T00:00:00Z"}
    lab.trainer.behave |= {
        held: lab.made_anew,
        put_off: lambda target: deferred(target, SystemClock().now().replace(year=2028), "window"),
        anonymous: lambda target: done(target, Claim.ANONYMISED_WITH_PROOF, **evidence),
    }
    long_ago = "2026-01-01"
    say("hold", "place", "m1", "--asset", held, "--basis", "b", "--custodian", "c", "--review-by", long_ago)
    assert lab.hold_state("m1") == "in force"
    assert "review" in " ".join(CliRunner().invoke(app, ["doctor"]).stdout.split())
    say("hold", "place", "m2", "--system", "files", "--basis", "b", "--custodian", "c")
    assert lab.hold_state("m2") == "in force"
    say("hold", "release", "m2")
    assert lab.hold_state("m2") == "released"
    cases = dict(zip(names, map(lab.erase, names), strict=True))
    for person, model in (("emil", put_off), ("fay", anonymous)):
        lab.await_state(cases[person], model, ModelState.SCHEDULED)
        say("case", "decide", cases[person], "--asset", model, "--option", "retrain_now", "--rationale", "x")
    lab.await_state(cases["dora"], held, ModelState.HELD)
    lab.await_state(cases["emil"], put_off, ModelState.DEFERRED)
    lab.await_state(cases["fay"], anonymous, ModelState.ANONYMOUS)
    lab.await_state(cases["gus"], exempt, ModelState.EXEMPT)
    for person in ("dora", "emil"):
        world.await_milestone(cases[person], "completed_with_deferrals")
    for person in ("fay", "gus"):
        world.await_milestone(cases[person])
    say("hold", "release", "m1")
    lab.await_state(cases["dora"], held, ModelState.SCHEDULED)
    say("case", "decide", cases["dora"], "--asset", held, "--option", "retrain_now", "--rationale", "x")
    world.await_milestone(cases["dora"])


def test_a_hold_takes_effect_when_what_is_with_a_system_was_withdrawn(lab: Lab) -> None:
    """No agent answers: the hold is placed and not in force until one does."""
    agent = lab.world.processes.pop("agent")
    agent.terminate()
    agent.wait(30)
    lab.model_of("hugo")
    case_id = lab.erase("hugo")
    until(lambda: any(e["data"]["case_id"] == case_id for e in lab.world.events("commands.files")), 60, lab.world)
    words = ("--basis", "b", "--custodian", "c", "--wait", "1", "--operator", "olga")
    result = CliRunner().invoke(app, ["hold", "place", "m3", "--asset", "files:hugo.txt", *words])
    assert result.exit_code == 1
    assert lab.hold_state("m3") == "taking effect"
    lab.world.start("agent", "agent", "run", "files")
    until(lambda: lab.hold_state("m3") == "in force", 60, lab.world)
    assert (lab.world.directory / "files" / "hugo.txt").exists()
    say("hold", "release", "m3")


def test_a_backup_waits_and_a_large_plan_is_refused(lab: Lab) -> None:
    files = [lab.world.directory / "files" / f"ida-{number}.txt" for number in range(21)]
    for file in files:
        file.write_text("x")
    subjects = [{"namespace": "user_id", "id": "ida"}]
    lab.world.register([{"asset": f"files:{file.name}", "subjects": subjects} for file in files])
    tape = {"asset": "tape", "kind": "backup", "system": "ml", "subjects": [{"namespace": "user_id", "id": "jan"}]}
    lab.world.register([tape])
    lab.world.await_indexed()
    large, small = lab.erase("ida"), lab.erase("jan")
    plan = lab.world.await_milestone(large, "awaiting_approval")["plan_digest"]
    say("case", "reject", large, "--plan", plan, "--reason", "wrong account")
    assert lab.world.await_milestone(large, "refused")["outcome"] == "refused"
    lab.world.await_milestone(small, "completed_with_deferrals")
    say("case", "decide", small, "--system", "ml", "--option", "restored", "--rationale", "it was restored")
    assert lab.world.await_milestone(small)["counts"] == {"backup": {"rebuilt_without": 1}}
    assert all(file.exists() for file in files)


def test_every_state_was_reached(lab: Lab) -> None:
    """Read from the ledger, fact by fact: the tests above went there."""
    facts: dict[str, dict[int, Any]] = defaultdict(dict)
    for event in lab.world.events("ledger"):
        fact = ledger.read(event["type"], event["data"]["body"])
        facts[event["data"]["case_id"]][event["data"]["sequence"]] = fact
    cases, phases, models, joint = set(), set(), set(), set()
    for key, found in facts.items():
        first, *others = [found[number] for number in sorted(found)]
        if isinstance(first, RetrainFact):
            state = first_state(key, "ml", "0" * 32, SystemClock().now())
            for fact in (first, *others):
                state = apply_retraining(state, fact)
                joint.add(state.phase)
            continue
        assert isinstance(first, Opened)
        root = lab.world.installation.cases.reader(lab.world.partition_of_case(key)).root(key)
        assert root is not None
        case, chunks = first.begin(root, SystemClock().now()), dict[str, ChunkState]()
        cases.add(case.status)
        for fact in others:
            case, touched = apply(case, chunks, fact)
            chunks |= touched
            cases.add(case.status)
            phases |= {chunk.phase for chunk in chunks.values()}
            models |= {state_of(case, chunk) for chunk in chunks.values() if is_model(chunk)}
    assert cases == set(Status)
    assert phases == set(Phase)
    assert models == set(ModelState)
    assert joint == set(RoundPhase)
    assert lab.held >= {"taking effect", "in force", "overdue for review", "released"}
