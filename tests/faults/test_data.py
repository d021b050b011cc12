"""Data that is invalid, duplicate, late, skewed, or refused by PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg

from tests.faults.ledger import Market, Quote
from tests.faults.poison import poison

if TYPE_CHECKING:
    import random

    from tests.faults.arena import Arena

SEED = 11
MAX_MEMORY = 400 * 1024 * 1024


def test_poison_among_good_ticks(arena: Arena) -> None:
    """Rubbish of sixteen kinds, up to a megabyte each, one in ten; and a kill -9 in mid-run."""
    good = arena.times(10_000, 200_000)
    arena.begin(Market(SEED, bad=0.1, spoil=poison))
    arena.load.send(good // 2)
    worker = arena.worker()
    arena.wait_for_progress()
    worker.kill()
    worker = arena.worker()
    arena.load.send(good - good // 2 + good // 8)
    arena.wait_for("caught up", arena.caught_up, 600)
    memory = worker.resident()
    assert memory < MAX_MEMORY, f"{memory / 2**20:.0f} MB"
    bad = arena.load.ledger.bad()
    assert bad >= good // 10
    assert arena.load.ledger.sent - bad >= good
    arena.finish("poison among good ticks", bad, note=f"worker's memory {memory / 2**20:.0f} MB")


def test_the_feed_repeats_itself_and_comes_out_of_order(arena: Arena) -> None:
    """The worker is killed and comes back in between: what it has seen it must know from the database."""
    times = arena.times(2, 10)
    arena.begin(Market(SEED, duplicates=0.05, late=0.05))
    for _ in range(times):
        arena.load.send(arena.times(5_000, 50_000))
        worker = arena.worker("--batch", "700")
        arena.wait_for_progress()
        worker.kill()
    arena.worker()
    arena.finish("5 % duplicates, 5 % out of order", times, note="and a kill -9 each time")


def test_clocks_are_wrong(arena: Arena) -> None:
    """Up to an hour ahead, or days behind: they go to sessions, and days of the table, of their own."""

    def skew(chance: random.Random, now: datetime) -> datetime:
        kind = chance.random()
        if kind < 0.05:
            return now + timedelta(seconds=chance.uniform(0, 3_600))
        if kind < 0.10:
            return now - timedelta(days=chance.choice((1, 2, 5, 400)), seconds=chance.uniform(0, 86_400))
        return now

    count = arena.times(4_000, 100_000)
    start, step = datetime.now(UTC) - timedelta(days=2), timedelta(days=1) / count
    arena.begin(Market(SEED, skew=skew, start=start, step=step))
    for _ in range(2):
        arena.load.send(count)
        worker = arena.worker("--batch", "300")
        arena.wait_for_progress()
        worker.kill()
    arena.worker()
    arena.finish("clock skew: an hour ahead, days behind", 1)


def test_midnight_comes_in_mid_batch(arena: Arena) -> None:
    """Ticks around several midnights, late ones across them included, in batches that know no days."""
    days = arena.times(3, 30)
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    count = arena.times(2_000, 5_000)
    workers = []
    ledger = arena.load.ledger
    for day in range(days):
        start = midnight - timedelta(days=days - 1 - day) - timedelta(seconds=1)
        market = Market(
            SEED + day, start=start, step=timedelta(seconds=2) / count, duplicates=0.02, late=0.02
        )
        arena.begin(market, ledger)
        arena.load.send(count)
        arena.load.end()
        workers.append(arena.worker("--batch", "1500"))
        arena.wait_for_progress()
        workers[-1].kill()
    arena.worker("--batch", "1500")
    arena.finish("midnight UTC in mid-batch", days, note="and a kill -9 each time")


def test_postgres_refuses_a_value(arena: Arena) -> None:
    """A constraint represents anything that PostgreSQL can refuse: exactly those rows are rejected."""

    def refused(quote: Quote) -> bool:
        return quote.ask.endswith("77") and quote.bid.endswith("7")

    with psycopg.connect(arena.settings.postgres(), autocommit=True) as admin:
        admin.execute(
            "ALTER TABLE crypto_metrics ADD CHECK (NOT (ask::text LIKE '%77' AND bid::text LIKE '%7'))"
        )
    arena.load.send(arena.times(1_500, 20_000))
    arena.worker("--batch", "400")
    outcome = arena.finish("PostgreSQL refuses a value", 0, refused=refused)
    outcome.times = sum(
        isinstance(record, Quote) and refused(record)
        for records in arena.load.ledger.records.values()
        for record in records.values()
    )
    assert outcome.times
    assert arena.ask(
        "SELECT count(*) FROM rejected_ticks "
        "WHERE reason = 'refused_by_postgres' AND detail LIKE '%%violates%%'"
    ) == [(outcome.times,)]
