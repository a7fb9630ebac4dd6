"""From when on people stand in the index under another secret: a point that no process passes without knowing it."""

from __future__ import annotations

import secrets
from typing import NamedTuple

import orjson

from expunge.adapters.redis.server import PART_LOST, REDIS, TAGS, Server, translated
from expunge.errors import Changed, Forgotten

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
"""What is begun, by this process or by another before it; nothing where the index is another."""
_END = """
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'turning')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then return 0 end
for at = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1]) end
redis.call('HDEL', KEYS[1], 'turning')
return 1
"""
"""Only what was begun, of the index from which it follows, is ended."""
_NOTE = """
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
return 1
"""
OTHERS = "somebody else has gone on with the rotation meanwhile"


class Turned(NamedTuple):
    """What the index says of secrets; see `server.Meta`."""

    check: str
    newest: int
    oldest: int
    retired: int = 0


def turn(server: Server, wanted: Turned, epoch: str) -> None:
    """Give every tag another epoch, so that whoever does not know of the change is refused from now on.

    What is wanted is written down first: should this be broken off, roles wait, and whoever goes on ends it.

    Args:
        server: the index.
        wanted: what it is to say.
        epoch: of the index from which that follows.

    Raises:
        Changed: it is another by now, and something else may follow.
        Forgotten: there is no index, or a tag has forgotten what it held.
    """
    go_on(server)
    meta = server.read_meta()
    if meta is None or server.lost_tags(meta.epoch):
        raise Forgotten(f"Redis has lost parts of the index: {PART_LOST}", server=REDIS)
    following = f"{int(epoch.partition('.')[0]) + 1}.{secrets.token_hex(8)}"
    said = orjson.dumps({"epoch": following, **wanted._asdict()})
    with translated():
        begun = server.client.eval(_BEGIN, 1, server.key(0, "meta"), epoch, said)
    if begun != said:
        raise Changed(OTHERS)
    _end(server, epoch, said)


def _end(server: Server, before: str, said: bytes) -> None:
    begun, key = orjson.loads(said), server.key(0, "meta")
    fields = [word for name, value in begun.items() for word in (name, value)]
    with translated():
        for tag in range(TAGS):
            if not server.client.eval(_TURN, 1, server.sentinel(tag), before, begun["epoch"]):
                raise _lost_or_changed(server, before)
        if not server.client.eval(_END, 1, key, before, said, *fields):
            raise _lost_or_changed(server, before)


def _lost_or_changed(server: Server, before: str) -> Exception:
    """Why a step was refused: somebody else has ended this turn, or a tag has forgotten what it held."""
    meta = server.read_meta()
    if meta is not None and (meta.epoch != before or not meta.turning):
        return Changed(OTHERS)
    return Forgotten(f"Redis has lost parts of the index: {PART_LOST}", server=REDIS)


def go_on(server: Server) -> None:
    """End what was begun and broken off.

    Raises:
        Changed: somebody else has ended it meanwhile.
        Forgotten: a tag has forgotten what it held.
    """
    with translated():
        epoch, begun = server.client.hmget(server.key(0, "meta"), "epoch", "turning")
    if begun:
        _end(server, epoch.decode(), begun)


def note(server: Server, epoch: str, field: str, value: int) -> None:
    """Write down how far a rotation has come: `retired`, when nothing is left of it, or `copied`, when something was.

    Raises:
        Changed: the index is another by now.
    """
    with translated():
        if not server.client.eval(_NOTE, 1, server.key(0, "meta"), epoch, field, value):
            raise Changed(OTHERS)


def copied_ms(server: Server) -> int:
    """When something had to be copied last, in milliseconds since 1970, by the server's clock; 0: never."""
    return int(server.guarded(lambda client: client.hget(server.key(0, "meta"), "copied")) or 0)
