"""`expunge probe CASE`: have somebody else than its agents look whether what a case has had purged is gone."""

from __future__ import annotations

from typing import Annotated

import typer

from expunge.cli.case.found import CaseId, find
from expunge.cli.common import Json, installation
from expunge.cli.words import Heard, Operator, await_heard, say_word
from expunge.domain.limits import MAX_AGAIN_DAYS, MAX_SAMPLE
from expunge.errors import ConfigurationError

Days = Annotated[
    list[int] | None,
    typer.Option("--again", min=1, max=MAX_AGAIN_DAYS, help="Look once more after so many days; may be repeated."),
]


def probe(
    case_id: CaseId,
    operator: Operator,
    sample: Annotated[
        int | None, typer.Option(min=1, max=MAX_SAMPLE, help="So many, which nobody can foretell; else all.")
    ] = None,
    again: Days = None,
    wait: Heard = 60,
    json_output: Json = False,
) -> None:
    """Have probers look whether what systems called gone is gone, under other keys than the systems' own.

    What they find is commanded anew, and the case is open again; where they find nothing, the case's next certificate
    says `verified deleted`. Only systems with a `probe_key` are looked into. `expunge case show` says how far it is.
    """
    expunge = installation()
    if not any(each.is_probed for each in expunge.settings.registry().systems):
        raise ConfigurationError(
            "nobody looks into any system: declare probe_key of a system in [[systems]] (docs/evidence.md, Probes)"
        )
    case = find(expunge, case_id)
    data = {"case_id": case.case_id, "again_days": sorted(set(again or ()))} | ({"sample": sample} if sample else {})
    word = say_word(expunge, "expunge.probe.requested.v1", case.case_id, operator, "probe", data)
    await_heard(expunge, word, case.case_id, wait, as_json=json_output)
