"""Report how many messages Kafka acknowledged; for `simulate`, `ingest`, `record` and `replay`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.errors import CryptometricsError

if TYPE_CHECKING:
    from cryptometrics.kafka.publisher import Published

SILENCE_S = 2.0
"""Seconds without an answer from the broker before the progress line shows it."""


def silence(published: Published) -> str:
    """Return an addition to the progress line if Kafka has not answered for a while, else nothing."""
    return f", waiting for Kafka for {published.silence:.0f} s" if published.silence > SILENCE_S else ""


def summary(published: Published) -> str:
    """Return the counts as the last line of stdout: with thousands separators where a person reads it."""
    from cryptometrics.cli.output import for_people, plain, short

    number = short if for_people() else plain
    return f"sent {number(published.sent)}, acknowledged {number(published.acknowledged)}"


def check(published: Published, hint: str = "check that it is running and has disk space left") -> None:
    """Raise CryptometricsError unless Kafka has acknowledged every message."""
    if missing := published.sent - published.acknowledged:
        raise CryptometricsError(
            f"Kafka has not acknowledged {missing:,} of {published.sent:,} messages "
            f"({published.failure or 'stopped before it answered'}): {hint}"
        )
