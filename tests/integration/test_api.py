"""The Python interface on real services: tables, batches, and quotes that are followed."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import threading
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pyarrow as pa
import pytest
from psycopg import conninfo

import cryptometrics as cm
from cryptometrics import config
from cryptometrics.kafka.topic import create_topic, delete_topic, describe_topic
from cryptometrics.local.services import Services
from cryptometrics.store import roles
from cryptometrics.store.datasets import QUOTE_COLUMNS
from tests.conftest import environment_of
from tests.database import END_OTHER_SESSIONS, rows
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptometrics.config import Settings
    from tests.conftest import Cli

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"
TICKS = 600
PRICES = ("bid", "ask", "mid_price", "spread")


@pytest.fixture
def filled(settings: Settings, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Return a runner of commands on a database with ticks, which the reader's role reads in this process."""
    cli("init-db")
    more(cli)
    with psycopg.connect(settings.postgres(), autocommit=True) as admin:
        roles.create_roles(admin)
    reader = conninfo.make_conninfo(settings.postgres(), user=roles.READER)
    for name, value in (environment_of(settings) | {"DATABASE_URL": reader}).items():
        monkeypatch.setenv(name, value)
    config.load.cache_clear()
    return cli


def simulate(cli: Cli, seed: int = 1) -> None:
    cli("simulate", "--rate", "0", "--count", str(TICKS), "--step", "1s", "--seed", str(seed))


def more(cli: Cli, seed: int = 1) -> None:
    simulate(cli, seed)
    cli("process", "--group", "g1", "--until-caught-up")


def places(quotes: Iterable[cm.StoredQuote]) -> list[tuple[int, int]]:
    return [(quote.kafka_partition, quote.kafka_offset) for quote in quotes]


def stored(settings: Settings) -> set[tuple[int, int]]:
    return set(rows(settings, "SELECT kafka_partition, kafka_offset FROM crypto_metrics"))


def test_tables_are_exact_and_named_like_their_views(settings: Settings, filled: Cli) -> None:
    """And the choice of pairs and times, and what is refused, on the same ticks."""
    client = cm.connect()
    quotes = client.quotes()
    assert quotes.column_names == list(QUOTE_COLUMNS)
    assert quotes.num_rows == TICKS
    for price in (*PRICES, "bid_size", "session_highest_bid"):
        assert quotes.schema.field(price).type == pa.decimal128(38, 18)
    assert quotes.schema.field("quoted_at").type == pa.timestamp("us", tz="UTC")
    found = {
        (row["kafka_partition"], row["kafka_offset"]): (row["quoted_at"], *(row[price] for price in PRICES))
        for row in quotes.to_pylist()
    }
    expected = rows(
        settings, f"SELECT kafka_partition, kafka_offset, timestamp, {', '.join(PRICES)} FROM crypto_metrics"
    )
    assert found == {(partition, offset): tuple(values) for partition, offset, *values in expected}
    assert isinstance(quotes["bid"][0].as_py(), Decimal)
    batches = list(client.quotes(batches=True))
    assert pa.Table.from_batches(batches) == quotes
    others_have_the_columns_of_their_tables(settings, client)
    pairs_and_times_are_chosen(client, quotes)
    mistakes_are_one_line(client)


def others_have_the_columns_of_their_tables(settings: Settings, client: cm.Client) -> None:
    for table, relation in (
        (client.candles(), "crypto_windows_1m"),
        (client.candles(interval="5m"), "crypto_windows_5m"),
        (client.sessions(), "crypto_sessions"),
        (client.risk(), "crypto_risk"),
        (client.portfolio(), "portfolio_risk"),
        (client.alerts(), "alerts"),
        (client.gaps(), "feed_gaps"),
    ):
        with psycopg.connect(settings.postgres()) as connection:
            cursor = connection.execute(f"SELECT * FROM {relation}".encode())
            assert table.column_names == [column.name for column in cursor.description or ()]
            assert table.num_rows == len(cursor.fetchall())
    assert client.candles().num_rows > 0
    assert sum(client.candles(interval="1d")["ticks"].to_pylist()) == TICKS


def pairs_and_times_are_chosen(client: cm.Client, every: pa.Table) -> None:
    since, until = every["quoted_at"][100].as_py(), every["quoted_at"][400].as_py()
    part = client.quotes("btc-usd,ETH/USD", since=since, until=until.isoformat())
    expected = [
        row
        for row in every.to_pylist()
        if row["pair"] in ("BTC-USD", "ETH-USD") and since <= row["quoted_at"] < until
    ]
    assert expected
    assert part.to_pylist() == expected
    assert client.quotes(["BTC-USD"], since=until.replace(year=until.year + 1)).num_rows == 0


def mistakes_are_one_line(client: cm.Client) -> None:
    with pytest.raises(cm.UserError, match="'BTCUSD' is not a pair"):
        client.quotes("BTCUSD")
    with pytest.raises(cm.UserError, match="no ticks of NO-USD"):
        client.quotes("NO-USD")
    with pytest.raises(cm.UserError, match="'2m' is not an interval"):
        client.candles(interval="2m")
    with pytest.raises(cm.UserError, match="group other has stored nothing"):
        client.alerts(group="other")
    with pytest.raises(cm.UserError, match="'soon' is not a time"):
        client.gaps(since="soon")
    with pytest.raises(cm.UserError, match="is of group g1, not of group g2"):
        cm.follow(after=cm.Bookmark("g1", {}), group="g2")


