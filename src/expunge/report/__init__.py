"""Reports for people: pages that stand alone in one file, made from certificates and nothing else."""
