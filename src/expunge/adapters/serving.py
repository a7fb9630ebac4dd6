"""What a process says of itself over HTTP: its metrics, whether it lives, and whether it can work.

/metrics   for Prometheus
/live      200 while it turns, 503 when it has not for five minutes: start it anew
/ready     200 while it can work, 503 while it waits for a server: do not start it anew, it goes on by itself
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from prometheus_client import CollectorRegistry, make_wsgi_app

BIND_AGAIN_SECONDS = 5.0
SILENT_SECONDS = 300.0
"""So long a process may be at one batch, or at one look at a server that is away."""
OK, NOT = "200 OK", "503 Service Unavailable"
Start = Callable[[str, list[tuple[str, str]]], Any]


class Health:
    """What is known of a process: when it last gave a sign of life, and who in it waits for a server."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._at = seconds, seconds()
        self._waits: dict[str, float] = {}

    def lives(self) -> None:
        """It turns, or it waits and looks again."""
        self._at = self._seconds()

    def waits(self, who: str, seconds: float) -> None:
        """For how long somebody in it has waited for a server that is away; 0: they do not."""
        self._waits[who] = seconds
        self.lives()

    def of(self, path: str) -> tuple[str, dict[str, Any]] | None:
        """Status and body of an answer; None: that path says nothing of this."""
        silent = self._seconds() - self._at
        if path == "/live":
            return (OK if silent < SILENT_SECONDS else NOT), {"silent_seconds": round(silent)}
        if path == "/ready":
            waiting = {who: round(seconds) for who, seconds in self._waits.items() if seconds}
            fine = silent < SILENT_SECONDS and not waiting
            return (OK if fine else NOT), {"silent_seconds": round(silent), "waiting_seconds": waiting}
        return None


def serve(port: int, address: str, registry: CollectorRegistry, health: Health) -> None:
    """Answer in the background, as soon as the port is free: no role is worth less because another has it."""
    threading.Thread(target=_serve, args=(port, address, registry, health), daemon=True).start()


def _serve(port: int, address: str, registry: CollectorRegistry, health: Health) -> None:
    said = False
    while True:
        try:
            server = make_server(address, port, _app(registry, health), _Server, handler_class=_Quiet)
        except OSError as error:
            if not said:
                text = "the metrics port cannot be had; trying again"
                structlog.get_logger().error(
                    text, address=address, port=port, reason=error.strerror or type(error).__name__
                )
                said = True
            threading.Event().wait(BIND_AGAIN_SECONDS)
        else:
            server.serve_forever()
            return


def _app(registry: CollectorRegistry, health: Health) -> Callable[[dict[str, Any], Start], Iterable[bytes]]:
    metrics: Any = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        said = health.of(environ.get("PATH_INFO", ""))
        if said is None:
            found: Iterable[bytes] = metrics(environ, start)
            return found
        status, body = said
        start(status, [("Content-Type", "application/json")])
        return [json.dumps(body).encode() + b"\n"]

    return answer


class _Server(ThreadingMixIn, WSGIServer):
    """One that is slow to read its answer holds up nobody else."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base class calls it
        """A line for every look of every monitor would help nobody."""
