"""Fill a scratch schema with days of history, stored by the product itself.

`process` stores the same ticks for several groups. So every row, minute, session and count is what a running
pipeline leaves, and `verify` can prove it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

from cryptometrics.errors import CryptometricsError
from cryptometrics.feeds.simulator import DEFAULT_PAIRS, Simulation
from cryptometrics.kafka import client
from cryptometrics.kafka.publisher import publish
from cryptometrics.market.venues import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptometrics.bench.scratch import Scratch
    from cryptometrics.kafka.publisher import Message

DAYS = 10
"""Days up to now."""
PAIRS = (*DEFAULT_PAIRS, *(f"C{number:02}-USD" for number in range(len(DEFAULT_PAIRS), 50)))
GROUPS = ("days-1", "days-2", "days-3")
VENUES = (SIMULATED, "elsewhere")
"""Both have all pairs, and half of the ticks each."""
WORKERS = 2
"""Worker processes of each group in turn."""
MIN_RATE = 10_000
"""Ticks per second below which filling is given up."""

# As if `init-db` had run days ago: otherwise all older days would share one partition.
_AGE = f"""
DROP TABLE crypto_metrics_before;
DO $$ BEGIN
    EXECUTE format('CREATE TABLE crypto_metrics_before PARTITION OF crypto_metrics '
                   'FOR VALUES FROM (MINVALUE) TO (%L)',
                   (date_trunc('day', now() AT TIME ZONE 'UTC') - interval '{DAYS} days') AT TIME ZONE 'UTC');
END $$;
SELECT crypto_metrics_add_day((now() AT TIME ZONE 'UTC')::date - n) FROM generate_series(0, {DAYS}) AS n;
"""  # noqa: S608  (constants)


@dataclass(frozen=True)
class StoredDays:
    """What was stored."""

    ticks: int
    """Of each group."""
    start: datetime
    end: datetime


def fill(scratch: Scratch, rows: int, say: Callable[[str], None]) -> StoredDays:
    """Store about this many rows, in the second topic, which nothing else uses meanwhile."""
    ticks = rows // (len(GROUPS) * len(VENUES)) * len(VENUES)
    end = datetime.now(UTC)
    days = StoredDays(ticks, end - timedelta(days=DAYS), end)
    scratch.connection.execute(_AGE)
    say(f"publishing {ticks:,} ticks of {DAYS} days")
    settings = scratch.aside
    result = publish(client.make_producer(settings), settings.kafka_topic, _blocks(days))
    if result.acknowledged != ticks:
        raise CryptometricsError(f"Kafka acknowledged {result.acknowledged:,} of {ticks:,} ticks")
    for group in GROUPS:
        say(f"storing {ticks:,} ticks of {DAYS} days for {group}")
        _process(scratch, group, ticks)
    say("VACUUM ANALYZE")
    scratch.connection.execute("VACUUM ANALYZE")
    return days


def _blocks(days: StoredDays) -> Iterator[list[Message]]:
    """Yield the ticks of both venues, in turns, so that their times advance together."""
    count = days.ticks // len(VENUES)
    step = Fraction((days.end - days.start) / timedelta(microseconds=1)) / count
    simulated = Simulation(PAIRS, days.start, step, seed=1, count=count)
    other = replace(simulated, seed=2)
    venue, another = (f'"venue":"{name}"'.encode() for name in VENUES)
    for block, second in zip(simulated.blocks(), other.blocks(), strict=True):
        yield block
        yield [(key, value and value.replace(venue, another)) for key, value in second]


def _process(scratch: Scratch, group: str, ticks: int) -> None:
    scratch.run(
        *("process", "--group", group, "--workers", str(WORKERS), "--until-caught-up", "--no-alerts"),
        environment={"KAFKA_TOPIC": scratch.aside.kafka_topic},
        timeout=60 + ticks / MIN_RATE,
    )
