"""`cryptometrics plot --windows`: the windows that `aggregate` stored, of every shape."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from cryptometrics.market.venues import Market
from cryptometrics.store.connection import connect
from cryptometrics.store.stored_windows import choose_windows, load_windows
from cryptometrics.store.windows import overwrite
from tests.aggregates import of_tick

if TYPE_CHECKING:
    import psycopg

    from cryptometrics.config import Settings
    from tests.conftest import Cli

START = datetime(2026, 6, 30, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BTC, ETH = Market("coinbase", "BTC-USD"), Market("coinbase", "ETH-USD")


def put(
    settings: Settings,
    name: str,
    *spans: tuple[float, float],
    market: Market = BTC,
    group: str = "g1",
    start: datetime = START,
) -> None:
    """Store a complete window of one tick for each span, in minutes after `start`."""
    windows = []
    for number, (begin, end) in enumerate(spans):
        first = start + begin * MINUTE
        bid = Decimal(100 + number % 7)
        windows.append((market, first, start + end * MINUTE, of_tick((first, 0, number), bid, bid + 1)))
    with connect(settings) as connection, connection.cursor() as cursor:
        overwrite(cursor, group, name, windows, complete=True)


def spans(connection: psycopg.Connection, name: str, **bounds: datetime) -> list[tuple[float, float]]:
    found = load_windows(connection, "g1", BTC, name, **bounds)
    return [((each.start - START) / MINUTE, (each.end - START) / MINUTE) for each in found.candles]


def test_windows_of_every_shape_are_drawn_whole(
    cli: Cli, settings: Settings, connection: psycopg.Connection
) -> None:
    sliding = [(float(n), float(n + 10)) for n in range(30)]
    put(settings, "10m-every-1m", *sliding)
    put(settings, "gap-30s", (0, 4), (9.5, 10), (20, 41))
    assert spans(connection, "10m-every-1m") == sliding
    assert spans(connection, "gap-30s") == [(0, 4), (9.5, 10), (20, 41)]
    # What overlaps the range is drawn whole.
    since, until = START + 3 * MINUTE, START + 20 * MINUTE
    assert spans(connection, "gap-30s", since=since, until=until) == [(0, 4), (9.5, 10), (20, 41)]
    assert spans(connection, "gap-30s", since=START + 4 * MINUTE, until=until - MINUTE) == [(9.5, 10)]
    for name in ("10m-every-1m", "gap-30s"):
        done = cli("plot", "--windows", name)
        assert (done.stdout, done.stderr) == ("charts/BTC-USD-windows.png\n", "")
    assert cli("plot", "--windows", "gap-30s", "--out", "page.html").stdout == "page.html\n"
    page = (cli.cwd / "page.html").read_text()
    assert "gap-30s windows" in page


def test_a_group_that_processed_nothing_has_windows(cli: Cli, settings: Settings) -> None:
    put(settings, "5m", (0, 5), (5, 10), group="only-aggregates")
    put(settings, "5m", (0, 5), market=ETH, group="only-aggregates")
    put(settings, "5m", (60, 65), group="newer")
    done = cli("plot", "--windows", "5m")
    assert done.stdout == "charts/BTC-USD-windows.png\n"
    assert done.stderr.startswith("reading group newer, the one with the newest row; --group reads only-")
    done = cli("plot", "--windows", "5m", "--group", "only-aggregates", "--out", "both.svg")
    assert (done.stdout, done.stderr) == ("both.svg\n", "")
    later = ["--since", "2026-06-30T12:07", "--group", "only-aggregates"]
    done = cli("plot", "--windows", "5m", *later)
    assert done.stdout == "charts/BTC-USD-windows.png\n"
    assert done.stderr == "left out, without windows in that range: ETH-USD\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["7m"], "no windows named 7m are stored; there are 1s, 5m: `cryptometrics aggregate` makes them"),
        (["5m", "--group", "g9"], "group g9 has no windows named 5m; there is g1"),
        (["5m", "--venue", "kraken"], "group g1 has no windows named 5m of venue kraken; there is coinbase"),
        (["5m", "--pair", "ETH-USD"], "no windows named 5m of ETH-USD at coinbase; there is BTC-USD"),
        (["5m", "--since", "2026-07-01"], "no windows named 5m of BTC-USD overlap that range"),
        (
            ["1s"],
            "more than 1,500 windows are too many to be seen: draw a shorter range, such as --since 2026-",
        ),
        (["5m", "--candles"], "--candles does not go with --windows"),
        (["5m", "--metric", "bid"], "--metric does not go with --windows"),
        (["5m", "--portfolio", "p"], "--windows does not go with --portfolio"),
    ],
)
def test_mistakes_are_one_line(cli: Cli, settings: Settings, options: list[str], message: str) -> None:
    put(settings, "5m", (0, 5))
    put(settings, "1s", *((n / 60, (n + 1) / 60) for n in range(1501)))
    done = cli("plot", "--windows", *options, code=2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_range_that_an_error_proposes_is_drawn(
    settings: Settings, connection: psycopg.Connection
) -> None:
    put(settings, "1s", *((n / 60, (n + 1) / 60) for n in range(1600)))
    found = choose_windows(connection, "1s")
    assert (found.group.name, found.venue.name, found.markets) == ("g1", "coinbase", [BTC])
    since = START + 100 * MINUTE / 60
    assert len(spans(connection, "1s", since=since)) == 1500
