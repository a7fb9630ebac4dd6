"""What must happen to each asset, by policy, and how it is cut into commands."""
