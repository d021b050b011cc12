"""The reads for tables and charts, compared with PostgreSQL's own answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest

from cryptometrics.errors import UserError
from cryptometrics.market.venues import Market
from cryptometrics.plot.panels import METRICS
from cryptometrics.store.choose_source import resolve_group, resolve_venue
from cryptometrics.store.connection import snapshot
from cryptometrics.store.minute_series import TickLimits, exceeds
from cryptometrics.store.stored_sessions import sessions
from cryptometrics.store.tick_series import EXPRESSIONS, load_series

if TYPE_CHECKING:
    from cryptometrics.config import Settings
    from tests.integration.conftest import Store

BTC = Market("coinbase", "BTC-USD")
OF_SIZES = ["weighted_mid", "imbalance"]

EARLY = [("2024-01-05 10:00", "100.10", "100.30")]
LATE = [("2024-01-05 12:00", "100.10", "100.30")]

# A pair whose price wanders, with one spike of the ask for a single tick.
MANY = """
SELECT n, timestamptz '2024-01-05 00:00Z' + n * interval '0.25 s' AS at,
       round(67000 + 90 * sin(n / 9000.0)::numeric + n % 7, 2) AS bid,
       round(67000 + 90 * sin(n / 9000.0)::numeric + n % 7, 2) + 0.01 * (1 + n % 5)
           + CASE n WHEN 123457 THEN 55.55 ELSE 0 END AS ask
