"""`cryptometrics plot`: the files that it draws, and its errors."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import psycopg
import pytest
from psycopg import sql

from cryptometrics.cli.chart_files import figure_of
from cryptometrics.errors import UserError
from cryptometrics.market.venues import Market
from cryptometrics.plot.panels import METRICS, PANELS, RISK_METRICS, panels_of
from cryptometrics.store.candles import load_candles
from cryptometrics.store.connection import connect
from cryptometrics.store.risk_curves import load_curves
from cryptometrics.store.tick_series import load_series

if TYPE_CHECKING:
    from cryptometrics.config import Settings
    from cryptometrics.store.tick_series import Series
    from tests.conftest import Cli
    from tests.integration.conftest import Store

BTC = Market("coinbase", "BTC-USD")
MAGIC = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml", ".pdf": b"%PDF-"}

RECENT = """
SELECT n, now() - n * interval '20 s' AS at, 100 + n % 7 AS bid, 101 + n % 7 AS ask
FROM generate_series(0, 29) AS n
"""


def test_the_default_chart_is_named_after_the_pair(cli: Cli, store: Store) -> None:
    store(RECENT)
    done = cli("plot", "--pair", "BTC-USD")
    assert done.stdout == "charts/BTC-USD.png\n"
    assert done.stderr == ""
    assert (cli.cwd / "charts/BTC-USD.png").read_bytes().startswith(MAGIC[".png"])


def test_without_a_pair_each_gets_its_chart(cli: Cli, store: Store) -> None:
    store(RECENT)
    store(RECENT, pair="ETH-USD")
    done = cli("plot", "--group", "g1")
    assert done.stdout.splitlines() == ["charts/BTC-USD.png", "charts/ETH-USD.png"]
    assert done.stderr == ""


def test_silent_pairs_are_left_out_and_named(cli: Cli, store: Store) -> None:
    store(RECENT, session="today")
    store([("2024-01-05 10:00", "100", "101")], pair="ETH-USD", session="today")
    # Not in the newest session, but in the range.
    store(RECENT.replace("now()", "(now() - interval '1 s')"), pair="SOL-USD", session="yesterday")
    # Ticks before and after a range: its session overlaps the range.
    store(
        f"{RECENT} WHERE n = 0 UNION ALL SELECT -1, now() - interval '1 day', 100, 101",
        pair="XRP-USD",
        session="today",
    )
    done = cli("plot", "--since", "9m", "--until", "2m")
    assert done.stdout.splitlines() == ["charts/BTC-USD.png", "charts/SOL-USD.png"]
    assert done.stderr.splitlines() == [
        "left out, without ticks in that range: ETH-USD, XRP-USD",
    ]
    options = ["--group", "g1", "--since", "9m", "--until", "2m", "--pair", "XRP-USD", "--pair"]
    done = cli("plot", *options, "BTC-USD", "--out", "one.png")
    assert (done.stdout, done.stderr) == ("one.png\n", "left out, without ticks in that range: XRP-USD\n")
    assert cli("plot", *options, "ETH-USD", code=2).stderr.startswith(
        "error: no ticks of ETH-USD, XRP-USD in group g1, venue coinbase in that range; "
        "stored ticks go from 2024-01-05"
    )
    assert (
        "no ticks of NO-USD in group g1, venue coinbase; there are"
        in cli("plot", *options, "NO-USD", code=2).stderr
    )


def test_only_pairs_in_the_range_count_against_the_limit(cli: Cli, store: Store) -> None:
    store(RECENT)
    for n in range(13):
        store([("2024-01-05 10:00", "100", "101")], pair=f"C{n:02}-USD")
    done = cli("plot", "--group", "g1", "--since", "15m")
    assert done.stdout == "charts/BTC-USD.png\n"
    assert done.stderr.endswith("C09-USD and 3 more\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("suffix", MAGIC)
def test_one_file_holds_all_pairs_in_the_format_of_its_name(cli: Cli, store: Store, suffix: str) -> None:
    store(RECENT)
    store(RECENT, pair="ETH-USD")
    options = ["--pair", "ETH-USD", "--pair", "BTC-USD", "--since", "15m", "--metric", "bid"]
    for name in ("one", "two"):
        assert cli("plot", *options, "--out", name + suffix).stdout == f"{name}{suffix}\n"
    one, two = ((cli.cwd / f"{name}{suffix}").read_bytes() for name in ("one", "two"))
    assert one.startswith(MAGIC[suffix])
    assert not (cli.cwd / "charts").exists()
    if suffix != ".png":
        return
    width, height = (int.from_bytes(two[at : at + 4]) for at in (16, 20))
    assert width > 2 * height


def test_a_page_is_one_file_that_asks_nobody(cli: Cli, store: Store) -> None:
    store(RECENT, session="$$x$$ <script>alert(1)</script>")
    options = ["--theme", "dark", "--size", "900x700", "--out"]
    assert cli("plot", *options, "chart.html").stdout == "chart.html\n"
    page = (cli.cwd / "chart.html").read_text()
    assert page.lstrip().startswith("<!DOCTYPE html>")
    assert re.findall(r"<(?:script|link)[^>]+(?:src|href)\s*=", page[:2000]) == []
    assert "<script>alert(1)" not in page
    assert "BTC-USD" in page
    assert cli("plot", *options, "chart.png").stdout == "chart.png\n"
    png = (cli.cwd / "chart.png").read_bytes()
    assert [int.from_bytes(png[at : at + 4]) for at in (16, 20)] == [900, 700]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--pair", "NO-USD"],
            "no ticks of NO-USD in group g1, venue coinbase; there is BTC-USD (2024-01-05 10:0",
        ),
        (["--since", "15m"], "stored ticks go from 2024-01-05 10:00:00 to 2024-01-05 10:00:00 UTC"),
        (["--since", "soon"], "'soon' is not a time"),
        (["--since", "1h", "--until", "2h"], "is after --until"),
        (["--metric", "turnover"], "'turnover' is not one of"),
        (["--out", "chart.bmp"], "must end in .png, .svg, .pdf or .html"),
        (["--size", "wide"], "'wide' is not a size: write WIDTHxHEIGHT in dots, such as 1600x900"),
        (["--size", "100x90000"], "'100x90000' must have sides of 300 to 10,000 dots"),
        (["--theme", "pink"], "'pink' is not one of"),
        (["--out", "missing/chart.html"], "cannot write missing/chart.html: No such file or directory"),
        (["--out", "missing/chart.png"], "cannot write missing/chart.png: No such file or directory"),
        (["--out", "/proc/chart.png"], "cannot write /proc/chart.png"),
        (["--show"], "--show needs a display"),
    ],
)
def test_mistakes_are_one_line(cli: Cli, store: Store, options: list[str], message: str) -> None:
    store([("2024-01-05 10:00", "100", "101")])
    headless = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "MPLBACKEND": ""}
    done = cli("plot", "--group", "g1", "--pair", "BTC-USD", *options, code=2, env=headless)
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (cli.cwd / "charts").exists()


def test_a_full_disk_is_one_line(cli: Cli, store: Store) -> None:
    store(RECENT)
    (cli.cwd / "chart.svg").write_text("the one before")
    limited = ["sh", "-c", 'ulimit -f 8; exec "$@"', "sh", sys.executable, "-m", "cryptometrics"]
    done = subprocess.run(
        [*limited, "plot", "--group", "g1", "--out", "chart.svg"],
        cwd=cli.cwd,
        env=cli.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, f"error: cannot write chart.svg: {os.strerror(27)}\n")
    assert [path.name for path in cli.cwd.iterdir()] == ["chart.svg"]
    assert (cli.cwd / "chart.svg").read_text() == "the one before"


def test_too_many_pairs_must_be_named(cli: Cli, store: Store) -> None:
    for n in range(13):
        store([("2024-01-05 10:00", "100", "101")], pair=f"C{n}-USD")
    assert "13 pairs are too many: choose up to 12 with --pair" in cli("plot", code=2).stderr


def test_a_named_session_is_drawn(cli: Cli, store: Store) -> None:
    store([("2024-01-05 10:00", "100", "101")], session="stress test/1")
    store([("2024-01-06 10:00", "100", "101")], session="later")
    assert cli("plot", "--session", "stress test/1").stdout == "charts/BTC-USD.png\n"


# Extremes, which run in the order of the topic


LATE = [
    ("2024-01-05 10:00:00", "100", "100.5"),
    ("2024-01-05 10:00:20", "101", "101.5"),
    ("2024-01-05 10:00:10", "90", "120"),  # the widest quote came late
    ("2024-01-05 10:00:30", "100", "100.5"),
    ("2024-01-05 10:00:05", "103", "103.5"),  # so did the highest bid
]


def written(*loaded: Series) -> list[str]:
    """Return the texts in the panels of a chart."""
    return [text.get_text() for axes in figure_of(loaded, PANELS).axes for text in axes.texts]


def test_an_extreme_that_came_late_is_in_the_chart_from_its_time_on(
    connection: psycopg.Connection, store: Store
) -> None:
    store(LATE)
    series = load_series(connection, "g1", BTC, METRICS)
    last = {metric: [float(value) for value in values.last] for metric, values in series.metrics.items()}
    assert last["max_spread"] == [0.5, 0.5, 30, 30, 30]
    assert last["highest_bid"] == [100, 103, 103, 103, 103]
    assert last["lowest_ask"] == [100.5] * 5
    assert {"session max spread 30", "session high bid 103"} <= set(written(series))
    [session] = series.sessions
    assert (session.max_spread, session.highest_bid) == (Decimal(30), Decimal(103))


def test_extremes_before_a_range_count(connection: psycopg.Connection, store: Store) -> None:
    store(LATE)
    since = datetime(2024, 1, 5, 10, 0, 15, tzinfo=UTC)
    series = load_series(connection, "g1", BTC, METRICS, since=since)
    assert [int(value) for value in series.metrics["max_spread"].last] == [30, 30]
    assert [int(value) for value in series.metrics["highest_bid"].last] == [103, 103]
    assert {"session max spread 30, above this chart", "session high bid 103, above this chart"} <= set(
        written(series)
    )
    # The session's extremes are set after this range; the first quote of the topic was before it.
    store([(at, bid, ask) for at, bid, ask in sorted(LATE)], pair="ETH-USD")
    until = datetime(2024, 1, 5, 10, 0, 8, tzinfo=UTC)
    eth = Market("coinbase", "ETH-USD")
    series = load_series(connection, "g1", eth, METRICS, since=until - timedelta(seconds=4), until=until)
    assert series.metrics["lowest_ask"].last == [Decimal("100.5")]
    assert series.metrics["max_spread"].last == [Decimal("0.5")]


def test_each_session_has_its_extremes_and_the_legend_those_of_all(
    connection: psycopg.Connection, store: Store
) -> None:
    store(LATE)
    # In one bucket with the end of the first session, and without its extremes.
    store([("2024-01-05 10:00:31", "100", "101"), ("2024-01-07 10:00", "99", "101")], session="second")
    series = load_series(connection, "g1", BTC, METRICS, since=datetime(2024, 1, 1, tzinfo=UTC), buckets=20)
    assert series.width > timedelta(hours=1)
    assert series.session_starts == [1]
    assert [int(value) for value in series.metrics["highest_bid"].last] == [103, 100, 100]
    assert [float(value) for value in series.metrics["max_spread"].last] == [30, 1, 2]
    assert {
        "max spread of all sessions 30",
        "high bid of all sessions 103",
        "low ask of all sessions 100.5",
    } <= set(written(series))


# Risk

RISK = """
INSERT INTO crypto_risk (consumer_group, venue, pair, range, as_of, minutes, minutes_with_ticks, coverage,
                         gap_minutes, volatility, drawdown, value_at_risk)
