"""The story, told on the screen: what there is, three requests, what became of them, and what to try next."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.tree import Tree

from expunge import preflight, queries
from expunge.adapters import files
from expunge.adapters.archive import CERTIFICATE
from expunge.adapters.system import SystemClock
from expunge.bootstrap import Installation
from expunge.cli.case.show import claims_table
from expunge.cli.certificate import verifier_of
from expunge.cli.common import print_table
from expunge.cli.demo import trainer
from expunge.cli.demo.world import NORTH, OLD_RUN, Demo
from expunge.cli.submit import confirmations, publish
from expunge.cli.verify import files_of, print_steps
from expunge.config import load
from expunge.domain.digest import name
from expunge.domain.events import Event, Outgoing
from expunge.domain.evidence.verify import payload as payload_of
from expunge.domain.evidence.verify import verify
from expunge.domain.scope import SHARDS, Group, GroupKind, ScopeKind
from expunge.errors import ExpungeError
from expunge.report.page import page
from expunge.wire.registrations import DECLARED, MANY_REGISTERED

READY_SECONDS = 60
CASE_SECONDS = 120
BATCH = 500
ENDS = {"completed", "completed_with_deferrals", "partially_completed"}
READY_AGENTS = ("photos", "vectors", "datasets", "users")


class Story:
    """One run of the demo."""

    def __init__(self, demo: Demo, console: Console) -> None:
        self._demo, self._console, self._clock = demo, console, SystemClock()

    def play(self) -> None:
        """Tell it from the beginning to the end."""
        say = self._console.print
        with self._console.status("writing photos, embeddings, data sets, a model, users and a backup"):
            self._demo.write()
        os.environ["EXPUNGE_CONFIG"] = str(self._demo.config)
        for variable in ("EXPUNGE_KAFKA__BOOTSTRAP_SERVERS", "EXPUNGE_REDIS__URL", "EXPUNGE_REDIS__CLUSTER"):
            os.environ.pop(variable, None)
        expunge = Installation(load())
        with self._console.status("creating topics"):
            _remove_old_runs(expunge)
            preflight.create(expunge, lambda _: None)
        say(Panel(self._opening(), title="What there is", title_align="left", border_style="blue"))
        with self._processes():
            self._register(expunge)
            self._requests(expunge)
        self._ending(expunge)
        expunge.close()

    def _opening(self) -> str:
        photos = self._demo.photos
        return (
            f"{len(photos):,} photos of {self._demo.people} people, bought from [bold]supplier-north[/bold] and "
            f"[bold]supplier-south[/bold].\n"
            f"From them: {len(photos):,} embeddings, two versions of a data set, a model with its checkpoint and its "
            "deployment, a nightly backup.\n"
            "A database of users, which registers no rows: it only says [italic]ask me[/italic].\n"
            "Expunge's five roles run as five processes; the agents of the six systems run in two more."
        )

    @contextmanager
    def _processes(self) -> Iterator[None]:
        """Every role and every agent, as real processes with their logs in files."""
        here, demo = [sys.executable, "-m"], self._demo
        commands = {
            "roles": [*here, "expunge", "run"],
            "agents": [*here, "expunge", "agent", "run", *READY_AGENTS],
            "trainer": [
                sys.executable,
                trainer.__file__,
                *map(str, (demo.kafka.bootstrap_servers, demo.prefix, demo.directory)),
            ],
        }
        started: list[subprocess.Popen[bytes]] = []
        try:
            for label, command in commands.items():
                with (self._demo.directory / "logs" / f"{label}.log").open("wb") as file:
                    started.append(subprocess.Popen(command, stdout=file, stderr=file))  # noqa: S603 - our own
            yield
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(40)

    def _register(self, expunge: Installation) -> None:
        """Registrations through Kafka, and the wait until the index has them."""
        every = list(self._demo.registrations())
        with self._bar() as progress:
            task = progress.add_task("registering what exists and what was made from what", total=len(every))
            now = self._clock.now()
            kind = DECLARED
            first = Event(kind, "/demo/users", "users-db", now, self._demo.holding())
            expunge.sender.publish([Outgoing("registrations", "users", first)])
            for start in range(0, len(every), BATCH):
                part = every[start : start + BATCH]
                identity = name("demo", self._demo.prefix, start)
                event = Event(MANY_REGISTERED, "/demo", identity, now, {"assets": part})
                expunge.sender.publish([Outgoing("registrations", identity, event)])
            ends = expunge.topics.end_offsets()["registrations"]
            until = self._clock.seconds() + READY_SECONDS
            total = sum(ends.values())
            while (done := sum(expunge.progress.applied().get("registrations", {}).values())) < total:
                progress.update(task, completed=len(every) * done / total)
                if self._clock.seconds() > until:
                    raise ExpungeError(f"the roles do not index: see {self._demo.directory}/logs/roles.log")
                self._wait()
            progress.update(task, completed=len(every))
        self._console.print(f"{len(every):,} statements are in the index\n")

    def _wait(self) -> None:
        import time  # noqa: PLC0415 - the demo polls a server; nothing can be awaited there

        time.sleep(0.1)

    def _bar(self) -> Progress:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        return Progress(*columns, console=self._console, transient=True)

    def _requests(self, expunge: Installation) -> None:
        forget, revoke = "u0001", "u0002"
        self._show_lineage(expunge, forget)
        people = [{"namespace": "user_id", "id": forget}]
        self._request(
            expunge,
            ScopeKind.ERASURE,
            f"1. One person asks to be forgotten ({forget})",
            {"subjects": people},
            "Their photos and embeddings are gone, their rows are gone. The data sets and the model hold everybody: "
            "they were made again without this person. The backup cannot be rewritten; its owner names the day on "
            "which it is rotated, so the case is [yellow]completed with deferrals[/yellow], and Expunge asks again "
            "on that day.",
        )
        self._request(
            expunge,
            ScopeKind.REVOCATION,
            f"2. Another revokes their consent to training ({revoke})",
            {"subjects": [{"namespace": "user_id", "id": revoke}], "purposes": ["training"]},
            "What existed only for training is gone or was made again; the photos may stay in the gallery and are "
            "restricted. The account in the database was never about training: it was not touched. [italic]not found"
            "[/italic] is what the first case had destroyed already: an answer, but never called a deletion.",
        )
        withdrawn = self._request(
            expunge,
            ScopeKind.WITHDRAWAL,
            f"3. Everything from {NORTH} must go",
            {"data_sources": [NORTH]},
            "Every photo of the supplier and every embedding, and every model that ever learned from them. The data "
            "sets that mixed both suppliers were made again from the other's photos.",
        )
        self._evidence(expunge, withdrawn)

    def _evidence(self, expunge: Installation, case_id: str) -> None:
        """The certificate of the withdrawal, checked; and checked once more with one byte changed."""
        self._console.rule("[bold]4. Nobody needs to take our word for it", align="left")
        with self._console.status("the notary signs the certificate"):
            until = self._clock.seconds() + CASE_SECONDS
            while not (numbers := expunge.archive.sequences(case_id)):
                if self._clock.seconds() > until:
                    raise ExpungeError(f"there is no certificate: see {self._demo.directory}/logs/roles.log")
                self._wait()
        place = expunge.archive.place(case_id, numbers[-1]) / CERTIFICATE
        envelope, key = place.read_bytes(), verifier_of(expunge)
        print_steps(verify(files_of(place, envelope, key)))
        bent = bytearray(envelope)
        bent[len(bent) // 2] ^= 1
        self._console.print("the same, with one bit of it changed:")
        print_steps(verify(files_of(place, bytes(bent), key)))
        payload, report = payload_of(envelope), self._demo.directory / "report.html"
        files.write(report, page(json.loads(payload), key, hashlib.sha256(payload).hexdigest()).encode())
        self._console.print(
            "Every agent has signed its answers, the ledger is a Merkle log, and the certificate follows from it. "
            "Check it yourself, with nothing of ours running:\n"
            f"  expunge verify {os.path.relpath(place.parent)} --explain \\\n    --key {key}\n"
            f"For whoever does not run commands, the same as a page: {os.path.relpath(report)}\n",
            markup=False,
            soft_wrap=True,
        )

    def _show_lineage(self, expunge: Installation, person: str) -> None:
        """What one photo of the person led to."""
        photo = next(photo for photo in self._demo.photos if photo.person == person)
        key = expunge.keys.asset(photo.asset)
        tree = Tree(f"[bold]{photo.asset}[/bold] (a photo of {person})")
        _grow(expunge, tree, key, {key})
        self._console.print(Panel(tree, title="What one photo became", title_align="left", border_style="blue"))

    def _request(self, expunge: Installation, kind: ScopeKind, title: str, data: dict[str, Any], moral: str) -> str:
        self._console.rule(f"[bold]{title}", align="left")
        before = self._demo.counts()
        now = self._clock.now()
        publisher = expunge.settings.registry().publishers[0]
        about = {"request_id": f"demo-{kind.value}", "received_at": now}
        case_id = publish(expunge, publisher, kind, data, about)
        final = self._follow(expunge, case_id, now)
        print_table(*claims_table(final["counts"]), empty="nothing was found", title="Claims by kind")
        _print_difference(self._console, before, self._demo.counts())
        self._console.print(f"{moral}\n")
        return case_id

    def _follow(self, expunge: Installation, case_id: str, since: Any) -> dict[str, Any]:
        """Confirmations as they come in, with a bar of what is answered."""
        with self._bar() as progress:
            task = progress.add_task("received", total=None)
            for event in confirmations(expunge, "app", since, CASE_SECONDS, idle=True):
                found = queries.case(expunge, case_id)
                if found is not None:
                    total = sum(number for _, number in found.counts)
                    left = found.count(frozenset({"open", "failed"}))
                    progress.update(task, description=found.status.value, total=total or None, completed=total - left)
                if event is None or event["data"].get("case_id") != case_id:
                    continue
                milestone = event["type"].split(".")[2]
                self._console.print(f"  confirmed to the app: [bold]{milestone}[/bold]")
                if milestone in ENDS:
                    data: dict[str, Any] = event["data"]
                    return data
        raise ExpungeError(f"the case did not end within {CASE_SECONDS} s: see {self._demo.directory}/logs")

    def _ending(self, expunge: Installation) -> None:
        directory = self._demo.directory
        relative = os.path.relpath(directory)
        ledger = sum(expunge.topics.ends(["ledger"])["ledger"].values())
        text = (
            f"Files, database and logs lie in [bold]{relative}[/bold]; {ledger} records stand in the ledger, none of "
            "which names a person or an asset.\n\n"
            f"Try next:\n"
            f"  export EXPUNGE_CONFIG={relative}/expunge.toml PATH=$PWD/.venv/bin:$PATH\n"
            "  expunge case list\n"
            "  expunge index lookup datasets:faces-v2.jsonl\n"
            "  expunge run &                     # the roles again\n"
            f"  expunge agent run {' '.join(READY_AGENTS)} &\n"
            "  expunge submit erasure --subject user_id:u0003 --dry-run --wait\n"
        )
        self._console.print(Panel(text, title="Where everything is", title_align="left", border_style="blue"))


def _remove_old_runs(expunge: Installation) -> None:
    """Topics and keys of earlier runs of the demo; nothing else on the servers is touched."""
    prefixes = {match.group() for topic in expunge.topics.all() if (match := OLD_RUN.match(topic))}
    expunge.topics.delete([topic for topic in expunge.topics.all() if OLD_RUN.match(topic)])
    for prefix in prefixes - {expunge.settings.prefix}:
        expunge.server.forget(prefix)


def _grow(expunge: Installation, tree: Tree, key: bytes, seen: set[bytes]) -> None:
    children = sorted(expunge.index.members(Group(GroupKind.CHILDREN, key), range(SHARDS)))
    for child, row in zip(children, expunge.index.rows(children), strict=True):
        if row is None:
            continue
        names = row.combination
        about = f"{', '.join(sorted(names.kinds)).replace('_', ' ')}, {', '.join(sorted(names.systems))}"
        label = f"{row.asset} [dim]({about})[/dim]"
        branch = tree.add(label + (" [dim]see above[/dim]" if child in seen else ""))
        if child not in seen:
            seen.add(child)
            _grow(expunge, branch, child, seen)


def _print_difference(console: Console, before: dict[str, int], after: dict[str, int]) -> None:
    """What is on the disk, counted there before and after."""
    table = Table(title="Counted on the disk", title_justify="left", title_style="bold")
    for column in ("what", "before", "after"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for key, count in after.items():
        changed = "bold" if before[key] != count else "dim"
        table.add_row(key, f"{before[key]:,}", f"{count:,}", style=changed)
    console.print(table)
