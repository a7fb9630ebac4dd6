"""Five systems of a load: each command is answered at once, every target with `deleted`. A process of its own."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from expunge.adapters.sender import HEADERS  # noqa: E402 - the tree is not installed as a package
from expunge.domain.events import stamp  # noqa: E402
from expunge.wire.commands import COMMANDED  # noqa: E402
from expunge.wire.receipts import RECEIPT  # noqa: E402

FEW = 50
"""Targets that a receipt speaks of one by one; of more it says the same once."""
PRODUCER = {"acks": "all", "linger_ms": 2, "batch_size": 131_072, "max_request_size": 4_194_304}


def receipt(event: dict[str, Any]) -> bytes:
    """What a system answers that has deleted everything."""
    command = event["data"]
    data = {name: command[name] for name in ("command_id", "case_id", "system", "attempt")}
    data |= {"sequence": 1, "status": "done", "performed_at": stamp(datetime.now(UTC))}  # noqa: TID251 - a load's own clock
    targets = command["targets"]
    if len(targets) > FEW:
        data["all"] = {"claim": "deleted", "affected": len(targets)}
    else:
        data["results"] = [{"asset": each["asset"], "claim": "deleted", "affected": 1} for each in targets]
    identity = f"{command['command_id']}-{command['attempt']}"
    envelope = {"specversion": "1.0", "id": identity, "source": f"/systems/{command['system']}", "type": RECEIPT}
    return orjson.dumps(envelope | {"data": data})


def answer(kafka: str, prefix: str, systems: Sequence[str]) -> None:
    """Answer until told to stop."""
    going = [True]
    signal.signal(signal.SIGTERM, lambda *_: going.clear())
    producer = KafkaProducer(bootstrap_servers=kafka, enable_idempotence=True, **PRODUCER)
    consumer = KafkaConsumer(bootstrap_servers=kafka, max_poll_records=2000, fetch_max_wait_ms=20)
    topics = [f"{prefix}commands.{system}" for system in systems]
    places = [TopicPartition(topic, number) for topic in topics for number in consumer.partitions_for_topic(topic)]
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    print("answering", flush=True)
    while going:
        for place, records in consumer.poll(timeout_ms=100).items():
            topic = place.topic.replace("commands.", "receipts.", 1)
            for record in records:
                event = orjson.loads(record.value)
                if event["type"] == COMMANDED:
                    producer.send(topic, receipt(event), key=record.key, headers=HEADERS)
    producer.close()
    consumer.close()


if __name__ == "__main__":
    answer(sys.argv[1], sys.argv[2], sys.argv[3].split(","))
