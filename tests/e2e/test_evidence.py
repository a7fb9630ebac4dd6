"""Evidence on real servers: signed words and answers, the ledger's log, certificates (rule "logged")."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from expunge.adapters.signing import Signer
from expunge.adapters.system import SystemClock
from expunge.cli.common import WRONG
from expunge.domain.events import Event, stamp
from expunge.domain.evidence.notes import checkpoint_of
from tests.deployment import Deployment, deployed, until
from tests.own_redis import ROLES, expunge, furnish
from tests.servers import ROOT, Servers
from tests.vouching import authority


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    with authority(tmp_path_factory.mktemp("tsa") / "tsa") as found:
        yield found


@pytest.fixture(scope="module")
def world(real: Servers, tmp_path_factory: pytest.TempPathFactory, clock: tuple[str, Path]) -> Iterator[Deployment]:
    with (
        pytest.MonkeyPatch.context() as patched,
        deployed(
            tmp_path_factory.mktemp("evidence") / "d", real.kafka, real.redis, batch_size=5, signed=True
        ) as deployment,
    ):
        patched.setenv("EXPUNGE_EVIDENCE__TIMESTAMPS", clock[0])
        for role in ROLES:
            deployment.start(role, "run", "--role", role)
        deployment.start("agent", "agent", "run", "files")
        yield deployment


def erased(world: Deployment, person: str, request: str) -> str:
    """Ask by the command line, which signs as the publisher, and wait for the end; the case."""
    asked = expunge(world, "submit", "erasure", "--subject", f"user_id:{person}", "--request-id", request, "--wait")
    assert asked.returncode == 0, asked.stderr
    return world.installation.keys.case("/app", request)


def certificate(world: Deployment, case_id: str) -> Path:
    """The directory of its certificate, when that is made."""
    until(lambda: expunge(world, "certificate", "get", case_id).returncode == 0, 90, world)
    told = json.loads(expunge(world, "certificate", "get", case_id, "--json").stdout)
    return Path(told["directory"])


def test_a_request_is_signed_carried_out_and_shown_to_whoever_asks(
    world: Deployment, tmp_path: Path, clock: tuple[str, Path]
) -> None:
    furnish(world, "ann", 12)
    world.await_indexed()
    unsigned = world.erase("ann", "unsigned")
    until(lambda: set_aside(world) == ["unsigned"], 60, world)
    assert not world.confirmations(unsigned, "acknowledged")
    case_id = erased(world, "ann", "signed")
    place = certificate(world, case_id)
    key = expunge(world, "certificate", "key").stdout.strip()
    done = expunge(world, "verify", str(place), "--key", key, "--tsa", str(clock[1]), "--explain")
    assert done.returncode == 0, done.stdout
    assert "it holds" in done.stdout
    assert "stamped at 20" in " ".join(done.stdout.split())
    assert "12 object" in " ".join(done.stdout.split())
    nobody = expunge(world, "verify", str(place))
    assert nobody.returncode == 1
    assert "whose that is, nobody has said" in " ".join(nobody.stdout.split())

    another = tmp_path / "handed-over"
    assert expunge(world, "certificate", "get", "signed", "--to", str(another)).returncode == 0
    lines = (another / "obligations.jsonl").read_text()
    (another / "obligations.jsonl").write_text(lines.replace('"deleted"', '"redacted"', 1))
    bent = expunge(world, "verify", str(another), "--key", key)
    assert bent.returncode == 1
    assert "does not hold" in bent.stdout

    proof = tmp_path / "proof.json"
    proof.write_text(expunge(world, "certificate", "prove", case_id, "--asset", "files:ann-0.bin").stdout)
    owner = expunge(world, "verify", str(place), "--key", key, "--proof", str(proof))
    assert owner.returncode == 0, owner.stdout
    assert "it is in the certificate: deleted (E2) in files" in " ".join(owner.stdout.split())

    published = [event["data"]["case_id"] for event in world.events("certificates")].count(case_id)
    assert expunge(world, "certificate", "publish", case_id).returncode == 0
    until(lambda: [e["data"]["case_id"] for e in world.events("certificates")].count(case_id) > published, 90, world)
    nothing = expunge(world, "certificate", "publish", case_id, "--sequence", "3")
    assert nothing.returncode == 1
    assert "tells of no end of number 3" in " ".join(nothing.stderr.split())

    kept = tmp_path / "checkpoint"
    log = world.directory / "evidence" / "log-0"
    shutil.copy(log / "checkpoint", kept)
    later = certificate(world, erased(world, "bob", "later"))
    grown = expunge(world, "verify", str(later), "--key", key, "--since", str(kept), "--log", str(log))
    assert grown.returncode == 0, grown.stdout
    assert "lie in this one unchanged" in " ".join(grown.stdout.split())
    by_go(place, key)
    assert set_aside(world) == ["unsigned"]
    nothing_planted(world)


def set_aside(world: Deployment) -> list[str]:
    return [each["data"]["reason"] for each in world.events("dead-letters")]


def nothing_planted(world: Deployment) -> None:
    """Nobody and nothing is named in what is published, or kept beside it."""
    planted = (b"ann-", b'"ann"', b"user_id", b"files:", b'"signed"', b"olga")
    every = [file for file in (world.directory / "evidence").rglob("*") if file.is_file()]
    assert len(every) > 5
    for file in every:
        raw = file.read_bytes()
        assert not [each for each in planted if each in raw], file.name


def by_go(place: Path, key: str) -> None:
    """Go's own signed notes and transparency logs find the same (examples/verify); where there is no Go, it is said."""
    if shutil.which("go") is None:
        pytest.skip("no Go here: examples/verify was not run; everything before it has passed")
    done = subprocess.run(
        ["go", "run", ".", str(place), key],
        cwd=ROOT / "examples/verify",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("holds: ")
    lines = place / "obligations.jsonl"
    lines.write_bytes(lines.read_bytes().replace(b'"object"', b'"record"', 1))
    bent = subprocess.run(
        ["go", "run", ".", str(place), key], cwd=ROOT / "examples/verify", capture_output=True, text=True, check=False
    )
    assert bent.returncode == 1
    assert "these are not the obligations" in bent.stderr


def test_operators_sign_and_a_pause_is_kept(world: Deployment) -> None:
    furnish(world, "cleo", 2)
    world.await_indexed()
    paused = expunge(world, "pause", "--all", "--operator", "olga", "--reason", "an audit", "--wait", "60")
    assert paused.returncode == 0, paused.stderr
    forged = {"scope": {"all": True}, "operator": "olga"}
    world.publish("controls", "expunge.emission.resumed.v1", forged, source="/operators/olga")
    until(lambda: set_aside(world) == ["unsigned", "unsigned"], 60, world)
    (world.directory / "keys/olga.key").rename(world.directory / "keys/kept.key")
    shutil.copy(world.directory / "keys/omar.key", world.directory / "keys/olga.key")
    wrong = expunge(world, "resume", "--all", "--operator", "olga")
    assert wrong.returncode == 2
    assert "is not the key that olga is declared with" in wrong.stderr
    (world.directory / "keys/kept.key").rename(world.directory / "keys/olga.key")
    resumed = expunge(world, "resume", "--all", "--operator", "olga", "--wait", "60")
    assert resumed.returncode == 0, resumed.stderr
    erased(world, "cleo", "after")
    doctor = expunge(world, "doctor").stdout
    assert "allow_unsigned" not in doctor.split("configuration:")[1]
    assert "anybody may speak" not in doctor


def test_a_prober_finds_what_came_back_behind_everybodys_back(world: Deployment) -> None:
    """A file is put back, and nobody says so; who looks sees it, and it goes again. Only then it is verified."""
    furnish(world, "fay", 6)
    world.await_indexed()
    case_id = erased(world, "fay", "probed")
    certificate(world, case_id)
    (world.directory / "files" / "fay-3.bin").write_bytes(b"from a backup")
    world.start("prober", "agent", "probe", "files")
    asked = expunge(world, "probe", "probed", "--operator", "olga", "--again", "30", "--wait", "60")
    assert asked.returncode == 0, asked.stderr
    until(lambda: bool(world.confirmations(case_id, "reopened")), 60, world)
    until(lambda: not (world.directory / "files" / "fay-3.bin").exists(), 60, world)
    until(lambda: "1 still there" in shown(world, case_id) and "state completed" in shown(world, case_id), 60, world)
    assert "looked into again on" in shown(world, case_id)
    assert expunge(world, "probe", case_id, "--operator", "olga").returncode == 0
    key = expunge(world, "certificate", "key").stdout.strip()

    def verified() -> str:
        place = certificate(world, case_id)
        return " ".join(expunge(world, "verify", str(place), "--key", key, "--explain").stdout.split())

    until(lambda: "6 object files verified deleted" in verified(), 90, world)
    assert "probe 2: 6 of 6 that were called gone: 6 not there" in shown(world, case_id)
    assert "no probe" not in verified()
    refused = expunge(world, "probe", case_id, "--operator", "omar")
    assert refused.returncode == 2
    assert "omar" in refused.stderr


def test_an_order_is_carried_out_and_reported_as_a_page_on_paper_and_to_drop(world: Deployment, tmp_path: Path) -> None:
    """What a supplier's withdrawal came to, against the order's own list; what a download from DROP came to."""
    names = furnish(world, "hal", 4)
    world.register([{"asset": f"files:{each.name}", "data_sources": ["supplier-a"]} for each in names])
    world.await_indexed()
    said = {
        "request_id": "C-4743",
        "data_sources": ["supplier-a"],
        "received_at": stamp(SystemClock().now()),
        "regime": "order",
        "matter": {
            "authority": "Commission of Trade",
            "docket": "C-4743",
            "order_date": "2026-10-20",
            "expected_count": 5,
            "provisions": [{"id": "III(A)", "obligation": "delete", "deadline": "2027-01-01T00:00:00Z"}],
        },
    }
    signer = Signer.of(world.directory / "keys/app.key")
    event = Event("expunge.source.withdrawn.v1", "/app", "order", SystemClock().now(), said)
    world.send("requests", signer.event(event).encode())
    case_id = world.installation.keys.case("/app", "C-4743")
    world.await_milestone(case_id)
    place, key = certificate(world, case_id), expunge(world, "certificate", "key").stdout.strip()
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"files:{each.name}\n" for each in names) + "files:never told of\n")
    openings = tmp_path / "openings.jsonl"
    openings.write_text(expunge(world, "certificate", "openings", case_id, "--list", str(listed)).stdout)
    lists = ("--list", str(listed), "--openings", str(openings), "--key", key)
    told = json.loads(expunge(world, "report", "order", str(place), *lists, "--json").stdout)
    assert told["reconciled"] == {"listed": 5, "registered": 4, "never_registered": 1, "besides": 0}
    assert [each["state"] for each in told["provisions"]] == ["met_in_time"]
    pages = world.directory / "evidence" / "pages"  # where nobody may be named, as everything there is held to at last
    pages.mkdir()
    span = ("--log", str(world.directory / "evidence" / "log-0"), "--since", "2026-01-01", "--until", "2099-01-01")
    for kind, about in (("case", (str(place),)), ("order", (str(place),)), ("period", span)):
        for form, begins in (("html", b"<!doctype html>"), ("pdf", b"%pdf-")):
            to = pages / f"{kind}.{form}"
            written = expunge(world, "report", kind, *about, "--key", key, "--to", str(to))
            assert written.returncode == 0, written.stderr
            assert to.read_bytes().lower().startswith(begins)

    asked = {"request_id": "row-1", "subjects": [{"namespace": "user_id", "id": "ira"}], "regime": "drop"}
    asked |= {"batch": "2026-11", "received_at": stamp(SystemClock().now())}
    furnish(world, "ira", 2)
    world.await_indexed()
    event = Event("expunge.erasure.requested.v1", "/app", "row-1", SystemClock().now(), asked)
    world.send("requests", signer.event(event).encode())
    world.await_milestone(world.installation.keys.case("/app", "row-1"))
    drop = ("report", "drop-status", "--batch", "2026-11", "--broker", "b-1", "--type", "Email", "--to", str(tmp_path))
    done = expunge(world, *drop, "--json")
    assert done.returncode == 0, done.stderr
    assert Path(json.loads(done.stdout)["file"]).read_bytes() == b"Id,Status\r\nrow-1,3\r\n"


