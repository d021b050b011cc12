"""A book through a crash and a silent pair: its rows against SQL, and each limit's alerts, sent once."""

from __future__ import annotations

import math
import os
import re
import signal
import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
import pytest
from psycopg import sql

from cryptometrics.store.migrate import migrate
from cryptometrics.times import iso
from tests.acceptance.test_portfolio import Q, cents, filtered
from tests.conftest import Cli, clean_environment, environment_of, settings_for
from tests.database import rows, scalar
from tests.fakes.receiver import Post, Receiver, moody
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import Popen

    from cryptometrics.config import Settings
    from cryptometrics.local.services import Services

MINUTE = timedelta(minutes=1)
START = datetime.fromisoformat("2026-07-01T00:00:00+00:00")
LOADED = START + timedelta(hours=20)
CRASH = START + timedelta(hours=24, minutes=5)
SILENCE = START + timedelta(hours=24, minutes=25)
MINUTES = 24 * 60 + 35
HELD = {
    "BTC": ("12.5", "51250.00"),
    "ETH": ("-140", "2500"),
    "SOL": ("1000.25", None),
    "ADA": ("-50000", "0.45"),
}
BOOK = """
portfolio = "treasury"
currency = "USD"
[cash]
USD = "250000.07"
[limits]
gross = "1500000"
drawdown_pct = 2
value_at_risk_pct = 1.5
concentration_pct = 99
"""

PLACE = "SELECT max(complete_until) FROM portfolio_progress"
COMPLETE = "SELECT date_bin('1 minute', min(complete_until), 'epoch') FROM window_progress"
STATES = """
SELECT r.as_of, use.stated->>'limit', use.stated->>'state'
FROM portfolio_risk r, jsonb_array_elements(r.limits) WITH ORDINALITY AS use (stated, place)
ORDER BY r.as_of, use.place
"""


pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def settings(services: Services) -> Iterator[Settings]:
    """Return the settings of a database of this module."""
    name = f"limits_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(services.postgres_uri, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    found = settings_for(services, name, name)
    with psycopg.connect(found.postgres()) as connection:
        migrate(connection)
    yield found
    with psycopg.connect(services.postgres_uri, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def posts(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Post]]:
    """Let a book go through it, with the follower and the receiver killed; return what was delivered."""
    cli = Cli(tmp_path_factory.mktemp("limits"), clean_environment() | environment_of(settings))
    cli("init-db", "--partitions", "1")
    cli(
        *("simulate", "--pair", ",".join(f"{asset}-USD" for asset in HELD), "--rate", "0", "--seed", "20"),
        *("--step", "3s", "--start", START.isoformat(), "--count", str(MINUTES * 20)),
        *("--scenario", f"flash-crash@{(CRASH - START) // MINUTE}m"),
        *("--scenario", f"silence@{(SILENCE - START) // MINUTE}m"),
    )
    cli("process", "--group", "g1", "--until-caught-up")
    text = BOOK
    for asset, (quantity, cost) in HELD.items():
        text += f'[[position]]\nasset = "{asset}"\nquantity = "{quantity}"\n'
        text += f'cost = "{cost}"\n' if cost else ""
    (cli.cwd / "positions.toml").write_text(text)
    cli("positions", "load", "positions.toml", "--effective-at", LOADED.isoformat())
    receiver = Receiver(choose=moody(3))
    with receiver:
        webhook = {"CRYPTOMETRICS_WEBHOOK_URL": receiver.url}
        _follow_until_killed(cli, settings, webhook)
    while not _is_up_to_date(settings):  # every transaction is a follower's last one, and nobody receives
        _follow_until_killed(cli, settings, webhook)
    receiver.choose = moody(4)
    with receiver:
        follower = cli.start("risk", "--follow", "--group", "g1", env=webhook)
        wait_until(lambda: len(receiver.taken()) > 4, "some are delivered", running=follower, limit=60)
        follower.kill()
        follower.communicate()
        follower = cli.start("risk", "--follow", "--group", "g1", env=webhook)
        pending = "SELECT count(*) FROM alert_notifications WHERE delivered_at IS NULL"
        wait_until(lambda: not scalar(settings, pending), "all is delivered", running=follower, limit=60)
        follower.terminate()
        assert follower.wait(30) == 0
    yield receiver.taken()
    cli.end()


