"""Bounds: of what comes from outside, of what is remembered, of what one message leads to.

`docs/limits.md` is made from this, and lists them.
"""

from __future__ import annotations

# What one message may hold

MAX_PAYLOAD_BYTES = 900_000
"""Of an event from outside."""
MAX_CASE_EVENT_BYTES = 1_048_576
"""Of an event on `cases`, which holds what came in and what belongs to it."""
MAX_PASSED_BYTES = 1_000_000
"""What is passed on to a case, so that it stays below the 1 MiB of `cases` with all that belongs to a record."""
MAX_DEAD_LETTER_BYTES = 1_400_000
"""Of a payload that is sealed into its dead letter; a larger one is kept by its digest alone."""
MAX_ID_CHARACTERS = 256
"""Of a request's id that a publisher is told again."""

MAX_WORD_CHARACTERS = 256
"""Of a word that others choose: a namespace, a purpose, a handle."""
MAX_TEXT_CHARACTERS = 1_024
"""Of a text for people: a reason, a detail, an attribute."""
MAX_RESULTS = 5_000
"""Targets that one receipt speaks of by name."""
MAX_DISCOVERED = 1_000
"""Assets that a system found in one target."""

# Requests

MAX_IDENTITIES = 16
"""Identities of the one person that a request is about."""
MAX_WITHDRAWN = 1_000
"""Assets that one request withdraws."""
MAX_PROVISIONS = 32
"""Provisions of an order."""

# People and secrets

MAX_ID_BYTES = 1024
"""Of an id, when it is normalised."""
MIN_SECRET_BYTES = 32
"""Of the deployment's secret."""
MAX_SEALS_BYTES = 200_000
"""Of the seals of a request for one system: they stand in each of its commands."""

# Registrations

MAX_ASSET_BYTES = 2048
"""Of the id of an asset."""
MAX_BATCH_LINKS = 20_000
"""Parents, people, other names and data sources of all assets of one message: each is a membership in the index."""
MAX_BATCH_BYTES = 8_000_000
"""What one message says when all that is common is written out for every asset."""
MAX_PARENTS = 1_000
"""Parents that one statement names."""
MAX_SUBJECTS = 1_000
"""People that one statement names."""
MAX_LABELS = 64
"""Data sources, purposes, categories, namespaces, or other names, in one list of a statement or a request."""
MAX_ATTRIBUTES = 32
"""Attributes of one asset."""
MAX_BATCH = 1_000
"""Assets in one batch of statements."""
MAX_FACTS = 500
"""In one record of the ledger."""
MAX_FACTS_BYTES = 250_000
"""Of the facts in one record of the ledger; one that is larger has a record of its own."""
MAX_SMALL_OBLIGATIONS = 64
"""Of a case whose chunks are kept and read as a whole; of a larger one a message concerns few of them."""
KEPT_PARENTS = 16
"""Parents that a row keeps by name, for people. The smallest are kept, so that any order keeps the same."""
KEPT_REFS = 1_000
"""Handles for people that a row keeps for its agent; the smallest, too."""
KEPT_ATTRIBUTES = 32
"""Attributes that a row keeps for its agent; the smallest, too."""
KEPT_ALIASES = 64
"""Other names that a row keeps for its agent; the smallest, too."""

# Walks

MAX_FRONTIER = 40_000
"""Nodes in one task message (rule "frontiers"): 17 bytes each, below a topic's 1 MiB in base64."""
CONTAINERS_PER_TASK = 200
"""Containers that one task plans."""
FOUND_PER_TASK = 200
"""Discovered assets in one task: ids of 2,048 bytes, and as much for what they were found in, below 1 MiB."""
HOLDS_PER_TASK = 100
"""Holds that one task looks into."""
ASSETS_PER_MESSAGE = 2000
"""Late assets that one message names."""

# Plans and commands

MAX_CHUNK_BYTES = 300_000
"""Bytes of ids and attributes in one chunk, so that a command stays far below a topic's 1 MiB."""
MAX_EXCLUDED = 1_000
"""Excluded assets in one command; above that the obligation stays open (rule "exclusions")."""
MAX_EXCLUDED_BYTES = 300_000
"""Bytes of their ids."""
COMMANDS_PER_MESSAGE = 200
"""Commands that one decision sends; longer work goes on in a message to oneself (rule "frontiers")."""
CHUNKS_PER_MESSAGE = 200
"""Chunks that one decision holds a word against."""
CHUNKS_PER_PAGE = 200
"""Chunks that one decision replaces by the keys of their targets."""
MAX_DISMISSED = 10_000
"""Commands that one message tells a system to forget."""
TARGETS_PER_MESSAGE = 20_000
"""Targets of the chunks of such a page, or of such commands, unless one of them alone has more: what others ask for
meanwhile waits no longer than this takes."""

# Probes

MAX_SAMPLE = 10_000_000
"""Obligations that a probe by sample looks at."""
MAX_AGAIN_DAYS = 3_650
"""Days after which a probe may be repeated."""

# A case

KEPT_COMMANDS = 20
"""Of one chunk: a receipt of an earlier one is set aside."""
MOST_REASONS = 32
"""Distinct reasons, and distinct days, that a case keeps of what its systems say; the rest is counted as `other`."""
MAX_HELD = 4_000
"""Late assets that wait for the next generation; what is more is walked at once."""
MAX_PRODUCED = 100
"""Assets that one joint command produced and that wait for its answer; what is more is planned at once."""
MAX_LINES = 200
"""Lines in one list of a confirmation; longer lists are cut with a count (rule "sizes")."""
MOST_PLACES = 200
"""Messages of one case that other roles have set aside and that its state names; a thaw may name one more."""

# What many cases share

CASES_PER_BROADCAST = 200
"""Cases that one message tells something."""
MESSAGES_PER_BROADCAST = 1000
"""What one page of cases may lead to, about: whoever comes next waits for the next page."""
KEPT_VERDICTS = 200
"""What operators have said about groups of one rate; the earliest are forgotten."""
KEPT_CONTROLS = 100
"""Words of operators that a rate remembers, so that said again they are the same."""
KEPT_CASES = 256
"""Revocations of one purpose; of more, the earliest are taken together."""
KEPT_GRANTS = 64
"""Grants of one purpose; of more, those that matter are kept."""
MAX_MEMBERS = 2_000
"""Cases that share one joint command."""
MAX_WEIGHT = 600_000
"""Bytes of exclusions and people in one command, so that it stays below a topic's 1 MiB."""
MAX_WAITING = 5_000
"""Who asks when so many wait is told to ask again later, and not remembered."""
TIMERS_PER_TICK = 500
"""Timers of one partition that fire at once."""
MOST_FIRED = 50_000
"""Fired timers that a process remembers."""
