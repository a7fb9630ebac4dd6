"""The scanner over what deployments wrote finds what it is made for."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.leaks import nothing_leaks

if TYPE_CHECKING:
    from tests.deployment import Deployment

ASKED = {"request_id": "r", "subjects": [{"namespace": "user_id", "id": "ann"}]}
REGISTERED = {
    "assets": [{"asset": "files:ann-0.bin", "subjects": [{"namespace": "user_id", "id": "ann", "ref": "R-7"}]}]
}


def event(data: object) -> bytes:
    said = {"specversion": "1.0", "id": "1", "source": "/app", "type": "x.v1", "data": data}
    return json.dumps(said).encode()


def record(value: bytes, key: bytes = b"k", headers: tuple[tuple[str, bytes], ...] = ()) -> Any:
    return SimpleNamespace(value=value, key=key, headers=headers)


def world(folder: Path, *, said: str = "", redis: tuple[bytes, ...] = (), **topics: list[Any]) -> Deployment:
    every = {"requests": [record(event(ASKED))], "registrations": [record(event(REGISTERED))]} | topics
    client = SimpleNamespace(scan_iter=lambda *_, **__: redis)
    made = {"records": every.get, "topics": lambda: list(every), "output": lambda: said, "directory": folder}
    made |= {"prefix": "", "installation": SimpleNamespace(server=SimpleNamespace(client=client))}
    return cast("Deployment", SimpleNamespace(**made))


def test_it_lets_be_what_may_be_named(tmp_path: Path) -> None:
    commands = [record(event({"asset": "files:ann-0.bin"}))]
    nothing_leaks(world(tmp_path, commands=commands, said="planned: 3 of a channel, annual", redis=(b"a:1",)))


@pytest.mark.parametrize(
    "told",
    [
        {"commands": [record(event({"targets": [{"asset": "files:ann-0.bin", "id": "ann"}]}))]},
        {"commands": [record(b"{}", key=b"ann")]},
        {"commands": [record(b"{}", headers=(("for", b"files:ann-0.bin"),))]},
        {"ledger": [record(event({"asset": "files:ann-0.bin"}))]},
        {"certificates": [record(event({"who": "R-7"}))]},
        {"said": "cannot purge files:ann-0.bin"},
        {"said": '{"person": "ann"}'},
        {"redis": (b"a:ann",)},
    ],
)
def test_it_finds_what_may_not(tmp_path: Path, told: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match=r"names '(ann|files:ann-0\.bin|R-7)'"):
        nothing_leaks(world(tmp_path, **told))


def test_it_reads_what_is_kept_as_evidence(tmp_path: Path) -> None:
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "page.html").write_text("<p>files:ann-0.bin</p>")
    with pytest.raises(AssertionError, match="evidence names"):
        nothing_leaks(world(tmp_path))
