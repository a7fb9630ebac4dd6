"""From when on people stand in the index under another secret: a point that no process passes without knowing it."""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple

import orjson

from expunge.adapters.redis.server import PART_LOST, REDIS, TAGS, Server, translated
from expunge.errors import Forgotten

_TURN = """
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch ~= ARGV[1] and epoch ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'epoch', ARGV[2])
return 1
"""
"""Nothing is said in a tag that has forgotten what it held."""
_BEGIN = """
if redis.call('HGET', KEYS[1], 'epoch') == ARGV[1] then redis.call('HSETNX', KEYS[1], 'turning', ARGV[2]) end
return redis.call('HGET', KEYS[1], 'turning')
"""
"""What is begun, by this process or by another before it; nothing where another has ended meanwhile."""


class Turned(NamedTuple):
    """What the index says of secrets; see `server.Meta`."""

    check: str
    oldest: int
    left: int = 0


def turn(server: Server, wanted: Turned) -> None:
    """Give every tag another epoch, so that whoever does not know of the change is refused from now on.

    What is wanted is written down first: should this be broken off, roles wait, and whoever turns next ends it.

    Raises:
        Forgotten: there is no index, or a tag has forgotten what it held.
    """
    done: Turned | None = None
    while done != wanted:  # what another has begun is ended before
        meta = server.read_meta()
        if meta is None or (server.lost_tags(meta.epoch) and not meta.turning):
            raise Forgotten(f"Redis has lost parts of the index: {PART_LOST}", server=REDIS)
        following = f"{int(meta.epoch.partition('.')[0]) + 1}.{secrets.token_hex(8)}"
        said = orjson.dumps({"epoch": following, **wanted._asdict()})
        with translated():
            begun = server.client.eval(_BEGIN, 1, server.key(0, "meta"), meta.epoch, said)
        if begun:
            done = _end(server, meta.epoch, orjson.loads(begun))


def _end(server: Server, before: str, begun: dict[str, Any]) -> Turned:
    key = server.key(0, "meta")
    with translated():
        for tag in range(TAGS):
            if not server.client.eval(_TURN, 1, server.sentinel(tag), before, begun["epoch"]):
                raise Forgotten(f"Redis has lost parts of the index: {PART_LOST}", server=REDIS)
        pipe = server.client.pipeline(transaction=True)
        pipe.hset(key, mapping=begun)
        pipe.hdel(key, "turning")
        pipe.execute()
    return Turned(begun["check"], begun["oldest"], begun["left"])


def go_on(server: Server) -> None:
    """End what was begun and broken off."""
    with translated():
        said = server.client.hget(server.key(0, "meta"), "turning")
    if said:
        begun = orjson.loads(said)
        turn(server, Turned(begun["check"], begun["oldest"], begun["left"]))


def nothing_left(server: Server) -> None:
    """Note that nothing stands under the earlier secret any more."""
    server.guarded(lambda client: client.hset(server.key(0, "meta"), "left", 0))


def copied(server: Server) -> None:
    """Note that something had to be copied from one name to another just now."""
    now = server.now_ms()
    server.guarded(lambda client: client.hset(server.key(0, "meta"), "copied", now))


def copied_ms(server: Server) -> int:
    """When that was the case last, in milliseconds since 1970, by the server's clock; 0: never."""
    return int(server.guarded(lambda client: client.hget(server.key(0, "meta"), "copied")) or 0)
