"""The table of contents: topics in -> stage -> topics out.

    requests, controls, receipts.*  -> intake      -> cases, dead-letters, confirmations.*
    registrations                   -> indexer     -> assets, cases, dead-letters, and the index
    tasks                           -> resolver    -> plans, cases, tasks, dead-letters, and the marks of the index
    cases                           -> coordinator -> tasks, commands.*, plans, ledger, confirmations.*, dead-letters
    ledger                          -> notary      -> alarms

Each stage handles a batch and reaches the world only through `ports`; `runtime` calls it in the one order that loses
nothing: poll, decode, read state, decide, produce, flush, check, write state, commit.
"""

READERS = {
    "requests": "intake",
    "controls": "intake",
    "suppressions": "intake",
    "holds": "intake",
    "registrations": "indexer",
    "tasks": "resolver",
    "cases": "coordinator",
    "ledger": "notary",
}
"""Topic -> the role that reads it; intake reads every `receipts.*`, too."""


def role_of(topic: str) -> str | None:
    """The role that reads a topic (without prefix); None: none does."""
    return "intake" if topic.startswith("receipts.") else READERS.get(topic)


ROLES = ("intake", "indexer", "resolver", "coordinator", "notary")
"""The roles, in the order of the flow."""
