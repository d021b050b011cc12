"""`risk --follow`: every complete minute has its rows once, whatever happens to the followers."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from confluent_kafka import Producer

from cryptometrics.kafka import client
from cryptometrics.market.gap_records import Gap, GapKind, encode
from cryptometrics.store import follower_lock
from tests.database import rows, scalar
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable
    from subprocess import Popen

    from cryptometrics.config import Settings
    from tests.conftest import Cli

START = datetime(2026, 7, 1, 12, tzinfo=UTC)
PAIRS = ("BTC-USD", "ETH-USD")
HISTORY = ["--rate", "0", "--step", "5s", "--seed", "7", "--start", "2026-07-01T12:00"]

COMPLETE = "SELECT date_bin('1 minute', min(complete_until), 'epoch') FROM window_progress"
PLACE = "SELECT max(complete_until) FROM risk_progress"
ROWS_OF_EACH_RANGE = """
SELECT range, count(*), count(DISTINCT (pair, as_of)), min(as_of), max(as_of) FROM crypto_risk
GROUP BY range ORDER BY range
"""


def history(cli: Cli, hours: float) -> None:
    """Store simulated minutes of two pairs."""
    cli("init-db", "--partitions", "2")
    pairs = [part for pair in PAIRS for part in ("--pair", pair)]
    cli("simulate", *HISTORY, *pairs, "--count", str(int(hours * 720 * len(PAIRS))))
    cli("process", "--group", "g1", "--until-caught-up")


def up_to_date(settings: Settings) -> bool:
    """Return whether the figures have come as far as the minutes, and no note is pending."""
    place, complete = scalar(settings, PLACE), scalar(settings, COMPLETE)
    return bool(place == complete and not scalar(settings, "SELECT count(*) FROM changed_minutes"))


def moved(settings: Settings, place: datetime | None) -> bool:
    return bool(scalar(settings, PLACE) != place)


def follow(cli: Cli) -> Popen[str]:
    return cli.start("risk", "--follow", "--group", "g1")


def stop(process: Popen[str]) -> str:
    """End a follower as a person does, and return what it printed."""
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    return out


def catch_up(cli: Cli, settings: Settings) -> None:
    process = follow(cli)
    wait_until(lambda: up_to_date(settings), "the figures are up to date", running=process)
    stop(process)


def verified(cli: Cli) -> dict[str, Any]:
    """Return the report of `verify` on the only group, which must find nothing."""
    report: dict[str, Any] = json.loads(cli("verify", "--json").stdout)
    return report


def publish(settings: Settings, messages: Iterable[tuple[bytes | None, bytes | None]]) -> None:
    producer = Producer(client.client_conf(settings) | {"partitioner": "murmur2_random"})
    for key, value in messages:
        producer.produce(settings.kafka_topic, value, key)
    assert producer.flush(30) == 0


def ticker(at: datetime, bid: str, ask: str, trade_id: int, venue: str) -> tuple[bytes, bytes]:
    fields = {"type": "ticker", "product_id": "BTC-USD", "best_bid": bid, "best_ask": ask, "venue": venue}
    return b"BTC-USD", json.dumps(fields | {"time": at.isoformat(), "trade_id": trade_id}).encode()


def test_each_complete_minute_pair_and_range_has_its_row(cli: Cli, settings: Settings) -> None:
    history(cli, 3)
    process = follow(cli)
    wait_until(lambda: up_to_date(settings), "the figures are up to date", running=process)
    assert "rows written" in stop(process)
    complete = scalar(settings, COMPLETE)
    minutes = (complete - START) // timedelta(minutes=1)
    count = minutes * len(PAIRS)
    assert minutes > 170
    first = START + timedelta(minutes=1)
    assert rows(settings, ROWS_OF_EACH_RANGE) == [
        (name, count, count, first, complete) for name in ("15m", "1h", "24h")
    ]
    assert scalar(settings, "SELECT count(*) FROM crypto_risk WHERE range = '24h' AND value_at_risk > 0")
    assert not scalar(
        settings, "SELECT count(*) FROM crypto_risk WHERE range <> '24h' AND value_at_risk IS NOT NULL"
    )
    verified(cli)


def test_a_follower_killed_ten_times_leaves_no_minute_out_and_none_twice(
    cli: Cli, settings: Settings
) -> None:
    history(cli, 24)
    place = None
    for _ in range(10):
        process = follow(cli)
        wait_until(partial(moved, settings, place), "the figures go on", running=process)
        process.kill()
        process.communicate()
        place = scalar(settings, PLACE)
    assert place < scalar(settings, COMPLETE), "it was killed while it had work"
    catch_up(cli, settings)
    minutes = (scalar(settings, COMPLETE) - START) // timedelta(minutes=1)
    assert {row[1:3] for row in rows(settings, ROWS_OF_EACH_RANGE)} == {(2 * minutes, 2 * minutes)}
    verified(cli)


# Two followers

STANDBYS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
  AND query LIKE '%%pg_terminate_backend(a.pid)%%'
"""


