"""Admission by itself: an event, and when and where it came in."""

from __future__ import annotations

from expunge.domain.admission import requests
from expunge.domain.admission.door import Origin
from expunge.domain.events import CloudEvent, stamp
from expunge.wire.cases.said import Place
from tests.simulation import START, World


def test_an_event_is_admitted_whichever_way_it_came() -> None:
    """Admission needed a record of Kafka: an HTTP door could not have called it."""
    world = World()
    data = {"request_id": "r", "received_at": stamp(START), "subjects": [{"namespace": "user_id", "id": "ann"}]}
    event = CloudEvent(specversion="1.0", id="1", source="/app", type="expunge.erasure.requested.v1", data=data)
    came = Origin(START, Place(topic="http", partition=0, offset=7))
    publisher = world.door.publisher(event, came)
    root = requests.request(
        world.door, event, publisher, came, seal_for=lambda *_: "", salt="0" * 32, watermark={"registrations": {"0": 3}}
    )
    assert (root.publisher, root.place, root.received_at) == ("app", came.place, START)
