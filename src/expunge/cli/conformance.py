"""`expunge agent check SYSTEM`: does an agent, in whatever language, do what Expunge relies on?"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from nacl.exceptions import CryptoError
from rich.text import Text

from expunge.adapters.broker import broker
from expunge.adapters.system import SystemClock
from expunge.adapters.vault import seal_for
from expunge.agent.conformance import NEEDED, Finding, Holding, Stage, run
from expunge.cli.common import NO, Json, console, print_json
from expunge.config import load
from expunge.domain.events import Outgoing, Record
from expunge.domain.registry import Registry, System
from expunge.domain.topics import all_topics
from expunge.domain.vocabulary import Kind
from expunge.errors import ConfigurationError

if TYPE_CHECKING:
    from expunge.adapters.broker import Broker


def check(
    system: Annotated[str, typer.Argument(help="The system's name, as its agent knows it.")],
    asset: Annotated[
        list[str] | None, typer.Option(help=f"An asset that nobody needs: it is deleted. {NEEDED} are needed.")
    ] = None,
    holding: Annotated[
        str | None, typer.Option(help="Of a system that finds people itself: what it is asked by.")
    ] = None,
    person: Annotated[
        list[str] | None, typer.Option(help=f"NAMESPACE:ID of somebody whose rows nobody needs. {NEEDED} are needed.")
    ] = None,
    sealing_key: Annotated[str, typer.Option(help="With --holding: the system's public key, hexadecimal.")] = "",
    prefix: Annotated[
        str | None, typer.Option(help="Of topics (default: one made for this run). Start the agent under it.")
    ] = None,
    absent_prefix: Annotated[str, typer.Option(help="What ids of assets that are not there begin with.")] = "",
    kind: Annotated[Kind, typer.Option(help="What the assets are.")] = Kind.OBJECT,
    seconds: Annotated[float, typer.Option(min=1, help="How long an answer may take.")] = 20.0,
    crash: Annotated[bool, typer.Option("--crash", help="Ask you to kill the agent, too.")] = False,
    json_output: Json = False,
) -> None:
    """Play Expunge against a running agent, and print what it got right.

    It speaks under a prefix of its own: no role reads it, and no case hears of it.
    """
    asked, things = _asked(holding, person or [], sealing_key), asset or []
    if asked is not None:
        things = [each.partition(":")[2] for each in person or []]
    if len(things) < NEEDED:
        word = "people (--person)" if asked else "assets (--asset)"
        raise ConfigurationError(f"{NEEDED} {word} are needed whose data nobody needs, and {len(things)} are named")
    kafka = load().kafka
    under = prefix or f"check-{secrets.token_hex(4)}."
    cluster = broker(kafka.bootstrap_servers, kafka.options, under, kafka.client)
    topics = cluster.topics
    every = all_topics(Registry(systems=(System(name=system),)), 1, 1, 1)
    topics.create([each for each in every if each.name in (f"commands.{system}", f"receipts.{system}")])
    if not topics.members(f"{under}agent.{system}") and not json_output:
        console.print(f"start the agent of {system} with prefix={under}", markup=False)
    talk = _Kafka(cluster, system)
    clock = SystemClock()
    stage = Stage(system, talk, clock, clock.now, kind.value, list(things), seconds, absent_prefix, asked)
    findings = []
    try:
        for finding in run(stage, _ask if crash else None):
            findings.append(finding)
            if not json_output:
                console.print(_word(finding), Text(f"{finding.play}:"), Text(finding.seen, style="dim"))
    finally:
        talk.close()
        cluster.close()
    _print(findings, as_json=json_output)
    if not all(finding.right for finding in findings):
        raise typer.Exit(NO)


def _asked(holding: str | None, people: list[str], sealing_key: str) -> Holding | None:
    """The holding that is asked about people; None: the system is asked about assets."""
    if holding is None:
        return None
    namespaces = {each.partition(":")[0] for each in people}
    if len(namespaces) != 1 or not all(":" in each for each in people):
        raise ConfigurationError("with --holding, people are named by --person NAMESPACE:ID, of one namespace")

    def seal(plain: bytes) -> str:
        try:
            return seal_for(sealing_key, plain)
        except (ValueError, TypeError, CryptoError):
            raise ConfigurationError("--sealing-key is no X25519 public key of 64 hexadecimal digits") from None

    return Holding(holding, namespaces.pop(), seal)


def _print(findings: Sequence[Finding], *, as_json: bool) -> None:
    if as_json:
        print_json([{"play": each.play, "right": each.right, "seen": each.seen} for each in findings])
        return
    wrong = sum(not each.right for each in findings)
    console.print()
    if wrong:
        console.print(f"{wrong} of {len(findings)} plays went wrong", style="red")
    else:
        console.print(f"all {len(findings)} plays went right", style="green")


def _word(finding: Finding) -> Text:
    return Text("right", style="green") if finding.right else Text("wrong", style="red")


def _ask(text: str) -> None:
    typer.confirm(text, default=True, abort=True)


class _Kafka:
    """See `conformance.Talk`."""

    def __init__(self, cluster: Broker, system: str) -> None:
        self._sender = cluster.sender()
        self._reader = cluster.reader([f"receipts.{system}"], SystemClock().now())

    def say(self, outgoing: Outgoing) -> None:
        """See `conformance.Talk.say`."""
        self._sender.publish([outgoing])

    def hear(self, seconds: float) -> Sequence[Record]:
        """See `conformance.Talk.hear`."""
        return self._reader.poll(seconds)

    def close(self) -> None:
        """Let go of the connections."""
        self._sender.close()
        self._reader.close()
