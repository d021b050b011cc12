"""`watch` on real data: one frame for scripts, and live in a terminal that is resized."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from decimal import Decimal
from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest

from cryptometrics.store.latest_portfolios import LatestPosition, latest_portfolios
from tests.database import END_OTHER_SESSIONS, rows
from tests.terminal import Terminal
from tests.waiting import LIMIT_S, wait_until

if TYPE_CHECKING:
    from cryptometrics.config import Settings
    from tests.conftest import Cli

_FIRE = """
INSERT INTO alerts (consumer_group, rule, kind, pair, severity, level, value, message, started_at, fired_at,
                    resolved_at)
SELECT 'g1', rule, 'spread', 'BTC-USD', 'critical', 10, 12.5, 'spread 12.5 bps', now(), now(), resolved_at
FROM (VALUES ('wide', NULL), ('over', now())) AS rules (rule, resolved_at)
"""
_RISK = """
INSERT INTO crypto_risk (consumer_group, venue, pair, range, as_of, minutes, minutes_with_ticks, coverage,
                         gap_minutes, volatility, drawdown)
SELECT 'g1', 'simulated', 'BTC-USD', '24h', now(), 1440, 1440, 1, 0, 0.45678, 0.0123
"""
_FIGURES = """
INSERT INTO portfolio_risk (portfolio, version, consumer_group, as_of, venue, currency, value,
    profit_and_loss, gross, value_at_risk, value_at_risk_pct, unmarked, positions, cash, limits)
SELECT 'treasury', 1, 'g1', now() - minutes * interval '1 min', 'simulated', 'USD', 100000 + minutes, -1234.5,
    90000, 1350, 1.5, 0, '[{"asset": "BTC", "quantity": "1.5", "state": "marked", "value": "90000.5",
    "profit_and_loss": null, "component_value_at_risk": 1350}]', '[]',
    '[{"limit": "limit.gross", "use": 1.125, "state": "breach"}]'
