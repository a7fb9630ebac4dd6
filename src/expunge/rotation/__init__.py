"""Another secret takes a secret's place, while everything goes on (ADR 31)."""
