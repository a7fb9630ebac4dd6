"""What every case of a partition must obey: pauses, holds, verdicts on groups, and which cases are frozen."""