FROM generate_series(1, 3) AS minutes
"""
_BOOK = """
portfolio = "treasury"
currency = "USD"
group = "g1"
venue = "simulated"
[[position]]
asset = "BTC"
quantity = "1.5"
"""
TICKS = 2000


@pytest.fixture
def filled(settings: Settings, cli: Cli) -> Cli:
    cli("init-db")
    cli("simulate", "--rate", "0", "--count", str(TICKS), "--bad", "0.02", "--seed", "3")
    cli("process", "--group", "g1", "--until-caught-up")
    return cli


def test_one_frame_says_what_is_stored(settings: Settings, filled: Cli) -> None:
    filled("simulate", "--rate", "0", "--count", "70", "--seed", "4")  # which nobody has processed
    shown = json.loads(filled("watch", "--json").stdout)
    sessions = json.loads(filled("session", "--json").stdout)
    assert shown["group"] == "g1"
    assert shown["trouble"] is None
    assert shown["metrics"] + shown["rejected"] == TICKS
    assert shown["rejected"] > 0
    assert sum(part["lag"] for part in shown["partitions"]) == 70
    for pair, session in zip(shown["pairs"], sessions, strict=True):
        for key in (
            "pair",
            "session",
            "bid",
            "ask",
            "mid_price",
            "highest_bid",
            "lowest_ask",
            "last_at",
            "ticks",
        ):
            assert pair[key] == session[key]
        assert 0 <= pair["ticks_per_second"] <= pair["ticks"] / 60  # nothing but what was there before
        assert pair["quote_age_seconds"] > 0
        bps = 10_000 * Decimal(session["spread"]) / Decimal(session["mid_price"])
        assert pair["spread_bps"] == pytest.approx(float(bps), abs=1e-4)
    assert {(pair["volatility"], pair["drawdown"]) for pair in shown["pairs"]} == {(None, None)}
    text = filled("watch", "--once", "--pair", "BTC-USD").stdout
    assert "lag 70" in text
    assert sessions[1]["pair"] == "BTC-USD"
    assert f"{Decimal(sessions[1]['highest_bid']):,}" in text
    assert "ETH-USD" not in text
    assert "\x1b" not in text
    columns_and_lines_count_in_a_pipe(filled)
    what_fires_is_shown_and_what_is_over_is_not(settings, filled)
    risk_is_shown_of_the_pair_that_has_it(settings, filled)
    portfolios_are_shown_while_they_are_in_force(settings, filled)
    mistakes_are_one_line(filled)
    without_kafka_all_but_the_lag_is_shown(filled)
    the_cost_does_not_grow_with_the_table(settings, filled)


def columns_and_lines_count_in_a_pipe(filled: Cli) -> None:
    lines = filled("watch", "--once", env={"COLUMNS": "80"}).stdout.splitlines()
    assert 60 < max(map(len, lines)) <= 80
    assert any("bid/high" in line for line in lines)
    assert len(filled("watch", "--once", env={"COLUMNS": "80", "LINES": "12"}).stdout.splitlines()) <= 12
    for none in ("", "0", "-1", "wide", "²"):
        assert max(map(len, filled("watch", "--once", env={"COLUMNS": none}).stdout.splitlines())) > 100


def what_fires_is_shown_and_what_is_over_is_not(settings: Settings, filled: Cli) -> None:
    rows(settings, _FIRE)
    [alert] = json.loads(filled("watch", "--json").stdout)["alerts"]
    assert (alert["rule"], alert["pair"], alert["severity"]) == ("wide", "BTC-USD", "critical")
    assert "BTC-USD wide: spread 12.5 bps" in filled("watch", "--once").stdout


def risk_is_shown_of_the_pair_that_has_it(settings: Settings, filled: Cli) -> None:
    rows(settings, _RISK)
    pairs = {pair["pair"]: pair for pair in json.loads(filled("watch", "--json").stdout)["pairs"]}
    assert (pairs["BTC-USD"]["volatility"], pairs["BTC-USD"]["drawdown"]) == (0.45678, 0.0123)
    assert (pairs["ETH-USD"]["volatility"], pairs["ETH-USD"]["drawdown"]) == (None, None)
    for columns in ("80", "120", "160"):
        text = filled("watch", "--once", env={"COLUMNS": columns}).stdout
        assert text.count("45.7 %") == text.count("1.23 %") == 1


def portfolios_are_shown_while_they_are_in_force(settings: Settings, filled: Cli) -> None:
    assert json.loads(filled("watch", "--json").stdout)["portfolios"] == []
    (filled.cwd / "positions.toml").write_text(_BOOK)
    filled("positions", "load", "positions.toml")
    assert "treasury  no figures stored" in filled("watch", "--once").stdout
    rows(settings, _FIGURES)
    [shown] = json.loads(filled("watch", "--json").stdout)["portfolios"]
    assert Decimal(shown.pop("value")) == 100_001  # the newest of the three rows
    assert Decimal(shown.pop("profit_and_loss")) == Decimal("-1234.5")
    assert shown.pop("as_of") is not None
    assert shown == {
        "portfolio": "treasury",
        "currency": "USD",
        "value_at_risk": 1350,
        "value_at_risk_pct": 1.5,
        "limits": [{"name": "limit.gross", "use": 1.125, "state": "breach"}],
    }
    with psycopg.connect(settings.postgres()) as connection:
        [found] = latest_portfolios(connection, "g1")
    assert found.positions == (
        LatestPosition("BTC", Decimal("1.5"), "marked", Decimal("90000.5"), None, 1350),
    )
    assert (found.gross, found.net) == (Decimal(90_000), None)
    text = filled("watch", "--once", env={"COLUMNS": "80", "LINES": "24"}).stdout
    assert "treasury  100,001.00 USD  P&L -1,234.50  VaR 1,350.00 1.5 %" in text
    assert "limits  gross 112 % breach" in text
    assert json.loads(filled("watch", "--json", "--venue", "simulated").stdout)["portfolios"]
    filled("positions", "remove", "treasury")
    assert json.loads(filled("watch", "--json").stdout)["portfolios"] == []


def mistakes_are_one_line(filled: Cli) -> None:
    assert "watch needs a terminal" in filled("watch", code=2).stderr
    assert "group g2 has stored nothing" in filled("watch", "--once", "--group", "g2", code=2).stderr
    assert "no ticks of NO-USD" in filled("watch", "--once", "--pair", "NO-USD", code=2).stderr


def without_kafka_all_but_the_lag_is_shown(filled: Cli) -> None:
    nowhere = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    shown = json.loads(filled("watch", "--json", env=nowhere).stdout)
    assert "Kafka" in shown["trouble"]
    assert {part["lag"] for part in shown["partitions"]} == {None}
    assert len(shown["pairs"]) == 6


def the_cost_does_not_grow_with_the_table(settings: Settings, filled: Cli) -> None:
    """No query of the view reads the ticks, however many there are."""
    with psycopg.connect(settings.postgres(), autocommit=True) as connection:
        connection.execute("ALTER TABLE crypto_metrics RENAME TO ticks_that_nobody_may_read")
        assert len(json.loads(filled("watch", "--json").stdout)["pairs"]) == 6
        connection.execute("ALTER TABLE ticks_that_nobody_may_read RENAME TO crypto_metrics")


OTHER_SCREEN, NORMAL_SCREEN = "\x1b[?1049h", "\x1b[?1049l"


def plain(text: str) -> str:
    """Return what a terminal was sent without colours and places."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_live_in_a_terminal_that_is_resized(settings: Settings, filled: Cli) -> None:
    terminal = Terminal(filled, "watch", "--group", "g1", "--refresh", "10", size=(24, 80))
    try:
        terminal.until(lambda text: "bid/high" in text, "the narrow screen")
        assert OTHER_SCREEN in terminal.drawn
        terminal.resize((50, 200))
        terminal.until(lambda text: "highest bid" in text, "the wide screen")
        filled("simulate", "--rate", "0", "--count", "10", "--seed", "4")
        terminal.until(lambda text: "lag 10" in plain(text), "the lag is seen")
        terminal.press("\t\t\t")
        terminal.until(lambda text: "next offset" in text, "the page of the pipeline")
        seen = len(terminal.drawn)
        terminal.press("\t")
        terminal.until(lambda text: "highest bid" in text[seen:], "the market again")
        terminal.press("/eth\r")  # faster than a person types
        terminal.until(lambda text: "  /eth" in plain(text), "the filter")
        terminal.press("q")
        terminal.until(
            lambda text: "ETH-USD" in after_the_screen(text) and "stored" in after_the_screen(text),
            "the last frame is left",
        )
        assert "BTC-USD" not in after_the_screen(terminal.drawn)
        assert terminal.process.wait(LIMIT_S) == 0
    finally:
        terminal.close()


