"""`risk --follow` values portfolios: a row for each complete minute, whatever happens to the follower."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

import psycopg

from cryptometrics.store import positions
from cryptometrics.store.prune import prune
from tests.database import rows, scalar
from tests.integration.test_risk_follow import (
    COMPLETE,
    HISTORY,
    START,
    follow,
    history,
    publish,
    stop,
    ticker,
    up_to_date,
    verified,
)
from tests.waiting import wait_until

if TYPE_CHECKING:
    from cryptometrics.config import Settings
    from tests.conftest import Cli

MINUTE = timedelta(minutes=1)
BOOK = """
portfolio = "{name}"
currency = "USD"
group = "g1"
venue = "simulated"
[cash]
USD = "1000"
[[position]]
asset = "BTC"
quantity = "{btc}"
cost = "60000"
[[position]]
asset = "ETH"
quantity = "-3.25"
[limits]
gross = "500000"
drawdown_pct = 50
[limits.of.BTC]
gross = "100"
"""
PENDING = """
SELECT count(*) FROM portfolio_progress p JOIN risk_progress r USING (consumer_group, venue)
WHERE p.complete_until < r.complete_until OR p.again_from IS NOT NULL
"""
COUNTS = """
SELECT portfolio, version, count(*), count(DISTINCT as_of), min(as_of), max(as_of)
FROM portfolio_risk GROUP BY portfolio, version ORDER BY portfolio, version
"""


def load(cli: Cli, at: datetime, *more: str, name: str = "book", btc: str = "0.5", code: int = 0) -> str:
    """Load a version of a portfolio; return what was printed."""
    (cli.cwd / "book.toml").write_text(BOOK.format(name=name, btc=btc))
    done = cli("positions", "load", "book.toml", "--effective-at", at.isoformat(), *more, code=code)
    return done.stderr if code else done.stdout


def valued(settings: Settings) -> bool:
    """Return whether every row is there and none is stale."""
    begun = scalar(settings, "SELECT count(*) FROM portfolio_progress")
    return bool(begun and up_to_date(settings) and not scalar(settings, PENDING))


def catch_up(cli: Cli, settings: Settings) -> None:
    process = follow(cli)
    wait_until(lambda: valued(settings), "the portfolios are valued", running=process, limit=120)
    stop(process)


def one_partition(cli: Cli, minutes: int) -> None:
    """Store simulated minutes of both pairs in one partition, so that none waits for the other."""
    cli("init-db", "--partitions", "1")
    pairs = ("--pair", "BTC-USD", "--pair", "ETH-USD")
    cli("simulate", *HISTORY, *pairs, "--count", str(12 * minutes))
    cli("process", "--group", "g1", "--until-caught-up")


def test_each_complete_minute_has_its_row_from_the_first_version_on(cli: Cli, settings: Settings) -> None:
    history(cli, 3)
    load(cli, START + timedelta(minutes=10, seconds=20))
    load(cli, START + timedelta(minutes=60), btc="0.75")
    catch_up(cli, settings)
    complete = scalar(settings, COMPLETE)
    first, second = START + 11 * MINUTE, START + 60 * MINUTE
    count = (complete - second) // MINUTE + 1
    assert rows(settings, COUNTS) == [
        ("book", 1, 49, 49, first, second - MINUTE),
        ("book", 2, count, count, second, complete),
    ]
    row = rows(
        settings,
        "SELECT value, value_at_mid, profit_and_loss, gross, net, unmarked, positions, limits, value_at_risk "
        "FROM portfolio_risk WHERE as_of = %s",
        complete,
    )[0]
    btc, eth = row[6]
    assert (btc["asset"], btc["quantity"], btc["state"]) == ("BTC", "0.75", "marked")
    for position, pair in ((btc, "BTC-USD"), (eth, "ETH-USD")):
        newest = (
            "SELECT bid, ask, kafka_partition, kafka_offset FROM crypto_metrics "
            "WHERE pair = %s AND timestamp < %s ORDER BY timestamp DESC LIMIT 1"
        )
        bid, ask, partition, offset = rows(settings, newest, pair, complete)[0]
        assert (Decimal(position["bid"]), Decimal(position["ask"])) == (bid, ask)
        assert (position["kafka_partition"], position["kafka_offset"]) == (partition, offset)
    long_value = Decimal("0.75") * Decimal(btc["bid"])
    short_value = Decimal("-3.25") * Decimal(eth["ask"])
    assert row[0] == long_value + short_value + 1000
    assert row[2] == long_value - Decimal("0.75") * 60000
    assert row[5] == 0
    assert row[8] > 0
    assert [(each["limit"], each["state"]) for each in row[7]] == [
        ("limit.gross", "ok"),
        ("limit.drawdown_pct", "ok"),
        ("limit.of.BTC.gross", "breach"),
    ]
    verified(cli)


def test_a_follower_killed_while_it_works_leaves_no_row_out_and_none_twice(
    cli: Cli, settings: Settings
) -> None:
    history(cli, 6)
    load(cli, START)
    load(cli, START, name="other", btc="-2")
    place = None
    for _ in range(2):
        process = follow(cli)
        wait_until(partial(went_on, settings, place), "the rows go on", running=process)
        process.kill()
        process.communicate()
        place = scalar(settings, PLACES)
    assert place < scalar(settings, COMPLETE), "it was killed while it had work"
    catch_up(cli, settings)
    complete = scalar(settings, COMPLETE)
    count = (complete - START) // MINUTE
    assert rows(settings, COUNTS) == [
        (name, 1, count, count, START + MINUTE, complete) for name in ("book", "other")
    ]
    verified(cli)


PLACES = "SELECT min(complete_until) FROM portfolio_progress"


def went_on(settings: Settings, place: datetime | None) -> bool:
    return bool(scalar(settings, PLACES) != place)


def test_a_version_for_the_past_needs_restate_which_computes_its_rows_again(
    cli: Cli, settings: Settings
) -> None:
    history(cli, 2)
    load(cli, START + 20 * MINUTE)
    catch_up(cli, settings)
    complete = scalar(settings, COMPLETE)
    at = START + 60 * MINUTE
    everything = "SELECT * FROM portfolio_risk ORDER BY as_of"
    before = rows(settings, everything)
    count = (complete - at) // MINUTE + 1
    refused = load(cli, at, btc="1.5", code=2)
    assert refused.count("\n") == 1
    assert f"changes {count} stored rows; add --restate" in refused
    assert rows(settings, everything) == before
    assert scalar(settings, "SELECT count(*) FROM portfolio_versions") == 1

    said = load(cli, at, "--restate", btc="1.5")
    after = rows(settings, everything)
    unchanged = len(before) - count
    assert after[:unchanged] == before[:unchanged]
    assert {row[1] for row in after[unchanged:]} == {2}
    assert [row[3] for row in after] == [row[3] for row in before]
    changes = [new[6] - old[6] for old, new in zip(before, after, strict=True)]
    largest = max(changes, key=abs)
    assert f"{count} rows computed again, from 2026-07-01 13:00" in said
    assert f"{count} values changed, the most by {largest:+,.2f} USD at" in said
    assert not scalar(settings, PENDING)
    verified(cli)

    # A version from before the first row adds rows.
    said = load(cli, START, "--restate", btc="0.25")
    assert [row[:2] for row in rows(settings, COUNTS)] == [("book", 1), ("book", 2), ("book", 3)]
    assert rows(settings, COUNTS)[2][2:] == (19, 19, START + MINUTE, START + 19 * MINUTE)
    verified(cli)


def test_a_follower_finishes_an_interrupted_restatement(cli: Cli, settings: Settings) -> None:
    history(cli, 1)
    load(cli, START)
    catch_up(cli, settings)
    with psycopg.connect(settings.postgres()) as connection:
        [present] = positions.in_force(connection, START, "book")
        held = replace(present.portfolio, cash={"USD": Decimal(7)})
        positions.load(connection, held, START + 30 * MINUTE, restate=True)
    report = json.dumps(verified(cli))
    assert "rows of portfolio_risk are stale" in report, "stale, not wrong"
    catch_up(cli, settings)
    count = (scalar(settings, COMPLETE) - START) // MINUTE
    assert [row[1:3] for row in rows(settings, COUNTS)] == [(1, 29), (2, count - 29)]
    assert "stale" not in json.dumps(verified(cli))


def test_a_late_tick_changes_the_rows_that_it_marks(cli: Cli, settings: Settings) -> None:
    history(cli, 2)
    load(cli, START)
    catch_up(cli, settings)
    late = START + timedelta(minutes=30, seconds=59.5)
    value = "SELECT as_of, value, computed_at FROM portfolio_risk ORDER BY as_of"
    before = rows(settings, value)
    publish(settings, [ticker(late, "100000", "100001", 1, "simulated")])
    cli("process", "--group", "g1", "--until-caught-up")
    verified(cli)
    catch_up(cli, settings)
    after = rows(settings, value)
    changed = [new[0] for old, new in zip(before, after, strict=True) if old[1] != new[1]]
    assert changed == [START + 31 * MINUTE]
    assert [row[2] for row in after[:30]] == [row[2] for row in before[:30]], "not written again"
    assert scalar(settings, "SELECT max(drawdown) FROM portfolio_risk") > 10_000
    verified(cli)


def test_a_stale_mark_leaves_what_rests_on_it_unknown(cli: Cli, settings: Settings) -> None:
    one_partition(cli, 60)
    load(cli, START)
    silent = scalar(settings, "SELECT max(timestamp) FROM crypto_metrics")
    ticks = [
        ticker(silent + timedelta(minutes=minute), "60000", "60001", minute, "simulated")
        for minute in range(1, 8)
    ]
    publish(settings, ticks)
    cli("process", "--group", "g1", "--until-caught-up")
    catch_up(cli, settings)
    found = rows(
        settings,
        "SELECT unmarked, value, gross, value_at_risk, drawdown, positions->1->>'state', "
        "positions->0->>'value', limits FROM portfolio_risk ORDER BY as_of DESC LIMIT 1",
    )[0]
    assert found[:6] == (1, None, None, None, None, "stale")
    assert Decimal(found[6]) == 30_000
    assert [each["state"] for each in found[7]] == ["unknown", "unknown", "breach"]
    assert scalar(settings, "SELECT unmarked FROM portfolio_risk ORDER BY as_of LIMIT 1") == 0
    verified(cli)


def test_rows_outlive_the_quotes_that_marked_them(cli: Cli, settings: Settings) -> None:
    one_partition(cli, 60)
    load(cli, START)
    catch_up(cli, settings)
    before = rows(settings, VALUES)
    with psycopg.connect(settings.postgres(), autocommit=True) as connection:
        tomorrow = datetime.now(UTC).date() + timedelta(days=1)
        assert list(prune(connection, tomorrow, wait=30, notice=lambda *_: None))
    assert scalar(settings, "SELECT count(*) FROM crypto_metrics") == 0
    verified(cli)

    # A restatement takes the quotes from the rows that it replaces.
    load(cli, START + 30 * MINUTE, "--restate", btc="1.5")
    after = rows(settings, VALUES)
    assert [new == old for old, new in zip(before, after, strict=True)] == [
        as_of < START + 30 * MINUTE for as_of, *_ in before
    ]
    assert all(new[1] - old[1] == Decimal(new[2]) for old, new in zip(before[29:], after[29:], strict=True))
    assert scalar(settings, "SELECT max(unmarked) FROM portfolio_risk") == 0
    verified(cli)

    # Without the minutes nothing can be said.
    rows(settings, "DELETE FROM crypto_windows WHERE window_start < %s", START + 20 * MINUTE)
    for table in ("crypto_risk", "risk_progress"):
        rows(settings, f"DELETE FROM {table}")
    notes = json.dumps(verified(cli))
    assert f"{len(after)} rows of portfolio_risk cannot be checked: their minutes are gone" in notes


VALUES = "SELECT as_of, value, positions->0->>'bid' FROM portfolio_risk ORDER BY as_of"


WRONG = {
    "value = value + 0.01": "value is",
    "value_at_risk = value_at_risk * 1.001": "value_at_risk is",
    "drawdown = drawdown + 1": "drawdown is",
    "unmarked = 1": "unmarked is 1",
    "positions = jsonb_set(positions, '{0,bid}', '\"1\"')": "the quote of BTC-USD is not the one",
    "positions = jsonb_set(positions, '{1,component_value_at_risk}', '7')": "component of ETH is 7",
    "limits = jsonb_set(limits, '{0,state}', '\"breach\"')": "limit.gross is breach, not ok",
    "version = 2": "version 2 was not in force",
}


def test_verify_finds_what_is_wrong_in_a_row(cli: Cli, settings: Settings) -> None:
    one_partition(cli, 240)
    load(cli, START + 200 * MINUTE)
    catch_up(cli, settings)
    verified(cli)
    for minute, change in enumerate(WRONG, start=210):
        at = START + minute * MINUTE
        rows(settings, f"UPDATE portfolio_risk SET {change} WHERE as_of = %s", at)
    report = json.loads(cli("verify", "--json", code=1).stdout)
    (finding,) = report["findings"]
    assert (finding["kind"], finding["count"]) == ("portfolio", len(WRONG) + 2)
    for minute, problem in enumerate(WRONG.values(), start=210):
        place = f"book at simulated as of {START + minute * MINUTE:%Y-%m-%d %H:%M}: "
        assert any(each.startswith(place) and problem in each for each in finding["first"]), problem


def test_old_rows_are_thinned_to_one_an_hour(cli: Cli, settings: Settings) -> None:
    one_partition(cli, 150)
    load(cli, START)
    catch_up(cli, settings)
    count = scalar(settings, "SELECT count(*) FROM portfolio_risk")
    hours = [START + timedelta(hours=1), START + timedelta(hours=2)]
    planned = json.loads(cli("prune", "--keep", "30d", "--dry-run", "--json").stdout)
    dropped = {"portfolio": "book", "group": "g1", "venue": "simulated", "rows": count - len(hours)}
    assert planned["portfolios"] == [dropped]
    cli("prune", "--keep", "30d")
    kept = [as_of for (as_of,) in rows(settings, "SELECT as_of FROM portfolio_risk ORDER BY as_of")]
    assert kept == hours
    verified(cli)
    rows(settings, "DELETE FROM portfolio_risk WHERE as_of = %s", kept[0])
    assert "there is no row" in cli("verify", code=1).stdout
