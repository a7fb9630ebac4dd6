"""The table of contents: topics in -> role -> topics out.

    requests, controls, receipts.*  -> intake      -> cases, plans, dead-letters, confirmations.*
    registrations                   -> indexer     -> assets, cases, dead-letters, and the index
    tasks                           -> resolver    -> plans, cases, tasks, dead-letters, and the marks of the index
    cases                           -> coordinator -> tasks, commands.*, plans, ledger, confirmations.*, dead-letters
    ledger                          -> notary      -> alarms

Each role handles a batch and reaches the world only through `ports`; `runtime` calls it in the one order that loses
nothing: poll, decode, read state, decide, produce, flush, check, write state, commit.
"""

ROLES = ("intake", "indexer", "resolver", "coordinator", "notary")
"""The roles, in the order of the flow."""
