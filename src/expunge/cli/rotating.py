"""A rotation of the secret, step by step: each begins with what stands in the index, so any of them may be the last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from expunge import queries
from expunge.adapters.redis import turning
from expunge.adapters.redis.people import BUCKETS_PER_TRIP
from expunge.adapters.redis.server import NO_INDEX, REDIS, TAGS, Meta
from expunge.adapters.redis.turning import Turned
from expunge.bootstrap import OTHER_SECRET, Installation
from expunge.config import Settings
from expunge.errors import Changed, ConfigurationError, Forgotten, Unavailable
from expunge.rotation.rotation import Rotation

PATIENCE_MS = 600_000
"""So long after the last copying a cluster must show that all of it is there: a server of it may lose what it wrote."""


@dataclass(slots=True)
class Rotated:
    """What a run did."""

    copied: int = 0
    """Assets, marks and rows that stood under the earlier secret alone."""
    dropped: int = 0
    """Names under the earlier secret that were taken away."""
    is_over: bool = False


def meta_of(expunge: Installation) -> tuple[Meta, int]:
    """What the index says of secrets, and the number of the newest that it knows.

    Raises:
        Forgotten: there is no index.
        ConfigurationError: that secret is not at hand.
    """
    meta = expunge.server.read_meta()
    if meta is None:
        raise Forgotten(f"Redis holds no index: {NO_INDEX}", server=REDIS)
    newest = expunge.keys.epoch_of(meta.check)
    if not newest:
        raise ConfigurationError(f"{OTHER_SECRET.problem}: {OTHER_SECRET.mend}")
    return meta, newest


def is_under_way(meta: Meta, newest: int) -> bool:
    """Whether something stands, or may stand, under an earlier secret."""
    return bool(meta.left or 0 < meta.oldest < newest)


def begin(expunge: Installation, newest: int) -> None:
    """From now on the next secret is in use beside the newest, and whoever does not have it is refused."""
    turning.turn(expunge.server, Turned(expunge.keys.checks[newest], newest))


def parts(expunge: Installation) -> int:
    """In how many parts a pass looks at the index."""
    return -(-TAGS * expunge.server.width // BUCKETS_PER_TRIP)


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
    """One pass, under the secrets that are in use now; False: there is nothing more to do for now."""
    server = expunge.server
    server.compares = True
    server.accept()
    turning.go_on(server)
    meta, newest = meta_of(expunge)
    before = meta.left or (meta.oldest if is_under_way(meta, newest) else 0)
    if not before:
        done.is_over = True
        return True

    def subjects_of(case_id: str) -> list[bytes]:
        root = queries.root(expunge, case_id)
        return [bytes.fromhex(each.pseudonym) for each in root.scope.subjects] if root else []

    rotation = Rotation(expunge.people, expunge.index, expunge.keys, before, subjects_of, tell)
    if meta.left:
        done.dropped += rotation.drop()
        turning.nothing_left(server)
        return True
    copied = rotation.copy()
    done.copied += copied
    server.look()
    if server.is_another:
        raise Unavailable("Redis is another one, or was started anew: look once more at what is there", server=REDIS)
    if copied:
        turning.copied(server)
        return not server.is_cluster
    if server.is_cluster and server.now_ms() - turning.copied_ms(server) < PATIENCE_MS:
        return False
    turning.turn(server, Turned(meta.check, newest, left=before))
    return True
