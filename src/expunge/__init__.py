"""Expunge carries out deletions, and shows that it did.

    requests ──> intake ──> cases ──> coordinator ──> commands.<system> ──> an agent purges
    registrations ──> indexer ──> Redis                │ ▲                       │
                        tasks <─────────────────────────┤ └── receipts.<system> <─┘  (through intake)
                          └─> resolver walks the index ─┘
                                                        ├──> confirmations.<publisher>
                                                        └──> ledger ──> notary

Read `roles/__init__.py` next: it is the table of topics in, role, topics out.
"""

__version__ = "0.1.0"
