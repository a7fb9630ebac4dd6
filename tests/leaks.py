"""Nothing personal anywhere: what a deployment was told is looked for in all that it wrote (docs/design.md, "Privacy").

What is planted is what stands on the inlets, whoever has published it: ids of people, ids of assets, and the handles
under which systems know people. Ids of people may stand on inlets alone; the others also where systems must know them.
Logs, metrics, keys, headers, names in Redis and all that is published as evidence name neither.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from expunge.domain.events import envelope
from expunge.domain.signatures import carried
from expunge.errors import InvalidMessage

if TYPE_CHECKING:
    from tests.deployment import Deployment

INLETS = ("requests", "registrations", "controls", "receipts", "findings", "openlineage")
NAME_ASSETS = ("commands", "probes", "plans", "assets", "cases", "walks")
"""Besides inlets: what systems are told, and what Expunge tells itself."""
PEOPLE, ASSETS = ("id",), ("asset", "holding", "ref")
LEAST = 3
"""Characters: anything shorter stands everywhere."""
MOST = 200
"""Values of each sort that are looked for: a load registers thousands."""
AT_ONCE = 500
EDGE = rb"-A-Za-z0-9+/_=."
"""What goes on with a word, also in base64; tests call requests after their people (`request-ann`)."""
WITHIN = EDGE + rb":"
"""The same where assets are named, which tests call so, too (`files:ann-0.bin`)."""


def nothing_leaks(world: Deployment) -> None:
    """Hold all that a deployment wrote against what it was told.

    Raises:
        AssertionError: a planted value stands where it must not; it says where, and which.
    """
    topics = _topics(world)
    people, assets = _planted(topics)
    for topic, records in topics.items():
        kind = topic.split(".")[0]
        if kind in INLETS:
            continue
        _refuse(f"keys and headers of {topic}", _outsides(records), people | assets)
        values = (record.value or b"" for record in records)
        if kind in NAME_ASSETS:
            _refuse(topic, values, people, WITHIN)
        else:
            _refuse(topic, values, people | assets)
    _refuse("the output of processes", [world.output().encode()], people | assets)
    published = (world.directory / "evidence").rglob("*")
    _refuse("evidence", (file.read_bytes() for file in published if file.is_file()), people | assets)
    names = world.installation.server.client.scan_iter(f"{world.prefix}*", count=AT_ONCE)
    _refuse("names in Redis", names, people | assets)


def _topics(world: Deployment) -> dict[str, list[Any]]:
    return {name: world.records(name) for name in world.topics()}


def _outsides(records: Iterable[Any]) -> Iterator[bytes]:
    for record in records:
        yield record.key or b""
        for name, value in record.headers:
            yield name.encode() + b" " + (value or b"")


def _planted(topics: dict[str, list[Any]]) -> tuple[frozenset[str], frozenset[str]]:
    people: set[str] = set()
    assets: set[str] = set()
    for topic, records in topics.items():
        if topic.split(".")[0] not in {"requests", "registrations", "controls"}:
            continue
        for record in records:
            with suppress(InvalidMessage):  # what nobody can read names nobody that could be looked for
                _gather(carried(envelope(record.value or b"")).data, people, assets)
    return _some(people), _some(assets - people)


def _some(planted: set[str]) -> frozenset[str]:
    """At most `MOST`, spread over all of them."""
    return frozenset(sorted(planted)[:: len(planted) // MOST + 1])


def _gather(said: Any, people: set[str], assets: set[str]) -> None:
    if isinstance(said, list):
        for each in said:
            _gather(each, people, assets)
    elif isinstance(said, dict):
        for name, value in said.items():
            into = people if name in PEOPLE and "namespace" in said else assets if name in ASSETS else None
            if into is not None and isinstance(value, str) and len(value) >= LEAST:
                into.add(value)
            _gather(value, people, assets)


def _refuse(where: str, raws: Iterable[bytes], planted: frozenset[str], edge: bytes = EDGE) -> None:
    spelt = sorted({form for each in planted for form in _spellings(each)}, key=len, reverse=True)
    if not spelt:
        return
    pattern = re.compile(rb"(?<![%s])(?:%s)(?![%s])" % (edge, b"|".join(map(re.escape, spelt)), edge))
    for raw in raws:
        found = pattern.search(raw)
        assert found is None, f"{where} names {found.group().decode()!r}: {raw[max(0, found.start() - 80) :][:200]!r}"


def _spellings(value: str) -> set[bytes]:
    """As UTF-8, and as JSON spells it."""
    return {value.encode(errors="surrogatepass"), json.dumps(value)[1:-1].encode()}
