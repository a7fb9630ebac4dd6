"""What state belongs to: each aggregate has one writer, and decides on one message at a time. Pure."""
