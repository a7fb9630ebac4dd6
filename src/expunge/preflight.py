"""What must be right before anything starts: topics as they must be, an index, and the secret that it was made with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from expunge.adapters.redis.server import FORMAT, HALF_BUILT, NO_INDEX, PART_LOST, TAGS, TURNING, buckets_for
from expunge.bootstrap import Installation
from expunge.errors import ConfigurationError, Forgotten, Unavailable
from expunge.ports import Finding


def refuse_if_wrong(expunge: Installation) -> None:
    """Start nothing on missing topics, wrong settings, an empty index or another secret.

    See rules "partitions" and "empty Redis".

    Raises:
        ConfigurationError: the first thing that is wrong, and its mend.
        Forgotten: there was an index, and is none, or not all of it.
    """
    meta = expunge.server.read_meta()
    if meta is not None and meta.turning:
        raise Unavailable(f"the secret is being rotated: {TURNING}", server="Redis")
    findings, forgotten = expunge.topics.check(expunge.settings.topics()), lost(expunge)
    if forgotten and not findings and not expunge.topics.empty(["assets", "ledger"]):
        raise Forgotten(f"{forgotten.problem}: {forgotten.mend}", server="Redis")
    findings += [forgotten] if forgotten else _made_otherwise(expunge)
    if findings:
        rest = f" (and {len(findings) - 1} more: `expunge doctor`)" if len(findings) > 1 else ""
        raise ConfigurationError(f"{findings[0].problem}: {findings[0].mend}{rest}")


def refuse_wrong_topics(expunge: Installation) -> None:
    """The same of topics alone: a rebuild finds no index."""
    for finding in expunge.topics.check(expunge.settings.topics()):
        raise ConfigurationError(f"{finding.problem}: {finding.mend}")


def refuse_other_secret(expunge: Installation) -> None:
    """Look for nobody under pseudonyms of another secret: nobody would be found, and that looks like an answer.

    Raises:
        ConfigurationError: the index was made with another one. While Redis is away, nothing is known.
    """
    with contextlib.suppress(Unavailable):
        meta = expunge.server.read_meta()
        if meta is not None:
            expunge.refuse_wrong_secret(meta)


def index_findings(expunge: Installation) -> list[Finding]:
    """What is wrong with the index."""
    forgotten = lost(expunge)
    return [forgotten] if forgotten else _made_otherwise(expunge)


def _made_otherwise(expunge: Installation) -> list[Finding]:
    """That another version, or another secret, has made the index."""
    meta = expunge.server.read_meta()
    if meta is None:
        return []
    if meta.layout != FORMAT:
        mend = "run the version that made it, or rebuild the index into an empty Redis"
        return [Finding(f"the index has layout {meta.layout}, this version reads {FORMAT}", mend)]
    return [finding] if (finding := expunge.wrong_secret(meta)) else []


def lost(expunge: Installation) -> Finding | None:
    """That there is no index, half of one, or that part of it is gone: as it stands now, whatever stood before."""
    meta = expunge.server.read_meta()
    if meta is None:
        if expunge.server.is_half_built():
            return Finding("Redis holds half an index", HALF_BUILT)
        return Finding("Redis holds no index", NO_INDEX)
    if meta.turning:
        return Finding("the secret is being rotated", TURNING)
    if number := expunge.server.lost_tags(meta.epoch):
        return Finding(f"Redis has lost {number} of {TAGS} parts of the index", PART_LOST)
    return None


def create(expunge: Installation, say: Callable[[str], None]) -> None:
    """Create missing topics, and initialise an empty Redis beside empty topics.

    Raises:
        ConfigurationError: an existing topic is set wrongly, or Redis is empty while the topics are not.
    """
    for topic in expunge.topics.create(expunge.settings.topics()):
        say(topic)
    refuse_wrong_topics(expunge)
    if expunge.server.read_meta() is None:
        if not expunge.topics.empty(["assets", "ledger"]):
            raise ConfigurationError("Redis is empty but the topics hold data: `expunge rebuild` makes it from them")
        expunge.server.initialise(buckets_for(expunge.settings.redis.expected_assets), expunge.keys.check)
