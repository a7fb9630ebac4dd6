"""The coordinator: what each case decides, and what it says."""