def active(settings: Settings, group: str = "g1") -> int | None:
    """Return the process id of the session that holds the group's lock, None if none does."""
    found = rows(
        settings,
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND granted",
        follower_lock.LOCK,
    )
    return found[0][0] if found else None


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "suspended"])
def test_another_follower_takes_over_within_two_seconds(
    cli: Cli, settings: Settings, how: signal.Signals
) -> None:
    history(cli, 0.5)
    first = follow(cli)
    old = wait_until(lambda: active(settings), "the first one is active", running=first)
    second = follow(cli)
    wait_until(lambda: scalar(settings, STANDBYS), "the second one waits", running=second)
    wait_until(lambda: up_to_date(settings), "the figures are up to date", running=first)
    first.send_signal(how)
    begun = datetime.now(UTC)
    wait_until(lambda: active(settings) not in (None, old), "another one is active", running=second)
    assert datetime.now(UTC) - begun < timedelta(seconds=2)
    publish(settings, [ticker(START + timedelta(hours=2), "60000", "60001", 1, "simulated")])
    cli("process", "--group", "g1", "--until-caught-up")
    if how == signal.SIGSTOP:
        first.send_signal(signal.SIGCONT)
        wait_until(lambda: up_to_date(settings), "the figures are up to date", running=second)
        stop(first)
    wait_until(lambda: up_to_date(settings), "the figures are up to date", running=second)
    stop(second)
    verified(cli)


# What changes afterwards


def test_a_late_tick_is_noted_and_its_rows_are_computed_again(cli: Cli, settings: Settings) -> None:
    history(cli, 2)
    catch_up(cli, settings)
    late = START + timedelta(minutes=30, seconds=7)
    before = rows(settings, "SELECT * FROM crypto_risk WHERE as_of <= %s ORDER BY 3, 4, 5", late)
    publish(settings, [ticker(late, "100000", "100001", 1, "simulated")])
    cli("process", "--group", "g1", "--until-caught-up")
    noted = late.replace(second=0)
    assert rows(settings, "SELECT venue, pair, minute, changes FROM changed_minutes") == [
        ("simulated", "BTC-USD", noted, 1)
    ]
    report = verified(cli)
    assert "1 minutes have changed" in json.dumps(report), "stale, not wrong"
    catch_up(cli, settings)
    assert scalar(settings, "SELECT count(*) FROM changed_minutes") == 0
    high = "SELECT min(as_of) FROM crypto_risk WHERE pair = 'BTC-USD' AND drawdown > 0.1"
    assert scalar(settings, high) == noted + timedelta(minutes=1)
    assert rows(settings, "SELECT * FROM crypto_risk WHERE as_of <= %s ORDER BY 3, 4, 5", noted) == [
        row for row in before if row[4] <= noted
    ]
    assert "have changed" not in json.dumps(verified(cli))


def test_nothing_is_noted_without_figures(cli: Cli, settings: Settings) -> None:
    history(cli, 0.5)
    publish(settings, [ticker(START + timedelta(minutes=3), "100000", "100001", 1, "simulated")])
    cli("process", "--group", "g1", "--until-caught-up")
    assert scalar(settings, "SELECT count(*) FROM changed_minutes") == 0


def test_a_late_first_minute_of_a_pair_gets_its_rows(cli: Cli, settings: Settings) -> None:
    history(cli, 1)
    catch_up(cli, settings)
    at = START + timedelta(minutes=10)
    fields = {"type": "ticker", "product_id": "SOL-USD", "best_bid": "90", "best_ask": "91"}
    value = json.dumps(fields | {"venue": "simulated", "time": at.isoformat(), "trade_id": 1}).encode()
    publish(settings, [(b"SOL-USD", value)])
    cli("process", "--group", "g1", "--until-caught-up")
    catch_up(cli, settings)
    count = (scalar(settings, COMPLETE) - at) // timedelta(minutes=1)
    assert scalar(settings, "SELECT count(*) FROM crypto_risk WHERE pair = 'SOL-USD'") == 3 * count
    verified(cli)


def test_a_late_gap_record_changes_the_rows_of_its_minutes(cli: Cli, settings: Settings) -> None:
    history(cli, 1)
    catch_up(cli, settings)
    begins, ends = START + timedelta(minutes=20), START + timedelta(minutes=22)
    gap = encode(Gap("BTC-USD", GapKind.SILENCE, ends, begins, None, None, venue="simulated"))
    publish(settings, [gap])
    cli("process", "--group", "g1", "--until-caught-up")
    assert scalar(settings, "SELECT count(*) FROM changed_minutes") == 4
    catch_up(cli, settings)
    assert scalar(settings, "SELECT max(gap_minutes) FROM crypto_risk") == 4
    verified(cli)


def test_verify_finds_wrong_missing_and_surplus_rows(cli: Cli, settings: Settings) -> None:
    history(cli, 0.5)
    catch_up(cli, settings)
    with psycopg.connect(settings.postgres()) as connection:
        connection.execute(
            "UPDATE crypto_risk SET volatility = volatility * (1 + 1e-8) "
            "WHERE (pair, range, as_of) = ('BTC-USD', '1h', '2026-07-01T12:20Z')"
        )
        connection.execute(
            "DELETE FROM crypto_risk WHERE (pair, range, as_of) = ('ETH-USD', '15m', '2026-07-01T12:10Z')"
        )
        connection.execute(
            "UPDATE crypto_risk SET as_of = as_of + interval '1 day' "
            "WHERE (pair, range, as_of) = ('ETH-USD', '24h', '2026-07-01T12:10Z')"
        )
    report = json.loads(cli("verify", "--json", code=1).stdout)
    (finding,) = report["findings"] if "findings" in report else report["groups"][0]["findings"]
    assert finding["kind"] == "risk"
    assert finding["count"] == 4
    assert "simulated BTC-USD 1h as of 2026-07-01 12:20: volatility is" in json.dumps(finding)
