"""Configuration: `expunge.toml`, overridden by EXPUNGE_* variables, overridden by flags. Unknown keys are errors."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from expunge.domain.evidence.witnesses import witness_of
from expunge.domain.limits import MIN_SECRET_BYTES
from expunge.domain.registry import Name, Namespace, Operator, Publisher, Registry, System
from expunge.domain.topics import Topic, all_topics
from expunge.errors import ConfigurationError

DEFAULT_FILE = "expunge.toml"
SWITCHES = {"EXPUNGE_CONFIG"}
"""Variables that are read elsewhere. EXPUNGE_TEST_* belong to the tests."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Codec = Literal["gzip", "lz4", "snappy", "zstd", "none"]


class Kafka(_Section):
    """Where Kafka is, and how its topics are cut."""

    bootstrap_servers: str = "127.0.0.1:9092"
    client: str = "kafka"
    """The client library: a folder of `expunge.adapters` that has a module `broker`."""
    options: dict[str, Any] = {}
    """Settings of the client under its own names; for `kafka`, kafka-python's (`security_protocol`, ...)."""
    partitions: int = Field(24, ge=1, le=10_000)
    """Of cases, tasks and plans; fixed when the topics are created."""
    ledger_partitions: int = Field(1, ge=1, le=1)
    other_partitions: int = Field(6, ge=1, le=10_000)
    compression: Codec = "lz4"
    """Of topics that only Expunge reads."""
    compression_for_others: Codec = "gzip"
    """Of commands, confirmations and suppressions, which clients in any language read."""
    session_timeout_ms: int = Field(10_000, ge=6_000)
    max_poll_records: int = Field(500, ge=1, le=10_000)


class Redis(_Section):
    """Where Redis is, and how the index is cut."""

    url: str = "redis://127.0.0.1:6379/0"
    cluster: bool = False
    """Whether it is a Redis Cluster, of which `url` names one server: others are found through it."""
    expected_assets: int = Field(1_000_000, ge=1)
    """Decides, when the index is created, into how many buckets it is cut: about one for every 80 assets."""


class Metrics(_Section):
    """Prometheus."""

    port: int = Field(0, ge=0, le=65_000)
    """Port of the first role; every further role takes the next. 0: none."""
    address: str = "127.0.0.1"
    """Where they are served: on this machine alone, unless somebody says otherwise."""


Url = Annotated[str, Field(max_length=2048, pattern=r"^(https?://[^\s@/]+(/[^\s]*)?)?$")]


class Witness(_Section):
    """Somebody who signs checkpoints of the log (C2SP tlog-witness)."""

    url: Annotated[Url, Field(min_length=1)]
    """What comes before `/add-checkpoint`."""
    key: str
    """Its public key (`name+hash+key`)."""

    @field_validator("key")
    @classmethod
    def _is_key(cls, key: str) -> str:
        try:
            witness_of(key)
        except ValueError:
            raise ValueError("a witness' key is of the form name+hash+key, as its operator publishes it") from None
        return key


class Evidence(_Section):
    """What is kept for those who do not take our word for it."""

    origin: str = Field("", max_length=128, pattern=r"^([a-z0-9][a-z0-9.-]*(/[A-Za-z0-9._~-]+)*)?$")
    """The name of the ledger's log, unique in the world: a host of yours and a path (`expunge.example.org/ledger`).
    Empty: nothing is logged, and no certificates are issued."""
    directory: Path = Path("evidence")
    """Where the notary keeps the log and certificates."""
    timestamps: Url = ""
    """Where a time-stamping authority (RFC 3161) is asked to stamp checkpoints of certificates. Empty: none is."""
    timestamps_root: Path | None = None
    """Its root certificate (PEM): what anybody else has stamped is not kept. Without it that is for readers to see."""
    witnesses: tuple[Witness, ...] = Field((), max_length=8)


class Limits(_Section):
    """How much one message may lead to."""

    step_nodes: int = Field(20_000, ge=1, le=1_000_000)
    """Nodes that a resolver visits before it takes up what came meanwhile."""


