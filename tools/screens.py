"""Draws what commands show on a real deployment into docs/screens: `make up`, `python tools/screens.py`, `make down`.

The deployment is one with a case that waits for an agent that does not run, one that waits for an operator, and a hold.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.text import Text
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from expunge.adapters.kafka.admin import KafkaTopics  # noqa: E402
from expunge.adapters.policy_file import shipped  # noqa: E402
from expunge.cli.app import app  # noqa: E402
from expunge.cli.common import console  # noqa: E402
from expunge.domain.registry import Registry, System  # noqa: E402
from expunge.domain.topics import all_topics  # noqa: E402
from tests.deployment import Deployment, deployed, until  # noqa: E402
from tests.servers import addresses  # noqa: E402

OUT = ROOT / "docs" / "screens"
WIDTH = 110
MANY = "guard:\n"
FEW = "guard:\n  - {id: more-than-five, more_than: 5, approvals: 1}\n"


def draw(name: str, *arguments: str) -> None:
    """What one command shows, as a picture."""
    console.width, console.record = WIDTH, True
    console.print(f"[bold]$ expunge {' '.join(arguments)}[/bold]")
    said = CliRunner().invoke(app, list(arguments)).stderr
    if said:
        console.print(Text(said.strip()))
    text = console.export_svg(title="expunge", unique_id=name)
    (OUT / f"{name}.svg").write_text(re.sub(r"@font-face \{.*?\}\s*", "", text, flags=re.DOTALL))


def prepared(world: Deployment) -> tuple[str, str]:
    """Two cases: one that waits for an agent, one that waits for an operator."""
    ann, bob = ([{"namespace": "user_id", "id": each}] for each in ("ann", "bob"))
    photos = [{"asset": f"files:ann-{n}.jpg", "subjects": ann} for n in range(2)]
    vector = {"asset": "files:ann-0.npy", "kind": "embedding", "parents": ["files:ann-0.jpg"]}
    model = {"asset": "classifier-7", "kind": "model", "system": "ml", "parents": ["files:ann-0.jpg"]}
    world.register([*photos, vector, model, *({"asset": f"files:bob-{n}", "subjects": bob} for n in range(40))])
    world.await_indexed()
    hold = ("--asset", "files:ann-1.jpg", "--basis", "litigation", "--custodian", "legal", "--review-by", "2027-06-01")
    CliRunner().invoke(app, ["hold", "place", "matter-2026-17", "--operator", "olga", *hold])
    waits, large = world.erase("ann", "ticket-1041"), world.erase("bob", "ticket-1042")
    world.await_milestone(large, "awaiting_approval")
    world.await_milestone(waits, "planned")
    until(lambda: bool(world.events("commands.files")), 30, world)
    said = ("--operator", "olga", "--reason", "[red]many[/red] requests \x1b[31mat once")
    CliRunner().invoke(app, ["case", "extend", waits, *said])
    return waits, large


def set_aside(world: Deployment) -> None:
    """Requests that nobody can take, and one that is on its way."""
    for number in range(3):
        world.publish("requests", "expunge.erasure.requested.v1", {"request_id": f"ticket-{number}", "subjects": []})
    world.erase("cleo", "ticket-1043", regime="[bold]martian[/bold]")

    def aside() -> int:
        return sum(each["data"]["topic"].endswith("requests") for each in world.events("dead-letters"))

    until(lambda: aside() == 4, 30, world)  # noqa: PLR2004


WRONG = """asset,kind,system,subjects,collected_at
files:a.jpg,object,files,user_id:1 = email:one@example.com,2026-01-01T00:00:00Z
files:b.jpg,photo,files,user_id:2,2026-01-01T00:00:00Z
files:c.jpg,object,files,phone:+49301234567,2026-01-01T00:00:00Z
files:d.jpg,object,files,user_id:4,
files:e.jpg,object,files,email:no address,2026-01-01T00:00:00Z
files:f.jpg,object
"""


def checked(world: Deployment) -> None:
    """What `agent check` says of the ready agent for files."""
    assets = [f"disposable-{number}" for number in range(6)]
    for asset in assets:
        (world.directory / "files" / asset).write_text("x")
    other = world.config.with_name("other.toml")
    other.write_text(world.config.read_text().replace("agent.db", "checked.db"))
    prefix = "check-screens."
    environment = os.environ | {"EXPUNGE_PREFIX": prefix, "EXPUNGE_CONFIG": str(other)}
    named = [word for asset in assets for word in ("--asset", f"files:{asset}")]
    topics = KafkaTopics(world.kafka, {}, prefix)
    every = all_topics(Registry(systems=(System(name="files"),)), 1, 1, 1)
    topics.create([each for each in every if each.name in ("commands.files", "receipts.files")])
    agent = subprocess.Popen(
        [sys.executable, "-m", "expunge", "agent", "run", "files"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: bool(topics.members(f"{prefix}agent.files")), 30, world)
    try:
        draw("agent-check", "agent", "check", "files", *named, "--prefix", prefix, "--absent-prefix", "files:")
    finally:
        agent.terminate()
        agent.wait(20)
        topics.delete([topic for topic in topics.all() if topic.startswith(prefix)])
        topics.close()


def main() -> None:
    """Draw all of them."""
    OUT.mkdir(exist_ok=True)
    policy = shipped().replace(MANY, FEW, 1)
    with (
        tempfile.TemporaryDirectory() as directory,
        deployed(Path(directory) / "d", *addresses("demo"), policy=policy) as world,
    ):
        world.start("roles", "run")
        waits, large = prepared(world)
        draw("case-list", "case", "list")
        draw("case-show", "case", "show", waits)
        draw("case-plan", "case", "plan", large)
        draw("refused-word", "case", "approve", large, "--plan", "ab" * 16, "--operator", "olga")
        draw("hold-list", "hold", "list")
        draw("index-lookup", "index", "lookup", "files:ann-0.jpg")
        draw("case-history", "case", "history", waits)
        set_aside(world)
        draw("dead-letters", "dead-letters", "list")
        draw("replay", "replay", "--topic", "requests")
        draw("top", "top", "--once")
        draw("doctor", "doctor")
        os.chdir(world.directory)
        Path("inventory.csv").write_text(WRONG)
        draw("import-errors", "index", "import", "inventory.csv")
        checked(world)
        world.kill("roles")


if __name__ == "__main__":
    main()
