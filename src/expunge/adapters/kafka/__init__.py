"""Kafka through kafka-python. No transactions: see docs/adr/0001."""
