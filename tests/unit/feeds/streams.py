"""Simulated streams for tests."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from cryptometrics.feeds.simulator import DEFAULT_PAIRS, Simulation

if TYPE_CHECKING:
    from cryptometrics.kafka.publisher import Message

START = datetime(2026, 7, 1, tzinfo=UTC)
STEP = Fraction(10_000)


def simulation(count: int, **changes: Any) -> Simulation:
    """Return a simulation with the usual parameters, or others."""
    parameters: dict[str, Any] = {
        "pairs": DEFAULT_PAIRS,
        "start": START,
        "step": STEP,
        "seed": 7,
        "count": count,
    }
    return Simulation(**parameters | changes)


def stream(count: int, **changes: Any) -> list[Message]:
    """Return the messages of such a simulation."""
    return list(itertools.chain.from_iterable(simulation(count, **changes).blocks()))


def by_pair(messages: list[Message]) -> dict[str, list[dict[str, Any]]]:
    """Return the decoded messages of each pair."""
    found = defaultdict(list)
    for _, value in messages:
        assert value is not None
        fields = json.loads(value)
        found[fields["product_id"]].append(fields)
    return found
