"""Advanced Trade from a fake exchange that leaves out frames, through Kafka into PostgreSQL."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.database import rows
from tests.fakes.advanced import FakeAdvanced
from tests.fakes.coinbase import Faults
from tests.integration.test_ingest import OF_PAIRS, PAIRS, Feed, started, without_repetitions
from tests.waiting import LIMIT_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from cryptometrics.config import Settings
    from tests.conftest import Cli

ADVANCED = ("--feed", "coinbase-advanced")
GAPS = 50


def check_rows(settings: Settings, pair: str, sent: list[tuple[Decimal, Decimal]]) -> None:
    """Compare the rows of a pair, and its extremes, with the quotes that were sent."""
    stored = rows(settings, "SELECT bid, ask FROM crypto_metrics WHERE pair = %s ORDER BY kafka_offset", pair)
    assert stored == sent
    extremes = rows(
        settings, "SELECT highest_bid, lowest_ask, max_spread FROM session_extremes WHERE pair = %s", pair
    )
    bids, asks = [bid for bid, _ in sent], [ask for _, ask in sent]
    assert extremes == [(max(bids), min(asks), max(ask - bid for bid, ask in sent))]


def gaps_by_pair(gaps: list[dict[str, Any]], kind: str) -> Counter[str]:
    return Counter(gap["pair"] for gap in gaps if gap["kind"] == kind)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_each_of_fifty_gaps_is_reported_for_every_pair(settings: Settings, cli: Cli, tmp_path: Path) -> None:
    cli("init-db", "--partitions", "2")
    with FakeAdvanced(PAIRS, rate=300, faults=Faults(unknown=0.01, duplicate=0.01)) as server:
        feed = Feed(cli, "ingest", *ADVANCED, *OF_PAIRS, "--url", server.url, "--record", tmp_path / "r")
        started(feed)
        for number in range(GAPS):
            # Only a pair that is received can lose something: wait until each of them is.
            wait_until(
                lambda number=number: len(feed.events("feed_gap")) >= number * len(PAIRS),  # type: ignore[misc]
                f"gap {number} is over for every pair",
            )
            made = server.made
            wait_until(lambda made=made: server.made > made + 100, "a heartbeat has come")  # type: ignore[misc]
            server.act("backwards" if number % 10 == 9 else "leave-out")
        wait_until(lambda: len(feed.events("feed_gap")) >= GAPS * len(PAIRS), "the last gap is over")
        server.act("silence")
        live = feed.end()
    assert server.gaps == GAPS
    assert gaps_by_pair(live["gaps"], "missed") == dict.fromkeys(PAIRS, GAPS)
    assert gaps_by_pair(live["gaps"], "start") == dict.fromkeys(PAIRS, 1)
    assert all(gap["proves"] for gap in live["gaps"] if gap["kind"] == "start")
    assert all(gap["trades_missed"] is None for gap in live["gaps"] if gap["kind"] == "missed")
    assert live["passed_over"].keys() == {"unknown channel", "out of sequence"}
    assert [event["reason"] for event in feed.events("frame_ignored")] == list(live["passed_over"])
    cli("process", "--group", "g1", "--until-caught-up")
    for pair, product in server.products.items():
        quotes = [(Decimal(t["best_bid"]), Decimal(t["best_ask"])) for t in product.account.tickers]
        check_rows(settings, pair, quotes)
    cli("verify", "--topic")
    report = json.loads(cli("gaps", "--json").stdout)
    assert {pair["pair"]: pair["reconnects"] >= GAPS for pair in report["pairs"]} == dict.fromkeys(
        PAIRS, True
    )
    replayed = json.loads(cli("replay", tmp_path / "r.gz", *OF_PAIRS, "--json").stdout)
    missed = [gap for gap in live["gaps"] if gap["kind"] == "missed"]
    assert [gap for gap in replayed["gaps"] if gap["kind"] == "missed"] == missed
    assert replayed["frames"] == live["frames"]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_books_give_a_quote_at_each_change_and_are_made_anew_after_a_gap(
    settings: Settings, cli: Cli
) -> None:
    cli("init-db", "--partitions", "1")
    script = [(400, "leave-out 3"), (800, "cut"), (1100, "leave-out")]
    with FakeAdvanced(PAIRS, rate=300, trades=1500, script=script) as server:
        feed = Feed(cli, "ingest", *ADVANCED, *OF_PAIRS, "--book", "--url", server.url)
        assert server.done.wait(LIMIT_S)
        wait_until(lambda: len(feed.events("feed_gap")) >= 3 * len(PAIRS), "all gaps are over")
        server.act("silence")
        live = feed.end()
    assert {request["channel"] for request in server.subscriptions} == {"heartbeats", "level2"}
    assert gaps_by_pair(live["gaps"], "missed") == dict.fromkeys(PAIRS, 2)
    assert gaps_by_pair(live["gaps"], "end") == dict.fromkeys(PAIRS, 1)
    cli("process", "--group", "g1", "--until-caught-up")
    for pair, product in server.products.items():
        stored = rows(
            settings,
            "SELECT (bid * 100)::int, (ask * 100)::int FROM crypto_metrics "
            "WHERE pair = %s AND kind = 'quote' ORDER BY kafka_offset",
            pair,
        )
        # A new snapshot gives a quote even if it equals the last one.
        assert without_repetitions(stored) == without_repetitions(product.account.quotes)
    cli("verify", "--topic")


def test_what_cannot_be_had_ends_the_command_and_many_pairs_are_spread(cli: Cli, tmp_path: Path) -> None:
    many = [f"A{number}-USD" for number in range(60)]
    pairs = ",".join(many)
    with FakeAdvanced(many, rate=500) as server:
        refused = cli("record", "x.gz", *ADVANCED, "--pair", "A1-USX", "--url", server.url, code=2)
        line = refused.stderr.splitlines()[-1]
        assert line.startswith("error: the exchange has no product A1-USX")
        assert "the closest are A1-USD" in line
        feed = Feed(cli, "record", tmp_path / "r", *ADVANCED, "--pair", pairs, "--url", server.url)
        started(feed, len(many))
        assert server.clients() == 2
        before = len(server.requests)
        server.act("leave-out")
        wait_until(lambda: len(feed.events("feed_gap")) >= len(many), "both connections are back")
        live = feed.end()
        assert len(server.requests) == before + 6  # each connects and subscribes two channels
    times = sorted(server.requests)
    assert all(late - early > 0.9 for early, late in zip(times, times[9:], strict=False))
    cli("init-db")
    replayed = json.loads(cli("replay", tmp_path / "r.gz", "--json").stdout)
    key = [(gap["kind"], gap["pair"], gap["ends_at"]) for gap in live["gaps"]]
    assert sorted((g["kind"], g["pair"], g["ends_at"]) for g in replayed["gaps"]) == sorted(key)
    assert list(itertools.islice((g for g in live["gaps"] if g["kind"] == "down"), 1)) == []
