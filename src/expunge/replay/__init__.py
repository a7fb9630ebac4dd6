"""Replay: what lies on an inlet is handled once more, as it was when it came, or it is only said what that would do."""
