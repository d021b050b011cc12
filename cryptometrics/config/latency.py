"""How long a tick may wait for company: the one setting that trades latency for processor time.

A transaction costs about the same for one tick as for ten. So ticks that arrive within this time share one.
"""

from __future__ import annotations

from cryptometrics.times import parse_seconds

DEFAULT_LATENCY = "25ms"
DEFAULT_LATENCY_S = 0.025
MIN_LATENCY_S = 0.005
"""With less than that, requests to Kafka would cost more than the transactions that it saves."""
MAX_LATENCY_S = 1.0


def parse_latency(text: str) -> float:
    """Return the seconds of a text such as `25ms`; 0 stores each tick at once.

    Raises ValueError, with a message for the user.
    """
    seconds = float(parse_seconds(text))
    if seconds and not MIN_LATENCY_S <= seconds <= MAX_LATENCY_S:
        raise ValueError(f"{text!r} is neither 0 nor from 5ms to 1s")
    return seconds
