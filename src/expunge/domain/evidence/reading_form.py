"""The form that what a certificate states must have, for whoever reads it without trusting its issuer (`verify`)."""

from __future__ import annotations

import re
from typing import Any

from expunge.domain.evidence.reading_notes import Wrong, is_about, raw_of, signers

PROBE_COUNTS = ("number", "of", "asked", "absent", "found", "unknown", "besides")
FORM: dict[str, type | tuple[type, ...]] = {
    "version": int,
    "policy": str,
    "case.sequence": int,
    **{f"case.{name}": str for name in ("id", "publisher", "regime", "clock", "status", "outcome")},
    **{f"case.{name}": str for name in ("received_at", "opened_at", "due_at", "ended_at")},
    **{f"case.{name}": bool for name in ("received_at_clamped", "extended", "on_time")},
    "case.provisions": list,
    "case.provisions.*.provision": str,
    "case.provisions.*.due_at": str,
    "case.provisions.*.open": int,
    "case.provisions.*.open_when_due": (int, type(None)),
    "case.expected_count": (int, type(None)),
    "case.matter": (dict, type(None)),
    "scope.kind": str,
    "lineage.all_of_them_indexed": bool,
    "systems.*.system": str,
    "systems.*.obligations": int,
    "inventory.*.kind": str,
    "inventory.*.system": str,
    "inventory.*.action": str,
    "inventory.*.claim": str,
    "inventory.*.count": int,
    "obligations.number": int,
    "obligations.open": int,
    "obligations.root": str,
    "models.ways": list,
    "models.ways.*.way": list,
    "models.ways.*.count": int,
    "models.steps": int,
    "models.root": str,
    "words.*.fact": str,
    "words.*.operator": str,
    "words.*.at": str,
    "losses.*.topic": str,
    "losses.*.why": str,
    "losses.*.since": int,
    "losses.*.until": int,
    "verification.probes": list,
    **{f"verification.probes.*.{name}": int for name in PROBE_COUNTS},
    "verification.probes.*.begun_at": str,
    "verification.probes.*.ended_at": (str, type(None)),
    "verification.probes.*.sample": (int, type(None)),
    "verification.probes.*.by": list,
    "unsigned.answers": int,
    "unsigned.operators_may_be": bool,
    "unsigned.publisher_is_bound": bool,
    "records.number": int,
    "records.root": str,
    "log.checkpoint": str,
    "log.key": str,
    "log.keys": list,
    "log.keys.*": str,
    "not_shown.*": str,
    "limitations.*": str,
}
"""What stands in a certificate, and of which type; `*` is each of a list."""
TOP = {path.partition(".")[0] for path in FORM} | {"predecessor"}
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
NO_PROBE = "no probe by a third party has looked whether anything is left: nothing here is `verified deleted`"
NOT_ALL_PROBED = "whether what no probe has looked at is gone: that rests on its system's word"
GONE = {"deleted", "key_destroyed", "not_found"}
NO_CLOCK = "no independent clock has stamped the checkpoint (RFC 3161)"
NO_WITNESS = "no witness has signed the checkpoint: that the log has shown everybody the same"


def refuse_another_form(predicate: dict[str, Any]) -> None:
    """See that everything is there and of its type, for whoever shows it to people.

    Raises:
        Wrong: it is not.
    """
    for path, kind in FORM.items():
        found: Any = [predicate]
        for part in path.split("."):
            found = [one for each in found for one in (each if part == "*" else [each[part]])]
        if not all(isinstance(each, kind) and not (kind is int and isinstance(each, bool)) for each in found):
            raise Wrong(f"{path} is not of the form that it must have")
        if path.endswith(("_at", ".at")) and not all(STAMP.fullmatch(each) for each in found if each is not None):
            raise Wrong(f"{path} is no moment in UTC")
    if set(predicate) != TOP or not predicate["limitations"]:
        raise Wrong("it does not say all that a certificate says, or something else")
    grades = {row.get("grade") for row in predicate["inventory"] if row["claim"] in GONE}
    lacks = () if grades == {"E3"} else (NOT_ALL_PROBED,) if "E3" in grades else (NO_PROBE,)
    if lacks != tuple(each for each in predicate["not_shown"] if each in {NO_PROBE, NOT_ALL_PROBED}):
        raise Wrong("it says another thing of what nobody has looked at than its inventory")
    matter = predicate["case"]["matter"]
    if matter is not None and sorted(matter) != ["authority", "docket", "order_date"]:
        raise Wrong("case.matter is not of the form that it must have")
    optional = [
        each.get(name, "") for each in predicate["inventory"] for name in ("reason", "until", "grade", "provision")
    ]
    optional += [each.get("not_asked", "") for each in predicate["systems"]]
    optional += [each for probe in predicate["verification"]["probes"] for each in probe["by"]]
    if not all(isinstance(each, str) for each in optional):
        raise Wrong("it is not of the form that this version gives")
    _refuse_another_vouching(predicate["log"], predicate["not_shown"])


def _refuse_another_vouching(log: dict[str, Any], not_shown: list[str]) -> None:
    """See that it says of those who vouch for its checkpoint what stands in it.

    Raises:
        Wrong: it does not.
    """
    stamp = log.get("timestamp")  # 0.1 knew of none
    if not isinstance(stamp, str | None) or (stamp is None) != (NO_CLOCK in not_shown):
        raise Wrong("it is stamped and says that it is not, or the other way round")
    note = log["checkpoint"]
    if stamp is not None and not is_about(raw_of(stamp), note):
        raise Wrong("its time stamp is of something else")
    alone = len([*signers(note)]) < 2  # noqa: PLR2004 - the log's own, and another
    if "timestamp" in log and alone != (NO_WITNESS in not_shown):
        raise Wrong("witnesses have signed and it says that none has, or the other way round")