FROM generate_series(0, 299999) AS n
"""


def test_no_group_has_ticks(connection: psycopg.Connection) -> None:
    for group in (None, "g1"):
        with pytest.raises(UserError, match="no ticks are stored yet"):
            resolve_group(connection, group)


def test_the_only_group_is_read_without_a_word(connection: psycopg.Connection, store: Store) -> None:
    store(EARLY)
    assert resolve_group(connection, None) == ("g1", "")


def test_the_group_with_the_newest_row_is_read_and_the_others_are_named(
    connection: psycopg.Connection, store: Store
) -> None:
    store(EARLY, group="old")
    store(LATE, group="new")
    name, note = resolve_group(connection, None)
    assert name == "new"
    assert "newest row" in note
    assert "old" in note


def test_of_groups_equally_far_the_one_that_wrote_last_is_newer(
    connection: psycopg.Connection, store: Store
) -> None:
    for group, ago in (("a", "1 hour"), ("b", "1 minute"), ("c", "1 day")):
        store(EARLY, group=group)
        connection.execute(
            """
            INSERT INTO consumer_offsets (consumer_group, topic, kafka_partition, topic_id, first_offset,
                next_offset, metrics, epoch, owner, backend_pid, backend_start, updated_at)
            VALUES (%s, 'crypto_prices', 0, '', 0, 1, 1, 1, '', 0, now(), now() - %s::interval)
            """,
            [group, ago],
        )
    assert resolve_group(connection, None).name == "b"


def test_the_group_asked_for_is_read_without_a_word(connection: psycopg.Connection, store: Store) -> None:
    store(EARLY, group="old")
    store(LATE, group="new")
    assert resolve_group(connection, "old") == ("old", "")
    with pytest.raises(UserError, match="group other has stored nothing; there are new, old"):
        resolve_group(connection, "other")


def test_the_venue_is_chosen_like_the_group(connection: psycopg.Connection, store: Store) -> None:
    store(EARLY, venue="simulated", session="drill")
    assert resolve_venue(connection, "g1", None) == ("simulated", "")
    store(LATE, venue="coinbase")
    store(EARLY, venue="kraken", pair="ETH-USD")
    store(LATE, venue="other", group="g2")
    assert resolve_venue(connection, "g1", "simulated") == ("simulated", "")
    assert resolve_venue(connection, "g1", None) == (
        "coinbase",
        "reading venue coinbase, the one with the newest row; --venue reads kraken, simulated instead",
    )
    # Only venues that have what is asked for are a choice.
    assert resolve_venue(connection, "g1", None, pairs=["ETH-USD"]) == ("kraken", "")
    assert resolve_venue(connection, "g1", None, session="drill") == ("simulated", "")
    assert resolve_venue(connection, "g1", None, pairs=["NO-USD"]).name == "coinbase"
    with pytest.raises(UserError, match="has no ticks of venue other; there are coinbase, kraken, simulated"):
        resolve_venue(connection, "g1", "other")


def test_venues_of_a_pair_are_never_one_series(connection: psycopg.Connection, store: Store) -> None:
    # The simulated quotes are the newest, the highest and the lowest ones, in the same session.
    store([("2024-01-05 10:00", "100.10", "100.30"), ("2024-01-05 10:01", "100.20", "100.40")])
    store([("2024-01-05 10:00:30", "900", "901"), ("2024-01-05 10:02", "1", "2")], venue="simulated")
    series = load_series(connection, "g1", BTC, METRICS)
    assert sum(series.ticks) == 2
    assert series.metrics["highest_bid"].last[-1] == Decimal("100.20")
    assert series.metrics["lowest_ask"].last[-1] == Decimal("100.30")
    assert [row.market for row in series.sessions] == [BTC]
    shown = {row.venue: row.highest_bid for row in sessions(connection, "g1", pairs=["BTC-USD"])}
    assert shown == {"coinbase": Decimal("100.20"), "simulated": Decimal(900)}
    with pytest.raises(UserError, match="no ticks of ETH-USD in group g1, venue simulated; there is BTC-USD"):
        load_series(connection, "g1", Market("simulated", "ETH-USD"), METRICS)


def test_ticks_of_all_markets_count_for_the_limit_of_a_range(
    connection: psycopg.Connection, store: Store
) -> None:
    store([("2024-01-05 10:00", "100.10", "100.30"), ("2024-01-05 10:02", "100.20", "100.40")])
    store([("2024-01-05 10:01", "900", "901"), ("2024-01-05 10:02", "1", "2")], venue="simulated")
    start, end = (datetime(2024, 1, 5, 10, minute, tzinfo=UTC) for minute in (0, 2))

    def is_over(limit: int, until: datetime) -> bool:
        return exceeds(connection, "g1", BTC, start, until, TickLimits(in_range=limit))

    assert is_over(3, end)
    assert not is_over(4, end)
    assert not is_over(1, end - timedelta(minutes=1))  # half of the first market's ticks
    assert is_over(0, end - timedelta(minutes=1))


def test_each_venue_has_its_newest_session(connection: psycopg.Connection, store: Store) -> None:
    store(EARLY, session="a")
    store(EARLY, session="b", venue="simulated")
    store(LATE, session="c", venue="simulated")
    rows = [(row.venue, row.session) for row in sessions(connection, "g1")]
    assert rows == [("coinbase", "a"), ("simulated", "c")]


def test_the_newest_session_is_the_groups_or_that_of_the_pairs_asked_for(
    connection: psycopg.Connection, store: Store
) -> None:
    store(EARLY, pair="BTC-USD", session="a")
    store(EARLY, pair="ETH-USD", session="a")
    store(LATE, pair="ETH-USD", session="b")
    store(LATE, pair="DOT-USD", session="b", group="another")

    def found(*pairs: str, session: str | None = None) -> list[tuple[str, str]]:
        return [(row.pair, row.session) for row in sessions(connection, "g1", pairs=pairs, session=session)]

    assert found() == [("ETH-USD", "b")]
    assert found("BTC-USD", "ETH-USD") == [("BTC-USD", "a"), ("ETH-USD", "b")]
    assert found(session="a") == [("BTC-USD", "a"), ("ETH-USD", "a")]
    with pytest.raises(UserError, match="no ticks of BTC-USD in session b of group g1; there is a"):
        found("BTC-USD", session="b")
    with pytest.raises(UserError, match="group g1 has no session c; there are b, a"):
        found(session="c")
    with pytest.raises(UserError, match=r"no ticks of DOT-USD in group g1; there are BTC-USD .*, ETH-USD"):
        found("DOT-USD")


def test_mid_price_and_spread_are_exact_at_any_width(connection: psycopg.Connection, store: Store) -> None:
    store(
        [
            (
                "2024-01-05 10:00",
                "12345678901234567890.000000000000000001",
                "12345678901234567890.000000000000000004",
            )
        ]
    )
    (row,) = sessions(connection, "g1")
    assert row.mid_price == Decimal("12345678901234567890.0000000000000000025")
    assert row.spread == Decimal("0.000000000000000003")


def test_metrics_of_sizes_are_not_known_without_sizes(connection: psycopg.Connection, store: Store) -> None:
    store([(f"2024-01-05 10:00:0{n}", "100", "102") for n in range(4)])
    for offset, sizes in enumerate([(3, 1), (0, 0), (None, None), (1, None)]):
        connection.execute(
            "UPDATE crypto_metrics SET bid_size = %s, ask_size = %s WHERE kafka_offset = %s", [*sizes, offset]
        )
    series = load_series(connection, "g1", BTC, OF_SIZES)
    assert series.metrics["imbalance"].last[0] == Decimal("0.75")
    assert series.metrics["weighted_mid"].last[0] == Decimal("101.5")  # nearer to the ask, which has less
    for values in (values for metric in OF_SIZES for values in series.metrics[metric]):
        assert [value.is_nan() for value in values] == [False, True, True, True]


@pytest.mark.slow
def test_reduction_keeps_every_extreme(connection: psycopg.Connection, store: Store) -> None:
    store(MANY)
    metrics = [metric for metric in METRICS if metric in EXPRESSIONS and metric not in OF_SIZES]
    series = load_series(connection, "g1", BTC, metrics)
    assert 500 < len(series.ticks) <= 1201
    assert sum(series.ticks) == 300_000
    extremes = {"highest_bid": "max(bid)", "lowest_ask": "min(ask)", "max_spread": "max(ask - bid)"}
    for metric, extreme in extremes.items():  # they follow from the quotes, over time
        if metric in series.metrics:
            (whole,) = connection.execute(f"SELECT {extreme} FROM crypto_metrics").fetchone() or (None,)
            assert series.metrics[metric].last[-1] == whole
    for metric in (each for each in metrics if each not in extremes):
        expression = EXPRESSIONS[metric].as_string(connection)
        truth = connection.execute(
            f"SELECT min(v), max(v), (array_agg(v ORDER BY timestamp DESC))[1]"
            f" FROM (SELECT timestamp, {expression} AS v FROM crypto_metrics) AS all_ticks"
        ).fetchone()
        values = series.metrics[metric]
        assert (min(values.low), max(values.high), values.last[-1]) == truth
        assert all(low <= last <= high for low, high, last in zip(*values, strict=True))


@pytest.mark.parametrize("buckets", [1, 7, 400, 1200])
def test_no_more_points_than_asked_for(connection: psycopg.Connection, store: Store, buckets: int) -> None:
    store(MANY.replace("299999", "29999"))
    series = load_series(connection, "g1", BTC, ["bid"], buckets=buckets)
    assert len(series.ticks) <= buckets + 1
    assert sum(series.ticks) == 30_000


def test_few_ticks_come_as_they_are(connection: psycopg.Connection, store: Store) -> None:
    store(
        [
            ("2024-01-05 10:00:00.000001", "0.00001306", "0.00001307"),
            ("2024-01-05 10:00:07.5", "0.00001305", "0.00001305"),
            ("2024-01-05 10:00:09", "0.00001304", "0.00001309"),
        ]
    )
    series = load_series(connection, "g1", BTC, ["bid", "spread_bps"])
    assert series.metrics["bid"].last == [Decimal(f"0.0000130{n}") for n in (6, 5, 4)]
    assert series.first_at == series.last_at
    assert series.first_at[0] == datetime(2024, 1, 5, 10, 0, 0, 1, tzinfo=UTC)
    assert series.locked == [0, 1, 0]
    assert float(series.metrics["spread_bps"].last[2]) == pytest.approx(38.2702, abs=1e-4)


def test_the_last_of_equal_times_is_the_last_of_the_topic(
    connection: psycopg.Connection, store: Store
) -> None:
    store([("2024-01-05 10:00", str(bid), "100") for bid in (5, 9, 7)])
    values = load_series(connection, "g1", BTC, ["bid"]).metrics["bid"]
    assert [*values] == [[5], [9], [7]]


def test_a_range_is_cut_to_what_is_stored(connection: psycopg.Connection, store: Store) -> None:
    store([(f"2024-01-05 10:0{n}", "100", "101") for n in range(10)], session="a")
    store([(f"2024-01-06 10:0{n}", "200", "201") for n in range(10)], session="b")
    ten = datetime(2024, 1, 5, 10, tzinfo=UTC)

    newest = load_series(connection, "g1", BTC, ["bid"])
    assert [row.session for row in newest.sessions] == ["b"]
    everything = load_series(connection, "g1", BTC, ["bid"], since=ten - timedelta(days=9))
    assert [row.session for row in everything.sessions] == ["b", "a"]
    assert (everything.start, sum(everything.ticks)) == (ten, 20)
    within = load_series(
        connection,
        "g1",
        BTC,
        ["bid"],
        since=ten + timedelta(minutes=2),
        until=ten + timedelta(minutes=4),
    )
    assert (within.start, within.end, sum(within.ticks)) == (
        ten + timedelta(minutes=2),
        ten + timedelta(minutes=4),
        3,
    )
    named = load_series(connection, "g1", BTC, ["bid"], session="a")
    assert named.metrics["bid"].last == [100] * 10


@pytest.mark.parametrize("hours", [-3, 1, 100])
def test_a_range_without_ticks_names_the_one_there_is(
    connection: psycopg.Connection, store: Store, hours: int
) -> None:
    store(EARLY)
    store([*LATE, ("2024-01-05 14:00", "1", "2")], session="later")
    since = datetime(2024, 1, 5, 10, tzinfo=UTC) + timedelta(hours=hours)
    with pytest.raises(UserError, match="from 2024-01-05 10:00:00 to 2024-01-05 14:00:00 UTC"):
        load_series(connection, "g1", BTC, ["bid"], since=since, until=since + timedelta(minutes=5))


def test_a_snapshot_sees_one_moment(connection: psycopg.Connection, store: Store) -> None:
    store(EARLY)
    with snapshot(connection):
        assert len(sessions(connection, "g1")) == 1
        store(LATE, pair="ETH-USD")
        assert len(sessions(connection, "g1")) == 1
    assert len(sessions(connection, "g1")) == 2


def test_the_newest_minutes_need_no_old_partition(
    connection: psycopg.Connection, store: Store, settings: Settings
) -> None:
    store(EARLY, session="old")
    store(
        "SELECT n, now() - n * interval '1 s' AS at, 1.0 AS bid, 2.0 AS ask FROM generate_series(0, 9) AS n"
    )
    connection.execute("SET lock_timeout = '5s'")
    with psycopg.connect(settings.postgres()) as other:
        other.execute("LOCK TABLE crypto_metrics_before IN ACCESS EXCLUSIVE MODE")
        since = datetime.now(UTC) - timedelta(minutes=15)
        series = load_series(connection, "g1", BTC, ["bid"], since=since)
    assert sum(series.ticks) == 10
