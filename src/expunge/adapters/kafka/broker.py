"""kafka-python as a client of Kafka."""

from __future__ import annotations

from expunge.adapters.broker import Client
from expunge.adapters.kafka.admin import KafkaTopics
from expunge.adapters.kafka.consumer import KafkaPlaces, KafkaReader, KafkaRecords
from expunge.adapters.kafka.producer import KafkaSender

CLIENT = Client(KafkaTopics, KafkaSender, KafkaRecords, KafkaReader, KafkaPlaces)