class _Declared(_Section):
    name: Name


class _Pattern(_Section):
    pattern: str


class AgentTable(_Section):
    """A table in which an SQLite agent finds people."""

    name: str
    namespace: Name
    column: str
    restriction_column: str | None = None
    tenant_column: str | None = None
    """In a table of several tenants: whose customer a row is about."""
    time_column: str | None = None
    """When a row was collected: what is newer than a request reaches is left."""
    normalised: bool = False
    """Whether the column holds ids as Expunge spells them, so that an index on it serves."""


class Agent(_Section):
    """A ready agent: what `expunge agent run SYSTEM` does for that system."""

    system: Name
    type: Literal["filesystem", "sqlite"]
    root: Path | None = None
    """filesystem: the directory out of which nothing is touched."""
    asset_prefix: str = "file://"
    person_fields: tuple[str, ...] = ("ref",)
    """filesystem: which fields of JSON Lines hold a person's handle or id, wherever in the line they stand."""
    asset_fields: tuple[str, ...] = ("asset",)
    data_source_fields: tuple[str, ...] = ("data_source",)
    hard_links: Literal["refuse", "allow"] = "refuse"
    """filesystem: what becomes of a file whose bytes other names keep; where it is allowed, the answer says so."""
    database: Path | None = None
    """sqlite: the database file."""
    tables: tuple[AgentTable, ...] = ()
    key_file: Path | None = None
    """The system's private opening key, where identities are revealed to it."""
    signing_key_file: Path | None = None
    """With which it signs its receipts, where the system is declared with a key."""
    probing_key_file: Path | None = None
    """With which `expunge agent probe SYSTEM` signs what it finds: another key than the agent's."""
    state: Path
    """Where the agent remembers its answers."""


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix="EXPUNGE_", env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    prefix: str = Field("expunge.", pattern=r"^[a-zA-Z0-9._-]{1,64}$")
    secret_file: Path = Path("expunge.secret")
    policy_file: Path | None = None
    """YAML; none: the policy that comes with Expunge."""
    tenant: str = "default"
    allow_unsigned: bool = False
    """Whether words are believed of operators who have no key; for development."""
    keys_directory: Path = Path("keys")
    """Where commands find the keys with which they sign: NAME.key."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    kafka: Kafka = Kafka()
    redis: Redis = Redis()
    metrics: Metrics = Metrics()
    evidence: Evidence = Evidence()
    limits: Limits = Limits()
    namespaces: tuple[Namespace, ...] = ()
    data_sources: tuple[_Pattern, ...] = ()
    purposes: tuple[_Declared, ...] = ()
    categories: tuple[_Declared, ...] = ()
    systems: tuple[System, ...] = ()
    publishers: tuple[Publisher, ...] = ()
    operators: tuple[Operator, ...] = ()
    agents: tuple[Agent, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then variables, then the file."""
        del dotenv_settings, file_secret_settings
        path = config_file()
        file = (TomlConfigSettingsSource(settings_cls, toml_file=path),) if path else ()
        return (init_settings, env_settings, *file)

    def registry(self) -> Registry:
        """Who exists and what they can do."""
        return Registry(
            tenant=self.tenant,
            namespaces=self.namespaces,
            data_sources=tuple(each.pattern for each in self.data_sources),
            purposes=tuple(each.name for each in self.purposes),
            categories=tuple(each.name for each in self.categories),
            systems=self.systems,
            publishers=self.publishers,
            operators=self.operators,
        )

    def topics(self) -> list[Topic]:
        """The topics of this deployment."""
        kafka = self.kafka
        return all_topics(self.registry(), kafka.partitions, kafka.ledger_partitions, kafka.other_partitions)

    def secret_files(self) -> list[Path]:
        """The file of the first secret, and those that are there of secrets which have taken its place since."""
        files = [self.secret_file]
        while (following := self.secret_file_of(len(files) + 1)).exists():
            files.append(following)
        return files

    def secret_file_of(self, number: int) -> Path:
        """Where a secret is expected: the second beside the first, with `.2` behind its name."""
        return self.secret_file if number == 1 else self.secret_file.with_name(f"{self.secret_file.name}.{number}")

    def secrets(self) -> list[bytes]:
        """The secrets from their files, in order.

        Raises:
            ConfigurationError: the first is missing, or one cannot be read.
        """
        try:
            found = {file.absolute(): file.read_bytes().strip() for file in self.secret_files()}
        except OSError as error:
            path = Path(error.filename).absolute()
            mend = f"(umask 077; head -c 48 /dev/urandom | base64 > {path})"
            text = f"secret file {path}: {error.strerror}; restore it, or only for a new installation make one"
            raise ConfigurationError(f"{text}: {mend}") from None
        for path, secret in found.items():
            if len(secret) < MIN_SECRET_BYTES:
                raise ConfigurationError(f"secret file {path} has {len(secret)} bytes: it needs {MIN_SECRET_BYTES}")
        return list(found.values())


