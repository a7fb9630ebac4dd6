"""What forgotten cases have left on topics is taken away, as Kafka's compaction then does on disk (rule "swept")."""
