"""A rotation of the secret, step by step: each begins with what stands in the index, so any of them may be the last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from expunge import queries
from expunge.adapters.redis import turning
from expunge.adapters.redis.server import NO_INDEX, REDIS, Meta
from expunge.adapters.redis.turning import Turned
from expunge.adapters.system import SystemClock
from expunge.bootstrap import MADE_OTHERWISE, Installation
from expunge.config import Settings
from expunge.domain.events import EARLIEST
from expunge.errors import Changed, ConfigurationError, Forgotten, Unavailable
from expunge.rotation.rotation import Rotation
from expunge.rotation.topics import Renaming
from expunge.wire.secrets import PARTITION, last_said, secrets_used

PATIENCE_MS = 600_000
"""So long after the last copying a cluster must show that all of it is there: a server of it may lose what it wrote."""


@dataclass(slots=True)
class Rotated:
    """What a run did."""

    written: int = 0
    """Statements that were written anew."""
    copied: int = 0
    """Assets, marks and rows that stood under the earlier secret alone."""
    dropped: int = 0
    """Names under the earlier secret that were taken away."""
    passes: int = 0
    """Over the index, while people stood under both secrets."""
    is_over: bool = False

    @property
    def has_done_something(self) -> bool:
        """Whether a rotation was under way."""
        return bool(self.written or self.copied or self.dropped or not self.is_over)


def meta_of(expunge: Installation) -> Meta:
    """What the index says of secrets.

    Raises:
        Forgotten: there is no index.
        ConfigurationError: that secret is not at hand.
    """
    meta = expunge.server.read_meta()
    if meta is None:
        raise Forgotten(f"Redis holds no index: {NO_INDEX}", server=REDIS)
    expunge.refuse_wrong_secret(meta)
    return meta


def is_under_way(meta: Meta) -> bool:
    """Whether something stands, or may stand, under an earlier secret."""
    return bool(meta.retired or 0 < meta.oldest < meta.newest)


def secrets_said(expunge: Installation) -> int:
    """How many secrets have been used, as far as it was said; 0: nobody has said so.

    Raises:
        ConfigurationError: they are not those that are at hand.
    """
    said, checks = last_said(expunge.since("plans", EARLIEST, [PARTITION])), expunge.keys.checks
    missing = [str(expunge.settings.secret_file_of(number + 1)) for number in range(len(checks), len(said))]
    if missing:
        raise ConfigurationError(f"people are named under {len(said)} secrets: {', '.join(missing)} is missing")
    if list(said) != checks[: len(said)]:
        raise ConfigurationError(f"{MADE_OTHERWISE}, as topics say: restore the secrets that were used")
    return len(said)


def begin(expunge: Installation, meta: Meta) -> None:
    """From now on the next secret is in use beside the newest, and whoever does not have it is refused."""
    secrets_said(expunge)
    checks = expunge.keys.checks[: meta.newest + 1]
    turning.turn(expunge.server, Turned(checks[-1], meta.newest + 1, meta.newest), meta.epoch)
    _say_secrets(expunge, meta.newest + 1)


def _say_secrets(expunge: Installation, newest: int) -> None:
    """Say which secrets are used, if that is not what was said last: whoever lost the turn has said nothing.

    What was said of more secrets than the index knows stands: it was set back to before.
    """
    checks = tuple(expunge.keys.checks[:newest])
    said = last_said(expunge.since("plans", EARLIEST, [PARTITION]))
    if len(said) <= newest and newest > 1 and said != checks:
        expunge.sender.publish([secrets_used(checks, SystemClock().now())])


def go_on(settings: Settings, tell: Callable[[], None]) -> Rotated:
    """Go on with what is under way, as far as it goes now.

    Raises:
        Unavailable: Redis is away, or was started anew on the way. What was done by then is done.
    """
    done = Rotated()
    while not done.is_over:
        expunge = Installation(settings)
        try:
            if not _step(expunge, done, tell):
                return done
        except Changed:  # somebody else has gone on with it meanwhile
            continue
        finally:
            expunge.close()
    return done


def _step(expunge: Installation, done: Rotated, tell: Callable[[], None]) -> bool:
    """One pass, under the secrets that are in use now; False: there is nothing more to do for now.

    Only a pass that finds nothing shows that nothing is left.
    """
    server, meta = expunge.server, _settled(expunge)
    if not done.passes:
        _say_secrets(expunge, meta.newest)
    before = meta.retired or (meta.oldest if is_under_way(meta) else 0)
    if not before:
        done.is_over = True
        return True

    def subjects_of(case_id: str) -> list[bytes]:
        root = queries.root(expunge, case_id)
        return root.scope.people if root else []

    renaming = Renaming(expunge.since, expunge.people, expunge.index, expunge.sender, expunge.keys, lambda _: tell())
    rotation = Rotation(expunge.people, expunge.index, expunge.keys, before, subjects_of, tell)
    if meta.retired:
        renaming.rows()  # of what was said meanwhile by who did not know of the turn yet
        renaming.roots()
        done.written += renaming.written
        done.dropped += rotation.drop()
        turning.note(server, meta.epoch, "retired", 0)
        return True
    copied = renaming.rows(writes=not done.passes) + rotation.copy()
    done.written, done.copied, done.passes = done.written + renaming.written, done.copied + copied, done.passes + 1
    server.look()
    if server.is_another:
        raise Unavailable("Redis is another one, or was started anew: look once more at what is there", server=REDIS)
    if copied:
        turning.note(server, meta.epoch, "copied", server.now_ms())
        return not server.is_cluster
    if server.is_cluster and server.now_ms() - turning.copied_ms(server) < PATIENCE_MS:
        return False
    turning.turn(server, Turned(meta.check, meta.newest, meta.newest, retired=before), meta.epoch)
    return True


def _settled(expunge: Installation) -> Meta:
    """What the index says, once a turn that was broken off is ended; see `meta_of`."""
    expunge.server.compares = True
    expunge.server.accept()
    turning.go_on(expunge.server)
    return meta_of(expunge)