def without_password(url: str) -> str:
    """An address as it may be shown."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return url.replace(f":{parts.password}@", ":***@", 1)


def config_file() -> Path | None:
    """The file named by EXPUNGE_CONFIG, else ./expunge.toml if it is there.

    Raises:
        ConfigurationError: the named file is missing.
    """
    named = os.environ.get("EXPUNGE_CONFIG")
    if named:
        if not Path(named).is_file():
            what = "is a directory" if Path(named).is_dir() else "is not there"
            raise ConfigurationError(f"the configuration file {named}, which EXPUNGE_CONFIG names, {what}")
        return Path(named)
    return Path(DEFAULT_FILE) if Path(DEFAULT_FILE).is_file() else None


def load(**flags: Any) -> Settings:
    """The effective settings.

    Raises:
        ConfigurationError: a file, variable or flag is wrong; the text names it.
    """
    _check_variables()
    try:
        settings = Settings(**flags)
        settings.registry()
    except ValidationError as error:
        source = config_file() or "no configuration file, and the environment"
        wrong = [_wrong(each["loc"], each["msg"]) for each in error.errors(include_url=False, include_input=False)]
        raise ConfigurationError(f"{source}: {'; '.join(wrong)}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{config_file()}: not TOML: {error}") from None
    unknown = {each.system for each in settings.agents} - {each.name for each in settings.systems}
    if unknown and settings.systems:  # whoever runs agents alone need not declare them
        raise ConfigurationError(
            f"{config_file() or 'the environment'}: [[agents]] of {min(unknown)}, which is none of [[systems]]"
        )
    return settings


def _wrong(loc: tuple[int | str, ...], text: str) -> str:
    """What is wrong, where: a table of a list by its place, counted from 1, and a variable by its name."""
    text = text.removeprefix("Value error, ")
    variable = "EXPUNGE_" + "__".join(str(part) for part in loc).upper()
    if variable in {name.upper() for name in os.environ}:
        return f"{variable}: {text}"
    parts = [f"{part + 1}." if isinstance(part, int) else part for part in loc]
    if len(parts) > 1 and isinstance(loc[1], int):
        parts = [
            f"{loc[0]} number {loc[1] + 1}",
            *(str(each + 1) if isinstance(each, int) else each for each in loc[2:]),
        ]
        return f"{parts[0]}: {'.'.join(parts[1:])}: {text}" if parts[1:] else f"{parts[0]}: {text}"
    return f"{'.'.join(parts) or 'settings'}: {text}"


def _check_variables() -> None:
    """A mistyped variable is silently ignored by the settings library; here it is an error."""
    known = SWITCHES | {f"EXPUNGE_{field}".upper() for field in Settings.model_fields}
    for variable in os.environ:
        upper = variable.upper()
        if not upper.startswith("EXPUNGE_") or upper.startswith("EXPUNGE_TEST_"):
            continue
        if upper.split("__")[0] not in known:
            raise ConfigurationError(f"unknown environment variable {variable}: see docs/configuration.md")
