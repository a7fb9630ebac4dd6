"""For teams that own a system: obey purge commands in a few lines.

    from expunge.agent import Agent, Target, deleted, not_found

    class Shop:
        def purge(self, batch: list[Target]) -> list[Result]:
            return [deleted(t) if shop.delete(t.asset) else not_found(t) for t in batch]

    Agent("shop", Shop(), bootstrap_servers="kafka:9092", state=Path("shop-agent.db")).run()

The library gathers batches over commands, remembers every answer, and answers a repeated command from memory: only what
is not finally answered is done again. A crash at any point loses nothing; a target whose purge was interrupted comes
again with `interrupted` set, so that "it is gone already" can be told from "it never was there".
"""

from expunge.agent.service import Agent
from expunge.agent.types import (
    Person,
    Purger,
    Result,
    Target,
    deferred,
    deleted,
    done,
    failed,
    later,
    not_found,
)

__all__ = [
    "Agent",
    "Person",
    "Purger",
    "Result",
    "Target",
    "deferred",
    "deleted",
    "done",
    "failed",
    "later",
    "not_found",
]
