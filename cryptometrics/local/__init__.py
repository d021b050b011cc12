"""A real Kafka and a real PostgreSQL on this machine, without Docker (extra `local`)."""
