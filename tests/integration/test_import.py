"""`import`: minutes from before the feed, all or none, never over others, and what readers make of them."""

from __future__ import annotations

import gzip
import importlib
import json
import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from cryptometrics.market.venues import Market
from cryptometrics.store import windows
from tests.aggregates import of_tick
from tests.database import rows, scalar
from tests.integration.test_risk_follow import catch_up, history, verified

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import psycopg

    from cryptometrics.config import Settings
    from tests.conftest import Cli

START = datetime(2026, 7, 1, tzinfo=UTC)
MARKET = ("--venue", "coinbase", "--pair", "BTC-USD")
STORED = "SELECT * FROM crypto_windows ORDER BY consumer_group, venue, pair, window_start"


def bars(minutes: Iterable[int], *, start: datetime = START) -> list[tuple[str, ...]]:
    """Return rows with prices that move, each opening at the close before it."""
    found = []
    for n in minutes:
        opened, close = (Decimal(60_000 + round(500 * math.sin(0.7 * k * k), 2)) for k in (n, n + 1))
        prices = opened, max(opened, close) + 1, min(opened, close) - 1, close
        at = (start + n * timedelta(minutes=1)).isoformat()
        found.append((at, *(f"{price:.2f}" for price in prices), "0.5"))
    return found


def csv(path: Path, of: Sequence[Sequence[str]], header: str = "time,open,high,low,close,volume") -> Path:
    path.write_text("\n".join([header, *map(",".join, of)]) + "\n", encoding="utf-8")
    return path


def test_a_day_gives_value_at_risk_at_once(cli: Cli, settings: Settings, tmp_path: Path) -> None:
    file = csv(tmp_path / "day.csv", bars(range(1440)))
    cli("init-db", "--partitions", "1")
    dry = cli("import", file, *MARKET, "--dry-run")
    assert "1,440 minutes would be imported, from 2026-07-01 00:00 to 2026-07-01 23:59 UTC" in dry.stdout
    assert not rows(settings, STORED)

    assert "group cryptometrics): 1,440 minutes imported" in cli("import", file, *MARKET).stdout
    [line] = json.loads(cli("risk", "--pair", "BTC-USD", "--json").stdout)
    assert (line["venue"], line["group"], line["as_of"]) == (
        "coinbase",
        "cryptometrics",
        "2026-07-02T00:00:00Z",
    )
    assert line["value_at_risk"] > 0
    assert line["expected_shortfall"] >= line["value_at_risk"]
    assert (line["coverage"], line["minutes_with_ticks"], line["unverified_minutes"]) == (1, 0, 0)
    assert Decimal(line["mid_price"]) == Decimal(bars([1439])[0][4])
    assert line["spread_bps"] is None
    assert line["reasons"]["spread_bps"]

    labels = "SELECT completeness, count(*), sum(ticks)::int, sum(volume) FROM crypto_windows_{} GROUP BY 1"
    for size, count in (("1m", 1440), ("1h", 24), ("1d", 1)):
        assert rows(settings, labels.format(size)) == [("imported", count, 0, 720)]
    [hour] = rows(settings, "SELECT open, close, avg_spread, vwap FROM crypto_windows_1h LIMIT 1")
    assert hour == (Decimal(bars([0])[0][1]), Decimal(bars([59])[0][4]), None, None)

    for command in ("session", "plot", "export"):  # which need ticks
        assert "no ticks are stored yet" in cli(command, code=2).stderr

    before = rows(settings, STORED)
    again = cli("import", file, *MARKET)
    assert "all 1,440 minutes are imported already, nothing changed" in again.stdout
    assert rows(settings, STORED) == before


def test_more_minutes_join_those_of_an_earlier_import(cli: Cli, settings: Settings, tmp_path: Path) -> None:
    cli("init-db", "--partitions", "1")
    cli("import", csv(tmp_path / "a.csv", bars(range(10))), *MARKET, "--group", "g1")
    unsorted = [*reversed(bars(range(5, 20)))]
    longer = tmp_path / "b.csv.gz"
    plain = csv(tmp_path / "b.csv", unsorted)
    longer.write_bytes(gzip.compress(plain.read_bytes()))
    result = cli("import", longer, *MARKET)
    assert "group g1): 10 minutes imported" in result.stdout
    assert "5 were imported already" in result.stdout
    assert scalar(settings, "SELECT count(*) FROM crypto_windows") == 20


def test_nothing_is_imported_over_stored_minutes(cli: Cli, settings: Settings, tmp_path: Path) -> None:
    history(cli, 0.1)
    before = rows(settings, STORED)
    file = csv(tmp_path / "late.csv", bars(range(-3, 2), start=START + timedelta(hours=12)))
    for option in ((), ("--dry-run",)):
        result = cli("import", file, "--venue", "simulated", "--pair", "BTC-USD", *option, code=2)
        assert result.stderr.splitlines()[-1] == (
            "error: 2 of 5 minutes of simulated BTC-USD are stored with ticks: 2026-07-01 12:00 to "
            "2026-07-01 12:01 (UTC). Nothing was imported: leave them out of the file"
        )
    assert rows(settings, STORED) == before

    cli("import", csv(tmp_path / "a.csv", bars(range(3))), *MARKET)
    changed = bars(range(3))
    changed[1] = (changed[1][0], "1", "2", "1", "2", "")
    result = cli("import", csv(tmp_path / "b.csv", changed), *MARKET, code=2)
    assert (
        "1 of 3 minutes of coinbase BTC-USD were imported with other values: 2026-07-01 00:01"
        in result.stderr
    )
    assert verified(cli)


