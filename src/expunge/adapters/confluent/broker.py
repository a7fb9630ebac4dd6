"""confluent-kafka as a client of Kafka."""

from __future__ import annotations

from expunge.adapters.broker import Client
from expunge.adapters.confluent.admin import ConfluentTopics
from expunge.adapters.confluent.consumer import ConfluentPlaces, ConfluentReader, ConfluentRecords
from expunge.adapters.confluent.producer import ConfluentSender

CLIENT = Client(ConfluentTopics, ConfluentSender, ConfluentRecords, ConfluentReader, ConfluentPlaces)