def _follow_until_killed(cli: Cli, settings: Settings, webhook: dict[str, str]) -> None:
    """Follow until the rows have come further, and kill the follower."""
    place = scalar(settings, PLACE)
    follower: Popen[str] = cli.start("risk", "--follow", "--group", "g1", env=webhook)
    wait_until(
        lambda: scalar(settings, PLACE) != place or _is_up_to_date(settings),
        "the rows go on, or all are there",
        running=follower,
        limit=120,
    )
    os.kill(follower.pid, signal.SIGKILL)
    follower.communicate()


def _is_up_to_date(settings: Settings) -> bool:
    return bool(scalar(settings, PLACE) == scalar(settings, COMPLETE))


def expected(settings: Settings) -> list[tuple[str, str, datetime]]:
    """Return rule, status and minute of each notification that the states in the rows ask for."""
    found = []
    before: dict[str, str] = {}
    for as_of, name, state in rows(settings, STATES):
        if state != before.get(name, "ok"):
            if before.get(name, "ok") != "ok":
                found.append((name, "resolved", as_of))
            if state != "ok":
                found.append((name, "firing", as_of))
        before[name] = state
    return found


def test_each_alert_is_stored_once_with_its_row_and_delivered_in_order(
    settings: Settings, posts: list[Post]
) -> None:
    bodies = [post.body for post in posts]
    found = [(body["rule"], body["status"], body["resolved_at"] or body["fired_at"]) for body in bodies]
    assert found == [(name, status, iso(at)) for name, status, at in expected(settings)]
    fired = sum(status == "firing" for _, status, _ in found)
    # Both columns have the time at which the transaction began.
    with_rows = """
        SELECT count(*) FROM alerts a
        JOIN portfolio_risk r ON (r.portfolio, r.venue, r.as_of) = (a.pair, a.venue, a.fired_at)
                              AND r.computed_at = a.recorded_at
        CROSS JOIN jsonb_array_elements(r.limits) AS use (stated)
        WHERE use.stated->>'limit' = a.rule AND (use.stated->>'limit_at')::numeric = a.level
          AND (use.stated->>'value')::numeric IS NOT DISTINCT FROM a.value
    """
    assert scalar(settings, "SELECT count(*) FROM alerts") == scalar(settings, with_rows) == fired


def test_the_crash_breaches_a_limit_and_a_person_reads_how_far(posts: list[Post]) -> None:
    [breach] = [
        post.body
        for post in posts
        if (post.body["rule"], post.body["severity"]) == ("limit.drawdown_pct", "critical")
        and post.body["status"] == "firing"
    ]
    assert (breach["kind"], breach["venue"], breach["pair"]) == ("limit", "simulated", "treasury")
    assert iso(CRASH) < breach["fired_at"] <= iso(CRASH + 2 * MINUTE)
    assert re.fullmatch(
        r"treasury drawdown [\d.]+ % of gross is above its limit of 2 % \(\d+ %\)", breach["message"]
    )


def test_a_silent_pair_makes_the_limits_unknown_within_two_minutes(posts: list[Post]) -> None:
    bodies = [post.body for post in posts if "BTC has no mark that counts" in post.body["message"]]
    fired = {body["rule"]: body["fired_at"] for body in bodies if body["status"] == "firing"}
    assert set(fired) == {
        f"limit.{name}" for name in ("gross", "drawdown_pct", "value_at_risk_pct", "concentration_pct")
    }
    assert iso(SILENCE) < min(fired.values()) <= max(fired.values()) <= iso(SILENCE + 2 * MINUTE)
    ended = [post.body for post in posts if post.body["fired_at"] in fired.values()]
    assert {body["rule"] for body in ended if body["status"] == "resolved"} == set(fired)


