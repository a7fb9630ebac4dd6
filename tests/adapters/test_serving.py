"""Over HTTP: metrics, whether a process lives, and whether it can work."""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from urllib.error import HTTPError, URLError

import pytest

from expunge.adapters.serving import SILENT_SECONDS, Health
from expunge.adapters.system import PrometheusMetrics


def free() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def asked(port: int, path: str) -> tuple[int, str]:
    """The answer, as soon as somebody answers there."""
    until = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()
        except URLError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def test_a_process_that_waits_lives_and_is_not_ready() -> None:
    port = free()
    metrics = PrometheusMetrics(port)
    metrics.gauge("lag_seconds", 1.5, label="intake")
    assert asked(port, "/live")[0] == 200
    assert asked(port, "/ready")[0] == 200
    assert 'expunge_lag_seconds{label="intake"} 1.5' in asked(port, "/metrics")[1]
    metrics.gauge("waiting_seconds", 40, label="intake")
    assert asked(port, "/live")[0] == 200
    status, said = asked(port, "/ready")
    assert (status, json.loads(said)["waiting_seconds"]) == (503, {"intake": 40})
    metrics.gauge("waiting_seconds", 0, label="intake")
    assert asked(port, "/ready")[0] == 200


@pytest.mark.parametrize("path", ["/live", "/ready"])
def test_one_that_gives_no_sign_of_life_is_to_be_started_anew(path: str) -> None:
    now = [0.0]
    health = Health(lambda: now[0])
    now[0] = SILENT_SECONDS - 1
    assert (health.of(path) or ("",))[0] == "200 OK"
    now[0] = SILENT_SECONDS
    assert (health.of(path) or ("",))[0].startswith("503")
    health.waits("intake", 10)  # it has looked at a server that is away: that is one
    assert (health.of("/live") or ("",))[0] == "200 OK"
    assert health.of("/metrics") is None