SELECT 'g1', 'coinbase', 'BTC-USD', range, timestamptz '2024-01-05 10:00Z' + n * interval '1 min', 1440, 1440,
       1, 0, 0.4 + n / 1000.0, n / 10000.0, CASE WHEN n >= 100 THEN 0.02 END
FROM unnest('{1h,24h}'::text[]) AS range, generate_series(1, 600) AS n WHERE n NOT BETWEEN 300 AND 400
"""
TEN_HOURS = """
SELECT n, timestamptz '2024-01-05 10:00Z' + n * interval '1 min' AS at, 100 + n % 7 AS bid, 101 + n % 7 AS ask
FROM generate_series(0, 599) AS n
"""


def test_risk_stands_below_the_price(cli: Cli, store: Store, connection: psycopg.Connection) -> None:
    store(TEN_HOURS)
    options = ["plot", "--pair", "BTC-USD"]
    for metric in RISK_METRICS:
        options += ["--metric", metric]
    missing = cli(*options, code=2).stderr
    assert missing.count("\n") == 1
    assert "no risk figures of BTC-USD are stored for that time: run `cryptometrics risk --follow`" in missing
    connection.execute(RISK)
    assert cli(*options).stdout == "charts/BTC-USD.png\n"
    assert (cli.cwd / "charts/BTC-USD.png").read_bytes().startswith(MAGIC[".png"])
    series = load_series(connection, "g1", BTC, ["mid_price"])
    curves = load_curves(connection, "g1", BTC, series.start, series.end, 1200)
    figure = figure_of([replace(series, risk=curves)], panels_of(RISK_METRICS))
    price, volatility, _, value_at_risk = figure.axes
    assert price.get_ylabel() == "price (USD)"
    drawn = [float(value) for value in np.asarray(volatility.lines[0].get_ydata())]
    assert len(drawn) == 500  # 499 rows, and a break where the others are missing
    assert sum(math.isnan(value) for value in drawn) == 1
    assert drawn[-1] == pytest.approx(100)
    assert np.isnan(np.asarray(value_at_risk.lines[0].get_ydata())).sum() == 100
    few = load_curves(connection, "g1", BTC, series.start, series.end, 20)
    assert len(few.as_of) <= 21
    assert max(few.values["volatility"]) == max(curves.values["volatility"])


def test_pairs_without_stored_risk_are_left_out_and_named(
    cli: Cli, store: Store, connection: psycopg.Connection
) -> None:
    store(TEN_HOURS)
    store(TEN_HOURS, pair="ETH-USD")
    options = ["plot", "--pair", "BTC-USD,ETH-USD", "--metric", "volatility"]
    none = cli(*options, code=2)
    assert "no risk figures of BTC-USD, ETH-USD are stored for that time" in none.stderr
    assert none.stderr.count("\n") == 1
    connection.execute(RISK)
    done = cli(*options)
    assert done.stdout == "charts/BTC-USD.png\n"
    assert "left out, without stored risk figures in that time: ETH-USD;" in done.stderr


# Candles


MINUTES = """
INSERT INTO crypto_windows (consumer_group, pair, window_start, window_end, ticks, open, high, low, close,
    highest_bid, lowest_ask, max_spread, late, spread_sum, spread_bps_sum,
    open_at, open_partition, open_offset,
    close_at, close_partition, close_offset, complete)
