"""What can be checked by those who do not trust us: the ledger as a Merkle log, its checkpoints, certificates."""
