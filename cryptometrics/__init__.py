"""Crypto market risk in time: quotes through Kafka into PostgreSQL, exactly once, with charts."""

__version__ = "0.1.0"
