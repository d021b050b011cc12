"""The state that the next batch loads: everything is read as it was written, by its own group only."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest

from cryptometrics.market.metrics import Session, measure, open_session
from cryptometrics.market.ticks import Tick
from cryptometrics.market.trade_ids import TradeIds
from cryptometrics.market.venues import Market
from cryptometrics.pipeline.worker_sessions import IndexUpdater
from cryptometrics.store import partition_claims
from cryptometrics.store.batch_transaction import (
    Batch,
    PairState,
    PartitionOutcome,
    RejectedOffset,
    SkippedOffsets,
    write,
)
from cryptometrics.store.copy_rows import Fields, fields
from cryptometrics.store.partition_claims import GroupTopic
from cryptometrics.store.worker_past import NEARBY, StoredPast, summarize
from tests.database import END_OTHER_SESSIONS
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptometrics.config import Settings

NOON = datetime(2026, 7, 1, 12, 0, 0, 123456, tzinfo=UTC)
WIDE = Decimal("9" * 20 + "." + "9" * 18)
TINY = Decimal("0." + "0" * 17 + "1")
BTC, ETH, SOL = (Market("coinbase", pair) for pair in ("BTC-USD", "ETH-USD", "SOL-USD"))
SIMULATED_BTC = Market("simulated", "BTC-USD")
GROUP_TOPIC = GroupTopic("g", "t", "id")


def stored(connection: psycopg.Connection, batch: Batch, topic: GroupTopic = GROUP_TOPIC) -> None:
    """Write a batch that claims partition 0 and moves it on by one."""
    claim = partition_claims.claim(connection, topic, 0, 0, "test", partition_claims.backend_of(connection))
    batch.parts = {0: PartitionOutcome(claim.epoch, claim.next_offset, claim.next_offset + 1)}
    write(connection, topic, batch)


def session(ticks: int = 7) -> Session:
    at = [NOON + timedelta(seconds=n) for n in range(5)]
    return Session(WIDE, at[0], TINY, at[1], WIDE, at[2], TINY, WIDE, at[3], at[4], ticks, 2)


def line(trade_id: int, time: datetime, pair: str = "BTC-USD", group: str = "g") -> Fields:
    tick = Tick(pair, "ticker", Decimal(1), Decimal(2), time, trade_id)
    first = open_session(tick)
    return fields(tick, measure(tick, first), first, (group, "s"), (0, trade_id))


def test_sessions_come_back_as_they_were(connection: psycopg.Connection) -> None:
    keys = [(BTC, "2026-07-01"), (BTC, "drill \t\\N"), (ETH, "2026-07-01"), (SIMULATED_BTC, "2026-07-01")]
    stored(connection, Batch(sessions={key: session(n) for n, key in enumerate(keys)}))
    state = StoredPast(connection, "g")
    found = state.sessions([*keys, (ETH, "drill \t\\N"), (SOL, "")])
    assert found == {key: session(n) for n, key in enumerate(keys)}
    assert found[keys[0]].highest_bid.as_tuple() == WIDE.as_tuple()
    assert all(one.highest_bid_at.tzinfo is not None for one in found.values())
    assert state.sessions(keys[:1]) == {keys[0]: session(0)}
    assert StoredPast(connection, "other").sessions(keys) == {}


def test_the_index_learns_of_new_blocks_and_goes_on_after_its_session_was_ended(
    connection: psycopg.Connection, settings: Settings
) -> None:
    today = datetime.now(UTC).date()
    StoredPast(connection, "g").add_day(today)
    updater = IndexUpdater(settings.postgres())
    try:
        for first in (0, 20_000):
            batch = Batch(single_rows=[line(n, datetime.now(UTC)) for n in range(first, first + 20_000)])
            stored(connection, batch)
            assert unindexed_blocks(connection) > 100
            updater.request({today.isoformat()})

            def indexed() -> bool:
                updater.request({today.isoformat()})  # again: the session may have been ended meanwhile
                return unindexed_blocks(connection) <= 64  # the newest range is not complete yet

            wait_until(
                indexed,
                lambda: (
                    f"all complete ranges are indexed; not {unindexed_blocks(connection)} blocks, "
                    f"while {sessions(connection)}"
                ),
            )
            connection.execute(END_OTHER_SESSIONS)
    finally:
        updater.close()


def test_ranges_whose_update_was_interrupted_are_indexed_by_the_next_one(
    connection: psycopg.Connection,
) -> None:
    today = datetime.now(UTC).date()
    StoredPast(connection, "g").add_day(today)
    stored(connection, Batch(single_rows=[line(n, datetime.now(UTC)) for n in range(20_000)]))
    summarize(connection, {today})
    index = f"crypto_metrics_{today:%Y%m%d}_timestamp_idx"
    interrupt_update(connection, index, range(192, 384, 32))
    interrupt_update(connection, index, range(0, 192, 32))
    for _ in range(2):  # one of the two each time
        summarize(connection, {today})
    assert unindexed_blocks(connection) == 0


def interrupt_update(connection: psycopg.Connection, index: str, blocks: Sequence[int]) -> None:
    """Have an update of these ranges interrupted within one of them, and another update finish the rest."""
    before = unindexed_blocks(connection)
    for attempt in range(200):
        for block in blocks:
            connection.execute("SELECT brin_desummarize_range(%s, %s)", [index, block])
        connection.execute(f"SET statement_timeout = '{attempt % 5 + 1}ms'".encode())
        with contextlib.suppress(psycopg.errors.QueryCanceled):
            connection.execute("SELECT brin_summarize_new_values(%s)", [index])
        connection.execute("SET statement_timeout = 0")
        connection.execute("SELECT brin_summarize_new_values(%s)", [index])
        if unindexed_blocks(connection) > before:
            return
    pytest.fail("no update was interrupted within a range")


def sessions(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    """Return what each session of the database does, autovacuum's too, and what it waits for."""
    return connection.execute(
        "SELECT backend_type, state, wait_event_type, wait_event, query FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ).fetchall()


def unindexed_blocks(connection: psycopg.Connection) -> int:
    """Return how many blocks a search reads for a time that no row has."""
    connection.execute("SET enable_seqscan = off")
    query = "EXPLAIN (ANALYZE, FORMAT JSON) SELECT count(*) FROM crypto_metrics WHERE timestamp = %s"
    end_of_today = datetime.combine(datetime.now(UTC).date(), dt.time.max, UTC)
    plan = connection.execute(query, [end_of_today]).fetchone()
    return sum(int(blocks) for blocks in re.findall(r"'Lossy Heap Blocks': (\d+)", str(plan)))


def test_a_session_is_replaced_by_its_later_state(connection: psycopg.Connection) -> None:
    key = (BTC, "s")
    for ticks in (1, 2):
        stored(connection, Batch(sessions={key: session(ticks)}))
    assert StoredPast(connection, "g").sessions([key]) == {key: session(2)}


@pytest.mark.parametrize(
    "ids", [[], [0], [5, 6, 7], [1, 3, 5, 9, 10], [2 * n for n in range(200)], [0, 2**63 - 2]], ids=str
)
def test_pairs_come_back_with_their_trades(connection: psycopg.Connection, ids: list[int]) -> None:
    trades = TradeIds()
    for trade_id in ids:
        trades.add(trade_id)
    one = PairState(BTC, WIDE, TINY, NOON, str(trades), trades.floor, max(ids, default=None))
    other = PairState(SIMULATED_BTC, TINY, WIDE, NOON, "{}", 0, None)
    stored(connection, Batch(pairs=[one, other]))
    found = StoredPast(connection, "g").pairs({BTC, SIMULATED_BTC, SOL})
    assert found == {BTC: one, SIMULATED_BTC: other}
    again = TradeIds(found[BTC].trade_ids, found[BTC].trade_ids_floor)
    assert [n for n in ids if n in again] == [n for n in ids if not again.unknown(n)]
    assert again.highest == max(ids, default=-1)
    assert StoredPast(connection, "other").pairs({BTC}) == {}


def test_a_tick_is_stored_only_if_market_trade_time_and_group_are_the_same(
    connection: psycopg.Connection,
) -> None:
    stored(connection, Batch(single_rows=[line(1, NOON)]))
    stored(connection, Batch(single_rows=[line(2, NOON, group="other")]), GroupTopic("other", "t", "id"))
    instant = timedelta(microseconds=1)
    asked = [
        (BTC, 1, NOON),
        (BTC, 1, NOON + instant),
        (BTC, 1, NOON - instant),
        (BTC, 3, NOON),
        (ETH, 1, NOON),
        (SIMULATED_BTC, 1, NOON),
        (BTC, 2, NOON),
    ]
    assert StoredPast(connection, "g").stored(asked) == {(BTC, 1, NOON)}
    assert StoredPast(connection, "other").stored(asked) == {(BTC, 2, NOON)}
    assert StoredPast(connection, "g").stored([]) == set()


def test_ticks_near_and_far_are_found_in_whatever_partition(connection: psycopg.Connection) -> None:
    today = datetime.now(UTC).replace(microsecond=0)
    times = [today - timedelta(days=n) for n in (0, 1, 2, 400)]
    times += [times[-1] + n * NEARBY for n in range(1, 4)]
    times += [times[-1] + NEARBY + timedelta(microseconds=1)]
    state = StoredPast(connection, "g")
    for time in times:
        state.add_day(time.date())
    stored(connection, Batch(single_rows=[line(n, time) for n, time in enumerate(times)]))
    asked = {(BTC, n, time) for n, time in enumerate(times)}
    wrong = {(BTC, n + 1, time) for n, time in enumerate(times)}
    assert state.stored(asked | wrong) == asked
    # What steers the planner holds for this one search only.
    assert connection.execute("SHOW enable_seqscan").fetchone() == ("on",)


def test_thousands_are_found_among_many(connection: psycopg.Connection) -> None:
    times = [NOON + timedelta(milliseconds=n) for n in range(20_000)]
    stored(connection, Batch(single_rows=[line(n, time) for n, time in enumerate(times)]))
    asked = {(BTC, n, times[n]) for n in range(0, 20_000, 4)}
    missing = {(BTC, n + 1_000_000, times[n]) for n in range(0, 20_000, 4)}
    assert StoredPast(connection, "g").stored(asked | missing) == asked


def test_a_rejected_message_is_kept_whole(connection: psycopg.Connection) -> None:
    value, key = bytes(range(256)) * 4000, b"\x00\xff"
    bad = [
        RejectedOffset(0, 0, "not_json", "detail", key, value, NOON),
        RejectedOffset(0, 1, "no_value", "", None, None, None),
        RejectedOffset(0, 2, "not_json", "", b"", b"", None),
    ]
    stored(
        connection,
        Batch(rejected=bad, skipped=[SkippedOffsets(0, 3, 9, "hole"), SkippedOffsets(1, 0, 0, "duplicate")]),
    )
    rows = connection.execute(
        "SELECT kafka_partition, kafka_offset, reason, detail, key, value, kafka_timestamp "
        "FROM rejected_ticks ORDER BY kafka_offset"
    ).fetchall()
    assert [RejectedOffset(*row) for row in rows] == bad
    skipped = "SELECT kafka_partition, first_offset, last_offset, reason FROM skipped_offsets ORDER BY 1"
    assert connection.execute(skipped).fetchall() == [(0, 3, 9, "hole"), (1, 0, 0, "duplicate")]
