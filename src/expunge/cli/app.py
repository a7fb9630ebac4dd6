"""The tree of commands."""

from __future__ import annotations

from typing import Annotated

import typer

from expunge import __version__
from expunge.cli import (
    agent,
    case,
    certificate,
    dead_letters,
    demo,
    doctor,
    hold,
    holding,
    index,
    keys,
    losses,
    monitor,
    pause,
    policy,
    probe,
    rebuild,
    replay,
    report,
    run,
    subject,
    submit,
    sweep,
    system,
    top,
    topics,
    verify,
)
from expunge.cli.common import let_go

app = typer.Typer(
    help="Expunge carries out deletions, and shows that it did.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=lambda wanted: _version(wanted=wanted), help="Print the version.")
    ] = False,
) -> None:
    """Expunge carries out deletions, and shows that it did."""
    del version
    context.call_on_close(let_go)


app.command("run")(run.run)
app.command("submit")(submit.submit)
app.command("pause")(pause.pause)
app.command("resume")(pause.resume)
app.command("probe")(probe.probe)
app.command("acknowledge-loss")(losses.acknowledge_loss)
app.command("rebuild")(rebuild.rebuild)
app.command("replay")(replay.replay)
app.command("sweep")(sweep.sweep)
app.command("doctor")(doctor.doctor)
app.command("top")(top.top)
app.command("monitor")(monitor.monitor)
app.command("verify")(verify.verify_certificates)
app.command("demo")(demo.demo)
app.add_typer(topics.app, name="topics")
app.add_typer(case.app, name="case")
app.add_typer(hold.app, name="hold")
app.add_typer(system.app, name="system")
app.add_typer(index.app, name="index")
app.add_typer(holding.app, name="holding")
app.add_typer(policy.app, name="policy")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(keys.app, name="keys")
app.add_typer(certificate.app, name="certificate")
app.add_typer(report.app, name="report")
app.add_typer(subject.app, name="subject")
app.add_typer(agent.app, name="agent")
