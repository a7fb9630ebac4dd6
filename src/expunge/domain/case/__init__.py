"""The case machine: one writer a case, `decide(state, event) -> facts, emissions` and `apply(state, fact) -> state`.

Read in this order: messages (what comes in), state, facts (what is recorded), apply, decide (the dispatcher),
walking, purging, closing (the phases), confirm (what the publisher hears).
"""
