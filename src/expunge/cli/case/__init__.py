"""`expunge case`: requests being carried out, what is planned for them, and what operators say of them."""

from __future__ import annotations

import typer

from expunge.cli.case import decisions, history, listing, plan, show, thaw

app = typer.Typer(help="Cases: requests being carried out.", no_args_is_help=True)
app.command("list")(listing.list_cases)
for command in (
    show.show,
    history.history,
    plan.plan,
    decisions.approve,
    decisions.reject,
    decisions.extend,
    decisions.cancel,
    decisions.decide,
    decisions.retry,
    decisions.forget,
    thaw.thaw,
):
    app.command()(command)


@app.callback()
def root() -> None:
    """Cases: requests being carried out."""