def after_the_screen(text: str) -> str:
    """Return what was printed after the terminal was given back."""
    return plain(text.rpartition(NORMAL_SCREEN)[2]) if NORMAL_SCREEN in text else ""


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, "\x03"])
def test_the_last_frame_stays_on_the_terminal(filled: Cli, end: signal.Signals | str) -> None:
    terminal = Terminal(filled, "watch", "--group", "g1", "--refresh", "10", size=(24, 80))
    try:
        terminal.until(lambda text: "bid/high" in text, "a screen")
        if isinstance(end, str):
            terminal.press(end)
        else:
            terminal.process.send_signal(end)
        terminal.until(lambda text: "stored" in after_the_screen(text), "the last frame is printed")
        assert terminal.process.wait(LIMIT_S) == 0
        left = after_the_screen(terminal.drawn)
        assert "BTC-USD" in left
        assert left.count("\n") < 24
    finally:
        terminal.close()


def test_it_is_suspended_and_goes_on_without_colours_where_none_are_wanted(filled: Cli) -> None:
    terminal = Terminal(filled, "watch", "--group", "g1", size=(24, 80), env={"NO_COLOR": "1"})
    process = psutil.Process(terminal.process.pid)
    try:
        terminal.until(lambda text: "bid/high" in text, "a screen")
        terminal.press("\x1a")  # Ctrl-Z
        terminal.until(lambda text: NORMAL_SCREEN in text, "the terminal is given back")
        wait_until(lambda: process.status() == psutil.STATUS_STOPPED, "it is stopped")
        terminal.process.send_signal(signal.SIGCONT)
        seen = len(terminal.drawn)
        terminal.until(lambda text: OTHER_SCREEN in text[seen:] and "bid/high" in text[seen:], "the screen")
        terminal.press("q")
        assert terminal.process.wait(LIMIT_S) == 0
        assert not re.search(r"\x1b\[[0-9;]*(3[0-8]|4[0-8])[;m]", terminal.drawn)
    finally:
        terminal.close()


def test_the_screen_is_that_of_stdout_wherever_the_other_streams_lead(filled: Cli) -> None:
    log = filled.cwd / "watch.log"
    with log.open("w") as stderr:
        terminal = Terminal(
            filled, "watch", "--group", "g1", size=(24, 80), stdin=subprocess.DEVNULL, stderr=stderr
        )
    try:
        terminal.until(lambda text: "bid/high" in text, "a screen")
        terminal.press("q")
        assert terminal.process.wait(LIMIT_S) == 0
        assert log.read_text() == ""
    finally:
        terminal.close()


def test_frames_follow_each_other_as_lines_of_json(filled: Cli) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "cryptometrics", "watch", "--json", "--follow", "--refresh", "10"],
        cwd=filled.cwd,
        env=filled.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        frames = [json.loads(process.stdout.readline()) for _ in range(3)]
        assert frames[0]["at"] < frames[1]["at"] < frames[2]["at"]
        assert all(len(frame["pairs"]) == 6 for frame in frames)
        assert 0 <= frames[2]["pairs"][0]["ticks_per_second"] <= TICKS / 60
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0
        assert all(json.loads(line) for line in process.stdout)  # no line is cut
    finally:
        process.kill()
        process.communicate()
    assert "--follow goes with --json" in filled("watch", "--follow", code=2).stderr
    assert "--follow goes with --json" in filled("watch", "--json", "--once", "--follow", code=2).stderr


def test_it_goes_on_when_postgres_has_ended_its_session(settings: Settings, filled: Cli) -> None:
    terminal = Terminal(filled, "watch", "--group", "g1", "--refresh", "10", size=(40, 160))
    try:
        terminal.until(lambda text: "highest bid" in text, "a screen")
        rows(settings, END_OTHER_SESSIONS)
        terminal.until(lambda text: "the data is old" in text, "the problem is shown")
        seen = len(terminal.drawn)
        terminal.until(
            lambda text: "highest bid" in text[seen:] and "is old" not in text[-2000:],
            "it has connected again",
        )
        terminal.process.send_signal(signal.SIGTERM)
        terminal.until(lambda text: NORMAL_SCREEN in text, "the terminal is given back")
        assert terminal.process.wait(LIMIT_S) == 0
    finally:
        terminal.close()