SELECT {group}, {pair}, start, start + interval '1 minute', {ticks}, 100 + n % 3, 110 + n, 90, 101,
    100, 101, 5, 0, {ticks}, {ticks}, start, 0, n * 10, start + interval '59 s', 0, n * 10 + 9, true
FROM generate_series(0, {minutes} - 1) AS n,
    LATERAL (SELECT timestamptz {start} + n * interval '1 minute' AS start) AS starts
"""


def put_minutes(
    settings: Settings,
    start: str,
    minutes: int,
    *,
    ticks: int = 10,
    pair: str = "BTC-USD",
    session: str = "2024-01-05",
) -> None:
    """Store minutes, and the session that they are of, without their ticks."""
    values = {"group": "g1", "pair": pair, "ticks": ticks, "minutes": minutes, "start": start}
    with psycopg.connect(settings.postgres()) as connection:
        connection.execute(
            sql.SQL(MINUTES).format(**{name: sql.Literal(value) for name, value in values.items()})
        )
        connection.execute(
            """
            INSERT INTO session_extremes
            SELECT 'g1', %(pair)s, %(session)s, 100, first, 101, first, 5, first, 100, 101, last, first,
                   %(ticks)s, 0
            FROM (SELECT min(open_at) AS first, max(close_at) AS last FROM crypto_windows
                  WHERE window_start >= %(start)s) AS range
            """,
            {"pair": pair, "session": session, "ticks": ticks * minutes, "start": start},
        )


def test_candles_are_of_the_minutes(cli: Cli, settings: Settings) -> None:
    put_minutes(settings, "2024-01-05 10:00Z", 300)
    with connect(settings) as connection:
        loaded = load_candles(connection, "g1", BTC, "5m")
        assert len(loaded.candles) == 60
        second = loaded.candles[1]
        prices = second.open, second.high, second.low, second.close
        assert (second.ticks, *map(int, prices)) == (50, 102, 119, 90, 101)
        assert second.avg_spread is not None
        assert (int(second.avg_spread), second.max_spread, second.complete) == (1, Decimal(5), True)
        assert load_candles(connection, "g1", BTC, None).name == "5m"
        since = datetime(2024, 1, 5, 14, 30, 30, tzinfo=UTC)
        assert len(load_candles(connection, "g1", BTC, "1m", since=since).candles) == 30
        # At the edges of a range, too, a candle is of its whole window.
        middle = datetime(2024, 1, 5, 11, 2, 30, tzinfo=UTC)
        cut = load_candles(connection, "g1", BTC, "5m", since=middle, until=middle).candles
        assert cut == [
            candle for candle in loaded.candles if candle.start <= middle < candle.start + loaded.size
        ]
    done = cli("plot", "--candles", "--pair", "BTC-USD")
    assert done.stdout == "charts/BTC-USD-candles.png\n"
    assert (cli.cwd / "charts/BTC-USD-candles.png").read_bytes().startswith(MAGIC[".png"])
    assert cli("plot", "--candles", "1h", "--out", "one.svg").stdout == "one.svg\n"


def test_silent_pairs_have_no_candles(cli: Cli, settings: Settings) -> None:
    put_minutes(settings, "2024-01-05 10:00Z", 30)
    put_minutes(settings, "2024-01-06 10:00Z", 30, pair="ETH-USD")
    done = cli("plot", "--group", "g1", "--candles", "--since", "2024-01-06")
    assert done.stdout == "charts/ETH-USD-candles.png\n"
    assert done.stderr == "left out, without ticks in that range: BTC-USD\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--candles", "7m"], "'7m' is not one of 1m, 5m, 15m, 1h, 4h, 1d"),
        (["--candles", "--metric", "bid"], "--candles draws mid price and spread"),
        (["--candles", "1m"], "2,999 candles of 1m are too many to be seen: use 5m, or a shorter range"),
        (["--candles", "--pair", "NO-USD"], "no ticks of NO-USD in group g1"),
        (["--candles", "--since", "15m"], "stored ticks go from 2024-01-05 10:00:00 to"),
    ],
)
def test_mistakes_with_candles_are_one_line(
    cli: Cli, settings: Settings, options: list[str], message: str
) -> None:
    put_minutes(settings, "2024-01-05 10:00Z", 3_000)
    done = cli("plot", "--group", "g1", *options, code=2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_long_range_is_made_of_minutes(cli: Cli, settings: Settings) -> None:
    put_minutes(settings, "2024-01-05 10:00Z", 700, ticks=1_000)
    put_minutes(settings, "2024-01-06 00:00Z", 700, ticks=1_000, session="2024-01-06")
    since = datetime(2024, 1, 5, tzinfo=UTC)
    with connect(settings) as connection:
        series = load_series(connection, "g1", BTC, METRICS, since=since, minutes=True)
        assert series.of_minutes
        assert (sum(series.ticks), series.width) == (1_400_000, timedelta(minutes=2))
        assert set(METRICS) - set(series.metrics) == {"bid", "ask", "weighted_mid", "volume"}
        highest = series.metrics["mid_price"].high
        assert (int(highest[0]), int(max(highest))) == (111, 809)
        assert series.metrics["highest_bid"].last == [100] * len(series.ticks)
        with pytest.raises(UserError, match="no ticks of BTC-USD"):  # which are not there, only their minutes
            load_series(connection, "g1", BTC, ["bid"], since=since)
        few = load_series(
            connection, "g1", BTC, ["mid_price"], since=since, minutes=True,
            until=datetime(2024, 1, 7, tzinfo=UTC), session=None,
        )  # fmt: skip
        assert few.of_minutes
    assert cli("plot", "--since", "2024-01-05").stdout == "charts/BTC-USD.png\n"


def test_volume_and_imbalance_of_minutes_are_not_known_where_these_do_not_know_them(
    cli: Cli, connection: psycopg.Connection, settings: Settings
) -> None:
    put_minutes(settings, "2024-01-05 10:00Z", 6, ticks=1_000_000)
    with psycopg.connect(settings.postgres()) as other:
        other.execute(
            "UPDATE crypto_windows SET trades = 1, volume = 0.5, notional = 50, buy_volume = 0,"
            " sized_ticks = 1, bid_size_sum = 3, ask_size_sum = 1 WHERE window_start < '2024-01-05 10:03Z'"
        )
    series = load_series(
        connection, "g1", BTC, ["imbalance", "volume"], buckets=3, minutes=True,
        since=datetime(2024, 1, 5, tzinfo=UTC), until=datetime(2024, 1, 5, 10, 5, 59, tzinfo=UTC),
    )  # fmt: skip
    bars = series.volume
    assert bars is not None
    assert bars.width == series.width
    assert bars.starts[0] == datetime(2024, 1, 5, 10, tzinfo=UTC)
    assert str(series.metrics["imbalance"].last[0])[:4] == "0.75"
    assert series.metrics["imbalance"].last[-1].is_nan()
    assert bars.values[0] in {Decimal("0.5"), Decimal("1.0")}
    assert bars.values[-1].is_nan()
    for metric in ("imbalance", "volume", "weighted_mid"):
        options = ("--pair", "BTC-USD", "--since", "2024-01-05", "--metric", metric)
        if metric == "weighted_mid":  # which only ticks have
            assert "no ticks of BTC-USD" in cli("plot", *options, code=2).stderr
        else:
            assert cli("plot", *options).stdout == "charts/BTC-USD.png\n"


def test_a_long_range_of_minutes_has_the_extremes_before_it(
    connection: psycopg.Connection, settings: Settings
) -> None:
    put_minutes(settings, "2024-01-05 10:00Z", 700, ticks=10_000)
    with psycopg.connect(settings.postgres()) as other:
        for minute, bid in (("10:05", 150), ("20:00", 160)):
            other.execute(
                "UPDATE crypto_windows SET highest_bid = %s WHERE window_start = %s",
                [bid, f"2024-01-05 {minute}Z"],
            )
        other.execute(
            "UPDATE session_extremes SET highest_bid = 160, highest_bid_at = '2024-01-05 20:00:30Z'"
        )
    since = datetime(2024, 1, 5, 12, tzinfo=UTC)
    series = load_series(connection, "g1", BTC, ["mid_price", "highest_bid"], since=since, minutes=True)
    assert series.of_minutes
    assert [int(value) for value in sorted(set(series.metrics["highest_bid"].last))] == [150, 160]
    assert int(series.metrics["highest_bid"].last[0]) == 150
