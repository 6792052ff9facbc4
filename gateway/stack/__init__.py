"""The embedded default: real Kafka, Temporal and PostgreSQL as child processes, from packages alone (design §5)."""