def shown(world: Deployment, case_id: str) -> str:
    return " ".join(expunge(world, "case", "show", case_id).stdout.split())


def test_a_notary_that_is_killed_and_one_that_has_forgotten_all_make_the_same_log(world: Deployment) -> None:
    """Made anew from the topic, to identical bytes; what was published is never contradicted."""
    furnish(world, "dora", 5)
    world.await_indexed()
    first = erased(world, "dora", "first")
    certificate(world, first)
    world.kill("notary")
    furnish(world, "emil", 5)
    world.await_indexed()
    second = erased(world, "emil", "second")
    log = world.directory / "evidence" / "log-0"
    before = (log / "checkpoint").read_text()
    shutil.copytree(log, world.directory / "before")
    for file in (world.directory / "evidence").glob("state.sqlite*"):
        file.unlink()
    world.start("notary", "run", "--role", "notary")
    certificate(world, second)
    assert checkpoint_of((log / "checkpoint").read_text()).size > checkpoint_of(before).size
    for file in (world.directory / "before").rglob("*"):
        if file.is_file() and file.name != "checkpoint":
            assert (log / file.relative_to(world.directory / "before")).read_bytes() == file.read_bytes()
    said = {json.dumps(each) for each in world.events("certificates") if each["data"]["case_id"] == first}
    assert len(said) == 1  # published once more, it is the same


