"""Kafka: the topic, its publisher, its group consumer, and the settings that every client shares."""
