"""Real parties who vouch for checkpoints: a witness (litewitness) and a time-stamping authority (OpenSSL's)."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

LITEWITNESS = "filippo.io/torchwood/cmd/litewitness@v0.9.0"
WITNESS = "witness.example.org"
COSIGNATURE = b"\x04"
TSA = """
[ req ]
distinguished_name = name
[ name ]
[ ca ]
basicConstraints = critical, CA:TRUE
[ leaf ]
extendedKeyUsage = critical, timeStamping
[ tsa ]
default_tsa = here
[ here ]
serial = serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""
PATIENCE_SECONDS = 30


def witness_key(public: bytes, name: str = WITNESS) -> str:
    """The public key of a witness, as its operator publishes it."""
    raw = COSIGNATURE + public
    identity = hashlib.sha256(name.encode() + b"\n" + raw).hexdigest()[:8]
    return f"{name}+{identity}+{base64.b64encode(raw).decode()}"


@contextmanager
def witness(directory: Path, origin: str, log_key: str) -> Iterator[tuple[str, str]]:
    """A witness that knows a log by name and key; where it is asked, and its own key. Needs Go and OpenSSH."""
    directory.mkdir()
    _run(directory, "go", "install", LITEWITNESS, GOBIN=str(directory))
    _run(directory, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "key")
    public = base64.b64decode((directory / "key.pub").read_text().split()[1])[-32:]
    port = _free_port()
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", "agent.sock"], cwd=directory, stdout=subprocess.DEVNULL)
    server = None
    try:
        _await((directory / "agent.sock").exists)
        _run(directory, "ssh-add", "-q", "key", SSH_AUTH_SOCK=str(directory / "agent.sock"))
        command = ["./litewitness", "-db", "w.db", "-name", WITNESS, "-ssh-agent", "agent.sock"]
        command += ["-key", hashlib.sha256(public).hexdigest(), "-listen", f"127.0.0.1:{port}"]
        server = subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _await(lambda: _listens(port))
        with closing(sqlite3.connect(directory / "w.db")) as database, database:
            empty = base64.b64encode(hashlib.sha256(b"").digest()).decode()
            database.execute("INSERT INTO log VALUES (?, 0, ?)", (origin, empty))
            database.execute("INSERT INTO key VALUES (?, ?)", (origin, log_key))
        yield f"http://127.0.0.1:{port}", witness_key(public)
    finally:
        for each in (server, agent):
            if each is not None:
                each.terminate()
                each.wait()


@contextmanager
def authority(directory: Path) -> Iterator[tuple[str, Path]]:
    """A time-stamping authority; where it is asked, and its root certificate. Needs OpenSSL."""
    directory.mkdir()
    (directory / "tsa.cnf").write_text(TSA)
    (directory / "serial").write_text("01\n")
    new = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-config", "tsa.cnf", "-days", "2")
    _run(directory, *new, "-subj", "/CN=root", "-extensions", "ca", "-keyout", "ca.key", "-out", "ca.pem")
    leaf = ("-CA", "ca.pem", "-CAkey", "ca.key", "-extensions", "leaf", "-keyout", "leaf.key", "-out", "leaf.pem")
    _run(directory, *new, "-subj", "/CN=clock", *leaf)

    class Clock(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            (directory / "query.tsq").write_bytes(query)
            reply = ("openssl", "ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query.tsq", "-out", "reply.tsr")
            _run(directory, *reply, "-signer", "leaf.pem", "-inkey", "leaf.key")
            self.send_response(200)
            self.end_headers()
            self.wfile.write((directory / "reply.tsr").read_bytes())

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with serving(Clock) as url:
        yield url, directory / "ca.pem"


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server on this machine; where it is asked."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _run(directory: Path, *command: str, **more: str) -> None:
    done = subprocess.run(command, cwd=directory, env={**os.environ, **more}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _await(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.05)  # a process of others says nothing when it is ready
