"""confluent-kafka (librdkafka) as client of Kafka: the extra `confluent`, chosen by `[kafka] client = "confluent"`."""