def test_a_group_that_had_to_be_chosen_is_named(filled: Cli) -> None:
    filled("process", "--group", "g2", "--until-caught-up")
    with pytest.warns(UserWarning, match="reading group g2, .*; group= reads g1 instead"):
        assert cm.connect().quotes().num_rows == TICKS


def test_nothing_is_lost_or_repeated_across_broken_connections(settings: Settings, filled: Cli) -> None:
    """Followed from the oldest quote on, over a restart of the follower, while more is stored."""
    seen: list[tuple[int, int]] = []
    with cm.follow(after=cm.Bookmark.beginning("g1")) as follower:
        seen += places(itertools.islice(follower, 100))
        assert sum(follower.bookmark.offsets.values()) == 100
        simulate(filled, seed=2)
        worker = filled.start("process", "--group", "g1", "--batch", "50", "--until-caught-up")
        for _ in range(5):
            rows(settings, END_OTHER_SESSIONS)
            seen += places(itertools.islice(follower, 100))
        place = cm.Bookmark.from_json(follower.bookmark.to_json())
    with cm.follow(after=place) as follower:
        seen += places(itertools.islice(follower, 2 * TICKS - len(seen)))
    assert worker.wait(60) == 0
    assert Counter(seen) == Counter(stored(settings))
    for _, offsets in itertools.groupby(
        sorted(enumerate(seen), key=lambda item: (item[1][0], item[0])), key=lambda item: item[1][0]
    ):
        in_order = [offset for _, (_, offset) in offsets]
        assert in_order == sorted(in_order)


def test_from_now_on_one_pair_is_followed_and_late_ticks_come_too(settings: Settings, filled: Cli) -> None:
    before = stored(settings)
    with cm.follow("BTC-USD") as follower:
        for seed in (2, 3):
            more(filled, seed)  # the same times again, now long complete
        wanted = {
            (partition, offset)
            for partition, offset in rows(
                settings, "SELECT kafka_partition, kafka_offset FROM crypto_metrics WHERE pair = 'BTC-USD'"
            )
        } - before
        found = list(itertools.islice(follower, len(wanted)))
        assert {quote.pair for quote in found} == {"BTC-USD"}
        assert sorted(places(found)) == sorted(wanted)
        follower.close()
        assert next(follower, None) is None


def test_quotes_come_to_a_task_also_after_it_was_cancelled(settings: Settings, filled: Cli) -> None:
    async def collect() -> list[cm.StoredQuote]:
        found: list[cm.StoredQuote] = []
        with cm.follow(after=cm.Bookmark.beginning("g1")) as follower:
            async for quote in follower:
                found.append(quote)
                if len(found) == TICKS:
                    break
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(follower), 0.3)
            await asyncio.to_thread(more, filled, 2)
            while len(found) < 2 * TICKS:
                try:
                    found.append(await asyncio.wait_for(anext(follower), 0.05))
                except TimeoutError:
                    continue
        return found

    assert Counter(places(asyncio.run(collect()))) == Counter(stored(settings))


def test_a_follower_outlives_a_restart_of_postgresql(
    local: Cli,
    home: Path,
    shared_jars: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("CRYPTOMETRICS_HOME", str(home))
    config.load.cache_clear()
    seen: list[cm.StoredQuote] = []
    with Services(home, shared_jars, kafka_port=0) as services:
        services.up()
        local("init-db")
        more(local)
        with cm.follow(after=cm.Bookmark.beginning("g1")) as follower:
            reader = threading.Thread(target=lambda: seen.extend(itertools.islice(follower, 2 * TICKS)))
            reader.start()
            wait_until(lambda: len(seen) == TICKS, "what is stored was read")
            local("down")
            wait_until(lambda: "PostgreSQL is not available" in caplog.text, "the follower says so")
            local("up")
            more(local, 2)
            wait_until(lambda: len(seen) == 2 * TICKS, lambda: f"all quotes are read: {len(seen)}")
        reader.join(10)
        with psycopg.connect(services.postgres_uri) as connection:
            found = connection.execute("SELECT kafka_partition, kafka_offset FROM crypto_metrics").fetchall()
    assert Counter(places(seen)) == Counter(found)


def test_a_topic_that_was_made_again_follows_its_predecessor(settings: Settings, filled: Cli) -> None:
    """Both have the same offsets: a bookmark and the rows must not be taken for those of the other."""
    with cm.follow(after=cm.Bookmark.beginning("g1")) as follower:
        seen = list(itertools.islice(follower, TICKS // 2))
        place = follower.bookmark
    before = describe_topic(settings)
    delete_topic(settings)
    wait_until(lambda: is_gone(settings), "the topic is gone")
    create_topic(settings, before.partitions)
    simulate(filled, seed=2)
    filled("process", "--group", "g1", "--until-caught-up", "--on-data-loss", "skip")
    with cm.follow(after=place) as follower:
        seen += itertools.islice(follower, 2 * TICKS - len(seen))
    stored_rows = rows(settings, "SELECT kafka_partition, kafka_offset, recorded_at FROM crypto_metrics")
    assert Counter((*place, quote.recorded_at) for place, quote in zip(places(seen), seen, strict=True)) == (
        Counter(stored_rows)
    )


def is_gone(settings: Settings) -> bool:
    try:
        describe_topic(settings)
    except cm.UserError:
        return True
    return False


def test_the_notebook_runs(filled: Cli, tmp_path: Path) -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env=filled.environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "BTC-USD" in done.stdout