@pytest.mark.usefixtures("posts")
@pytest.mark.parametrize("as_of", [CRASH + 2 * MINUTE, SILENCE, START + (MINUTES - 1) * MINUTE])
def test_each_figure_is_the_one_computed_anew_with_sql(settings: Settings, as_of: datetime) -> None:
    quantities = {asset: Decimal(quantity) for asset, (quantity, _) in HELD.items()}
    quotes = {asset: closing_quotes(settings, asset, as_of) for asset in HELD}
    marks = {asset: quotes[asset][-1][quantities[asset] < 0] for asset in HELD}
    mids = {asset: mid(quotes[asset][-1]) for asset in HELD}
    gross = sum(abs(quantities[asset] * mids[asset]) for asset in HELD)
    closes = {asset: np.array([float(mid(quote)) for quote in quotes[asset]]) for asset in HELD}
    losses = np.array(
        [-float(quantities[asset] * mids[asset]) * np.expm1(filtered(closes[asset])) for asset in HELD]
    )
    whole = losses.sum(axis=0)
    at_risk = np.quantile(whole, 1 - Q)
    order = np.argsort(-whole, kind="stable")
    place = (len(whole) - 1) * Q
    low, high = losses[:, order[math.floor(place)]], losses[:, order[math.ceil(place)]]
    path = np.sum([float(quantities[asset]) * closes[asset] for asset in HELD], axis=0)
    held_since = path[-((as_of - LOADED) // MINUTE) - 2 :]  # with the close that the first minute began at

    row = stored_row(settings, as_of)
    assert row["value"] == sum(quantities[asset] * marks[asset] for asset in HELD) + Decimal("250000.07")
    assert row["profit_and_loss"] == sum(
        quantities[asset] * (marks[asset] - Decimal(cost)) for asset, (_, cost) in HELD.items() if cost
    )
    assert row["gross"] == gross
    assert cents(row["value_at_risk"]) == cents(at_risk)
    assert cents(row["expected_shortfall"]) == cents(whole[whole >= at_risk - 1e-9].mean())
    assert row["value_at_risk_pct"] == pytest.approx(100 * at_risk / float(gross))
    assert cents(row["drawdown"]) == cents(held_since.max() - held_since[-1])
    components = [each["component_value_at_risk"] for each in row["positions"]]
    assert [cents(each) for each in components] == [
        cents(each) for each in low + (place - math.floor(place)) * (high - low)
    ]
    assert sum(components) == pytest.approx(row["value_at_risk"])


def mid(quote: tuple[Decimal, Decimal]) -> Decimal:
    return (quote[0] + quote[1]) / 2


def closing_quotes(settings: Settings, asset: str, until: datetime) -> list[tuple[Decimal, Decimal]]:
    """Return bid and ask at the end of each minute of the history, the last ones if it has no tick."""
    newest = """
        SELECT DISTINCT ON (date_trunc('minute', timestamp)) date_trunc('minute', timestamp), bid, ask
        FROM crypto_metrics WHERE pair = %s AND timestamp < %s
        ORDER BY 1, timestamp DESC, kafka_offset DESC
    """
    by_minute = {at: (bid, ask) for at, bid, ask in rows(settings, newest, f"{asset}-USD", until)}
    found: list[tuple[Decimal, Decimal]] = []
    for minute in range((until - START) // MINUTE):
        at = START + minute * MINUTE
        found.append(by_minute[at] if at in by_minute else found[-1])
    return found


def stored_row(settings: Settings, as_of: datetime) -> dict[str, Any]:
    names = "value, profit_and_loss, gross, value_at_risk, value_at_risk_pct, expected_shortfall, drawdown"
    [values] = rows(settings, f"SELECT {names}, positions FROM portfolio_risk WHERE as_of = %s", as_of)
    return dict(zip([*names.split(", "), "positions"], values, strict=True))