def test_risk_is_computed_again_with_imported_minutes(cli: Cli, settings: Settings, tmp_path: Path) -> None:
    history(cli, 1)
    catch_up(cli, settings)
    thin = scalar(settings, "SELECT count(*) FROM crypto_risk WHERE value_at_risk IS NULL AND range = '24h'")
    assert thin
    file = csv(tmp_path / "before.csv", bars(range(-3000, 0), start=START + timedelta(hours=12)))
    cli("import", file, "--venue", "simulated", "--pair", "BTC-USD")
    noted = "SELECT pair, count(*) FROM changed_minutes GROUP BY pair"
    assert rows(settings, noted) == [("BTC-USD", 2880)]
    verified(cli)  # stale is not wrong
    catch_up(cli, settings)
    verified(cli)
    query = (
        "SELECT count(*) FROM crypto_risk WHERE value_at_risk IS NULL AND range = '24h' AND pair = 'BTC-USD'"
    )
    assert scalar(settings, query) == 0


def test_ticks_replace_an_imported_minute(connection: psycopg.Connection, cli: Cli, tmp_path: Path) -> None:
    cli("import", csv(tmp_path / "a.csv", bars(range(2))), *MARKET, "--group", "g1")
    columns = (
        "ticks, open, high, low, close, highest_bid, lowest_ask, max_spread, spread_sum, spread_bps_sum, "
        "late, sized_ticks, trades, volume, open_at, open_offset, close_at, close_offset, complete, origin"
    )
    read = f"SELECT {columns} FROM crypto_windows WHERE pair = %s AND window_start = %s"
    for second, offset, bid in ((0, 7, "10"), (59.9999995, 8, "12"), (30, 9, "9")):
        part = of_tick(
            (START + timedelta(seconds=second), 0, offset), Decimal(bid), Decimal(bid) + 1, late=False
        )
        for pair in ("BTC-USD", "ETH-USD"):  # only one of them has an imported minute
            with connection.cursor() as cursor:
                windows.merge(cursor, "g1", {(Market("coinbase", pair), START): part})
    replaced, fresh = (
        connection.execute(read.encode(), [pair, START]).fetchone() for pair in ("BTC-USD", "ETH-USD")
    )
    assert replaced == fresh
    assert replaced is not None
    assert replaced[-1] is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has no column time, open, high, low, close"),
        ("time,open,high,low\n", "has no column close"),
        ("time,open,high,low,close,open\n", "has the column open twice"),
        ("time,open,high,low,close\n", "has no minutes"),
        ("time,open,high,low,close\n2026-07-01T00:00Z,1,2\n", "line 2: 3 fields, but 5 columns"),
        ("time,open,high,low,close\n2026-07-01T00:00Z,1,2,1,3\n", "line 2: close '3' is not between"),
        ('time,open,high,low,close\n"2026', "not CSV"),
        ("time,open,high,low,close\n\xff", "it is not UTF-8 text"),
    ],
)
def test_a_bad_file_is_one_line_and_stores_nothing(
    cli: Cli, settings: Settings, tmp_path: Path, text: str, problem: str
) -> None:
    file = tmp_path / "bad.csv"
    file.write_bytes(text.encode("latin-1"))
    result = cli("import", file, *MARKET, code=2)
    [line] = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert str(file) in line
    assert problem in line
    assert not rows(settings, STORED)


def test_other_columns_are_named_and_ignored(cli: Cli, settings: Settings, tmp_path: Path) -> None:
    file = csv(
        tmp_path / "a.csv", [("9", "2026-07-01T00:00Z", "1", "2", "1", "2")], "id,time,open,high,low,close"
    )
    assert "ignored columns: id" in cli("import", file, *MARKET).stderr
    assert scalar(settings, "SELECT volume FROM crypto_windows") is None


def test_parquet_has_the_same_minutes(cli: Cli, settings: Settings, tmp_path: Path) -> None:
    pyarrow, parquet = map(importlib.import_module, ("pyarrow", "pyarrow.parquet"))
    time, *prices, volume = zip(*bars(range(3)), strict=True)
    table = pyarrow.table(
        {
            "volume": list(map(float, volume)),
            "time": pyarrow.array(list(map(datetime.fromisoformat, time)), pyarrow.timestamp("us", "UTC")),
            **{
                name: list(map(Decimal, column))
                for name, column in zip(("open", "high", "low", "close"), prices, strict=True)
            },
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    cli("import", tmp_path / "a.parquet", *MARKET)
    result = cli("import", csv(tmp_path / "a.csv", bars(range(3))), *MARKET)
    assert "all 3 minutes are imported already" in result.stdout
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    assert "cannot read" in cli("import", tmp_path / "b.parquet", *MARKET, code=2).stderr
