"""For teams that own a system: obey purge commands in a few lines.

    from expunge.agent import Agent, Target, deleted, not_found

    class Shop:
        def purge(self, batch: list[Target]) -> list[Result]:
            return [deleted(t) if shop.delete(t.asset) else not_found(t) for t in batch]

    Agent("shop", Shop(), bootstrap_servers="kafka:9092", state=Path("shop-agent.db")).run()

The library gathers batches over commands, remembers every answer under its command, and answers a repeated command
from memory: only what is not finally answered, or what Expunge did not count, is done again. A crash anywhere loses
nothing; a target whose last try was cut off comes again with `interrupted` set, so that "it is gone already" can be
told from "it never was there". Whether it is gone somebody else looks, who writes a `Prober`. Everything that an
author needs is here; nothing has to be imported from elsewhere.
"""

from expunge.agent.metrics import AgentMetrics
from expunge.agent.probing import ProbeAgent, Prober, Seen, absent, found, unknown
from expunge.agent.service import Agent
from expunge.agent.types import (
    Discovery,
    Fields,
    Made,
    Person,
    Purger,
    Recalling,
    Result,
    Target,
    Withdrawable,
    deferred,
    deleted,
    done,
    failed,
    kept_result,
    later,
    not_found,
)
from expunge.domain.vocabulary import Action, Claim, Finding, Kind

__all__ = [
    "Action",
    "Agent",
    "AgentMetrics",
    "Claim",
    "Discovery",
    "Fields",
    "Finding",
    "Kind",
    "Made",
    "Person",
    "ProbeAgent",
    "Prober",
    "Purger",
    "Recalling",
    "Result",
    "Seen",
    "Target",
    "Withdrawable",
    "absent",
    "deferred",
    "deleted",
    "done",
    "failed",
    "found",
    "kept_result",
    "later",
    "not_found",
    "unknown",
]
