"""Replay a recording of the real market in both modes; compare with an independent recomputation.

The tests are skipped where the recording is not beside the repository.
"""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.config import Settings
    from tests.conftest import Cli

CAPTURES = sorted(Path(__file__).parents[3].joinpath("shared", "captures").glob("*.jsonl"))
Row = tuple[Any, ...]

needs_capture = pytest.mark.skipif(not CAPTURES, reason="no ../shared/captures/*.jsonl beside the repository")


def frames() -> Iterator[dict[str, Any]]:
    """Yield each frame of the captures; of a snapshot, which has no time, with that of its receipt."""
    for capture in CAPTURES:
        for line in capture.read_text(encoding="utf-8").splitlines():
            received = json.loads(line)
            yield {"rx": received["rx"]} | received["frame"]


def expected_of_tickers() -> dict[str, list[Row]]:
    """Return trade id, time, bid and ask of each product's tickers."""
    found: dict[str, dict[Row, Row]] = {}
    for frame in frames():
        if frame["type"] == "ticker" and "time" in frame:
            row = frame["trade_id"], datetime.fromisoformat(frame["time"])
            quote = Decimal(frame["best_bid"]), Decimal(frame["best_ask"])
            found.setdefault(frame["product_id"], {}).setdefault(row, (*row, *quote))
    return {pair: list(rows.values()) for pair, rows in found.items()}


def expected_of_books() -> dict[str, list[Row]]:
    """Return time, bid and ask of each product's quotes; the time is None of a snapshot's."""
    books: dict[str, dict[str, dict[Decimal, Decimal]]] = {}
    found: dict[str, list[Row]] = {}
    for frame in frames():
        pair, time = frame.get("product_id", ""), None
        if frame["type"] == "snapshot":
            books[pair] = {
                side: {Decimal(price): Decimal(size) for price, size in frame[name]}
                for side, name in (("buy", "bids"), ("sell", "asks"))
            }
        elif frame["type"] == "l2update":
            time = datetime.fromisoformat(frame["time"])
            for side, price, size in frame["changes"]:
                books[pair][side][Decimal(price)] = Decimal(size)
        else:
            continue
        bid = max(price for price, size in books[pair]["buy"].items() if size)
        ask = min(price for price, size in books[pair]["sell"].items() if size)
        rows = found.setdefault(pair, [])
        if time is None or rows[-1][1:] != (bid, ask):
            rows.append((time, bid, ask))
    return found


def with_metrics(quotes: list[tuple[Decimal, Decimal]]) -> list[Row]:
    """Return mid price, spread and running extremes of quotes, from their definitions."""
    return [
        (
            (bid + ask) / 2, ask - bid,
            max(b for b, _ in quotes[: n + 1]), min(a for _, a in quotes[: n + 1]),
            max(a - b for b, a in quotes[: n + 1]),
        )
        for n, (bid, ask) in enumerate(quotes)
    ]  # fmt: skip


def stored(settings: Settings, columns: str) -> dict[str, list[Row]]:
    """Return these columns and the metrics of each pair's rows, in the order of the topic."""
    found: dict[str, list[Row]] = {}
    with psycopg.connect(settings.postgres()) as connection:
        query = (
            f"SELECT pair, {columns}, bid, ask, mid_price, spread, highest_bid, lowest_ask, max_spread "
            "FROM crypto_metrics ORDER BY kafka_partition, kafka_offset"
        )
        for pair, *values in connection.execute(query.encode()):
            found.setdefault(pair, []).append(tuple(values))
    return found


def extremes(settings: Settings) -> dict[str, Row]:
    with psycopg.connect(settings.postgres()) as connection:
        rows = connection.execute(
            "SELECT pair, highest_bid, lowest_ask, max_spread, ticks FROM session_extremes"
        )
        return {pair: tuple(rest) for pair, *rest in rows}


@needs_capture
@pytest.mark.slow
def test_tickers_of_a_real_capture_equal_a_recomputation(cli: Cli, settings: Settings) -> None:
    cli("init-db", "--partitions", "4")
    report = json.loads(cli("replay", *CAPTURES, "--json").stdout)
    cli("process", "--group", "g1", "--until-caught-up")
    expected = {
        pair: [(*row, *more) for row, more in zip(rows, with_metrics([row[2:] for row in rows]), strict=True)]
        for pair, rows in expected_of_tickers().items()
    }
    assert len(expected) > 0
    assert stored(settings, "trade_id, timestamp") == expected
    assert extremes(settings) == {pair: (*rows[-1][6:], len(rows)) for pair, rows in expected.items()}
    assert {each["pair"] for each in report["pairs"]} >= set(expected)
    # Nothing was missed while it was recorded: each trade has its match.
    assert {gap["kind"] for gap in report["gaps"]} == {"start", "end"}
    cli("verify", "--topic")
    cli("replay", *CAPTURES)
    cli("process", "--group", "g1", "--until-caught-up")
    assert stored(settings, "trade_id, timestamp") == expected  # the same once more is nothing new
    cli("plot", "--pair", "SKL-USD", "--out", "skl.png")
    assert (cli.cwd / "skl.png").stat().st_size > 10_000


@needs_capture
@pytest.mark.slow
def test_order_books_of_a_real_capture_equal_a_recomputation(cli: Cli, settings: Settings) -> None:
    cli("init-db", "--partitions", "4")
    cli("replay", *CAPTURES, "--book")
    cli("process", "--group", "g1", "--until-caught-up")
    expected = {
        pair: [(*row, *more) for row, more in zip(rows, with_metrics([row[1:] for row in rows]), strict=True)]
        for pair, rows in expected_of_books().items()
    }
    found = stored(settings, "timestamp")
    for pair, rows in expected.items():
        times = [row[0] for row in rows]
        assert [
            None if time is None else row[0] for time, row in zip(times, found[pair], strict=True)
        ] == times
        assert [row[1:] for row in found[pair]] == [row[1:] for row in rows]
    assert set(found) == set(expected)
    assert extremes(settings) == {pair: (*rows[-1][5:], len(rows)) for pair, rows in expected.items()}
    cli("verify", "--topic")
    # From the book they are at least as extreme as from tickers.
    tickers, books = expected_of_tickers(), extremes(settings)
    for pair, rows in tickers.items():
        in_time = [row for row in rows if row[1] >= expected[pair][1][0]]
        assert books[pair][0] >= max((row[2] for row in in_time), default=Decimal(0))