def test_another_key_follows_and_who_has_the_first_goes_on_with_it(world: Deployment) -> None:
    """A notary that still has the old key ends; one that is started anew signs with the new one."""
    until((world.directory / "evidence/log-0/checkpoint").exists, 90, world)
    first = expunge(world, "certificate", "key").stdout.strip()
    rotated = expunge(world, "certificate", "rotate-key", "--json")
    assert rotated.returncode == 0, rotated.stderr
    second = json.loads(rotated.stdout)["key"]
    assert second not in ("", first)
    furnish(world, "gus", 2)
    world.await_indexed()
    case_id = erased(world, "gus", "after another key")
    notary = world.processes.pop("notary")
    assert notary.wait(90) == WRONG
    world.start("notary", "run", "--role", "notary")
    place = certificate(world, case_id)
    for key in (first, second):
        held = expunge(world, "verify", str(place), "--key", key)
        assert held.returncode == 0, held.stdout


def test_the_log_of_another_ledger_is_never_signed(world: Deployment) -> None:
    """The published checkpoint says something else than the ledger: the notary stops, says so, and signs nothing."""
    log = world.directory / "evidence" / "log-0"
    until((log / "checkpoint").exists, 90, world)
    world.kill("notary")
    for file in (world.directory / "evidence").glob("state.sqlite*"):
        file.unlink()
    signer = Signer.of(world.directory / "keys/notary.key")
    said = checkpoint_of((log / "checkpoint").read_text())
    from expunge.domain.evidence.notes import signed

    forged = signed(said._replace(root=bytes(32)), bytes.fromhex(signer.public), signer.sign)
    (log / "checkpoint").write_text(forged)
    world.start("notary", "run", "--role", "notary")
    until(lambda: "says something else of the ledger" in world.output(), 60, world)
    erased(world, "finn", "third")
    assert (log / "checkpoint").read_text() == forged
    assert "says something else of the ledger" in expunge(world, "doctor").stdout
