"""A person simulates first and then listens to an exchange: nothing of the two is ever mixed."""

from __future__ import annotations

import json
import signal
from decimal import Decimal
from typing import TYPE_CHECKING

from tests.database import rows, scalar
from tests.fakes.coinbase import FakeCoinbase
from tests.waiting import LIMIT_S, wait_until

if TYPE_CHECKING:
    from cryptometrics.config import Settings
    from tests.conftest import Cli

PNG = b"\x89PNG\r\n\x1a\n"
PAIR = ("--pair", "BTC-USD")


def simulate_then_ingest(cli: Cli, settings: Settings) -> None:
    """Store simulated quotes of BTC-USD that end now, and then those of the exchange's same pair."""
    cli("init-db", "--partitions", "2")
    cli("simulate", *PAIR, "--rate", "0", "--step", "10ms", "--count", "2000", "--seed", "3")
    with FakeCoinbase(["BTC-USD"], rate=200) as server:
        feed = cli.start("ingest", *PAIR, "--url", server.url)
        process = cli.start("process", "--group", "g1")
        real = "SELECT count(*) FROM crypto_metrics WHERE venue = 'coinbase'"
        wait_until(lambda: scalar(settings, real) >= 100, "ticks are stored", running=process)
        for child in (feed, process):
            child.send_signal(signal.SIGINT)
            _, errors = child.communicate(timeout=LIMIT_S)
            assert child.returncode == 0, errors
    cli("process", "--group", "g1", "--until-caught-up")


def test_simulate_and_then_ingest_the_same_pair(cli: Cli, settings: Settings) -> None:
    simulate_then_ingest(cli, settings)
    two_venues_have_the_right_extremes(cli, settings)
    each_venue_has_its_chart(cli)
    one_venue_is_exported(cli)
    the_screen_shows_both(cli)
    a_venue_without_data_is_one_line(cli)
    cli("verify", "--topic")


def two_venues_have_the_right_extremes(cli: Cli, settings: Settings) -> None:
    done = cli("session", "--json")
    assert done.stderr == ""
    shown = {row["venue"]: row for row in json.loads(done.stdout)}
    assert list(shown) == ["coinbase", "simulated"]
    expected = rows(
        settings,
        "SELECT venue, count(*), max(bid), min(ask), max(spread) FROM crypto_metrics GROUP BY venue",
    )
    for venue, ticks, bid, ask, spread in expected:
        row = shown[venue]
        assert (row["pair"], row["ticks"]) == ("BTC-USD", ticks)
        assert Decimal(row["highest_bid"]) == bid
        assert Decimal(row["lowest_ask"]) == ask
        assert Decimal(row["max_spread"]) == spread
    [only] = json.loads(cli("session", "--json", "--venue", "coinbase").stdout)
    assert only == shown["coinbase"]
    table = cli("session", env={"COLUMNS": "80"}).stdout
    assert "venue coinbase;" in table
    assert "venue SIMULATED;" in table
    assert max(map(len, table.splitlines())) <= 80


def each_venue_has_its_chart(cli: Cli) -> None:
    for venue in ("simulated", "coinbase"):
        done = cli("plot", *PAIR, "--venue", venue)
        assert (done.stdout, done.stderr) == (f"charts/BTC-USD-{venue}.png\n", "")
        assert (cli.cwd / f"charts/BTC-USD-{venue}.png").read_bytes().startswith(PNG)
    cli("plot", *PAIR, "--venue", "simulated", "--candles", "1m", "--out", "candles.svg")
    done = cli("plot", *PAIR)
    assert done.stdout == "charts/BTC-USD.png\n"
    assert done.stderr == (
        "reading venue coinbase, the one with the newest row; --venue reads simulated instead\n"
    )


def one_venue_is_exported(cli: Cli) -> None:
    for venue in ("simulated", "coinbase"):
        text = cli("export", "--format", "jsonl", "--venue", venue).stdout
        assert {json.loads(line)["venue"] for line in text.splitlines()} == {venue}
    done = cli("export")
    assert {line.rpartition(",")[2] for line in done.stdout.splitlines()[1:]} == {"coinbase"}
    assert "reading venue coinbase" in done.stderr


def the_screen_shows_both(cli: Cli) -> None:
    pairs = json.loads(cli("watch", "--json").stdout)["pairs"]
    assert [(row["venue"], row["pair"]) for row in pairs] == [
        ("coinbase", "BTC-USD"),
        ("simulated", "BTC-USD"),
    ]
    for width in ("80", "160"):
        screen = cli("watch", "--once", env={"COLUMNS": width}).stdout
        assert "coinbase, SIMULATED" in screen.splitlines()[0]
        assert "SIMULATED" in cli("watch", "--once", "--venue", "simulated", env={"COLUMNS": width}).stdout
    [only] = json.loads(cli("watch", "--json", "--venue", "simulated").stdout)["pairs"]
    assert only["venue"] == "simulated"
    found = json.loads(cli("gaps", "--json").stdout)
    assert {each["venue"] for each in found["pairs"]} == {"coinbase"}
    assert json.loads(cli("gaps", "--json", "--venue", "simulated").stdout)["gaps"] == []


def a_venue_without_data_is_one_line(cli: Cli) -> None:
    for command in (["session"], ["plot"], ["watch", "--once"], ["export"], ["gaps"]):
        done = cli(*command, "--venue", "kraken", code=2)
        assert done.stdout == ""
        assert done.stderr.startswith("error: group g1 has no ticks of venue kraken; there are ")
        assert done.stderr.count("\n") == 1
        assert "simulated" in done.stderr
