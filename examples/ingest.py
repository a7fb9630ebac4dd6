"""An ingester that asks before it takes data in: JSON Lines on standard input, what may be kept on standard output.

    expunge keys show suppression > suppression.key
    python examples/ingest.py 127.0.0.1:9092 suppression.key < uploads.jsonl > kept.jsonl

A line: {"user_id": "12345", "collected_at": "2026-11-01T10:00:00Z", "purposes": ["training"], ...}
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path

from expunge.suppression import Filter


def main(bootstrap_servers: str, key_file: str, prefix: str = "expunge.") -> None:
    """Copy lines, without the purposes that a person has taken back; drop those of whom nothing may be kept."""
    key = Path(key_file).read_text().strip()
    kept = seen = 0
    with Filter(bootstrap_servers, key, namespaces={"user_id": "exact"}, prefix=prefix) as suppressed:
        for line in sys.stdin:
            seen += 1
            upload = json.loads(line)
            collected_at = datetime.fromisoformat(upload["collected_at"])
            upload["purposes"] = suppressed.purposes_left(
                "user_id", upload["user_id"], upload["purposes"], collected_at
            )
            if upload["purposes"]:
                kept += 1
                print(json.dumps(upload))
        print(f"{kept} of {seen} kept", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
