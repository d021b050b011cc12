"""Kafka: the topic, the publisher, the group consumer, partition ends and the meaning of errors."""
