"""`cryptometrics session` for people and for programs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import psycopg

    from tests.conftest import Cli
    from tests.integration.conftest import Store

BTC = [
    ("2024-01-05 10:00:00", "67210.00", "67210.02"),
    ("2024-01-05 10:00:01.5", "67211.50", "67212.50"),
    ("2024-01-05 10:00:02", "67209.00", "67209.01"),
]


def test_json_is_exact(cli: Cli, store: Store) -> None:
    store(BTC)
    done = cli("session", "--json")
    assert json.loads(done.stdout) == [
        {
            "venue": "coinbase",
            "pair": "BTC-USD",
            "session": "2024-01-05",
            "consumer_group": "g1",
            "ticks": 3,
            "late": 0,
            "bid": "67209.00",
            "ask": "67209.01",
            "mid_price": "67209.005",
            "spread": "0.01",
            "highest_bid": "67211.50",
            "highest_bid_at": "2024-01-05T10:00:01.500000Z",
            "lowest_ask": "67209.01",
            "lowest_ask_at": "2024-01-05T10:00:02Z",
            "max_spread": "1.00",
            "max_spread_at": "2024-01-05T10:00:01.500000Z",
            "first_at": "2024-01-05T10:00:00Z",
            "last_at": "2024-01-05T10:00:02Z",
            "bid_size": None,
            "ask_size": None,
            "volatility": None,
            "drawdown": None,
        }
    ]
    assert done.stderr == ""


RISK = """
INSERT INTO crypto_risk (consumer_group, venue, pair, range, as_of, minutes, minutes_with_ticks, coverage,
    gap_minutes, volatility, drawdown)
VALUES (%s, %s, %s, %s, %s, 1440, 1440, 1, 0, %s, %s)
"""


def risk_rows(connection: psycopg.Connection, *given: tuple[str, str, str, str, float | None, float]) -> None:
    """Store figures of BTC-USD: group, venue, range, moment, volatility, drawdown."""
    for group, venue, name, as_of, *figures in given:
        connection.execute(RISK, [group, venue, "BTC-USD", name, as_of, *figures])


def figures(cli: Cli, *options: str) -> list[tuple[float | None, float | None]]:
    found = json.loads(cli("session", "--json", "--group", "g1", *options).stdout)
    return [(row["volatility"], row["drawdown"]) for row in found]


def test_risk_is_the_newest_that_is_stored_of_the_market(
    cli: Cli, store: Store, connection: psycopg.Connection
) -> None:
    store(BTC)
    assert figures(cli) == [(None, None)]
    risk_rows(
        connection,
        ("g1", "coinbase", "24h", "2024-01-05 10:00Z", 0.9, 0.09),
        ("g1", "coinbase", "24h", "2024-01-05 10:01Z", 0.45678, 0.0123),
        ("g1", "coinbase", "1h", "2024-01-05 10:02Z", 0.8, 0.08),
        ("g1", "simulated", "24h", "2024-01-05 10:02Z", 0.7, 0.07),
        ("g2", "coinbase", "24h", "2024-01-05 10:02Z", 0.6, 0.06),
    )
    assert figures(cli) == [(0.45678, 0.0123)]
    for width in (80, 120):
        table = cli("session", "--group", "g1", env={"COLUMNS": str(width)}).stdout
        assert "45.7 %" in table
        assert "1.23 %" in table
        assert "24h to 2024-01-05 10:01" in " ".join(table.split())
        assert max(map(len, table.splitlines())) <= width
    assert "0.45678" in cli("session", "--group", "g1").stdout
    risk_rows(connection, ("g1", "coinbase", "24h", "2024-01-05 10:02Z", None, 0.02))
    assert figures(cli) == [(None, 0.02)]


def test_an_old_session_does_not_show_the_risk_of_a_later_one(
    cli: Cli, store: Store, connection: psycopg.Connection
) -> None:
    store(BTC)
    store([("2024-01-07 10:00", "67210.00", "67210.02")], session="2024-01-07")
    risk_rows(connection, ("g1", "coinbase", "24h", "2024-01-05 10:01Z", 0.5, 0.01))
    # Two days ago has not one minute in common with the day of the newest quote.
    assert figures(cli) == [(None, None)]
    risk_rows(connection, ("g1", "coinbase", "24h", "2024-01-07 10:01Z", 0.4, 0.02))
    assert figures(cli) == [(0.4, 0.02)]
    assert figures(cli, "--session", "2024-01-05") == [(0.5, 0.01)]


def test_a_pipe_gets_one_whole_line_a_pair(cli: Cli, store: Store) -> None:
    long = "a name [bold]that[/] is " + "very " * 60 + "long"
    store(BTC, session=long)
    store([("2024-01-05 10:00", "0.00001306", "0.00001307")], pair="SHIB-USD", session=long)
    header, *lines = cli("session", "--group", "g1").stdout.splitlines()
    assert header.split()[:4] == ["venue", "pair", "session", "consumer_group"]
    assert len(lines) == 2
    assert all(long in line for line in lines)
    assert "0.000013065" in lines[1]


def test_columns_is_a_width_to_fit_into_in_a_pipe_too(cli: Cli, store: Store) -> None:
    store(BTC)
    for columns in (80, 40):
        shown = cli("session", env={"COLUMNS": str(columns)}).stdout
        assert max(map(len, shown.splitlines())) <= columns
        assert "\x1b" not in shown
        for value in ("67,209.005", "67,211.50", "10:00:01", "1.00"):
            assert value in shown or columns < 80
    assert len(cli("session", env={"COLUMNS": "0"}).stdout.splitlines()) == 2


def test_pairs_and_sessions_can_be_chosen(cli: Cli, store: Store) -> None:
    store(BTC)
    store(BTC, pair="ETH-USD")
    store(BTC, pair="ETH-USD", session="drill")

    def found(*options: str) -> list[tuple[str, str]]:
        return [
            (row["pair"], row["session"]) for row in json.loads(cli("session", "--json", *options).stdout)
        ]

    assert found("--pair", "ETH-USD", "--session", "drill") == [("ETH-USD", "drill")]
    assert found("--session", "2024-01-05") == [("BTC-USD", "2024-01-05"), ("ETH-USD", "2024-01-05")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pair", "NO-USD"], "no ticks of NO-USD in group g1; there is BTC-USD (2024-01-05 10:00:00 to"),
        (["--pair", "BTCUSD"], "'BTCUSD' is not a pair: pairs look like BTC-USD"),
        (["--session", "x"], "group g1 has no session x; there is 2024-01-05"),
        (["--group", "g2"], "group g2 has stored nothing; there is g1"),
    ],
)
def test_mistakes_are_one_line(cli: Cli, store: Store, options: list[str], message: str) -> None:
    store(BTC)
    done = cli("session", *options, code=2)
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_of_many_pairs_ten_are_named_and_the_one_that_was_meant(cli: Cli, store: Store) -> None:
    for pair in ("BTC-USDC", *(f"P{number:02}-USDC" for number in range(12))):
        store(BTC[:1], pair=pair)
    names = ", ".join(["BTC-USDC", *(f"P{number:02}-USDC" for number in range(9))])
    # What only has the currency in common is not what was meant.
    for typed, hint in (("BTX-USDC", " (did you mean BTC-USDC?)"), ("ZZZ-USDC", "")):
        assert cli("session", "--pair", typed, code=2).stderr == (
            f"error: no ticks of {typed} in group g1; there are {names} and 3 more{hint}\n"
        )


def test_stored_rows_can_be_written_to_whatever_stdout_is(cli: Cli, store: Store) -> None:
    store(BTC, session="größe")
    closed = subprocess.run(
        ["sh", "-c", 'exec "$0" -m cryptometrics session >&-', sys.executable],
        cwd=cli.cwd, env=cli.environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (closed.returncode, closed.stdout, closed.stderr) == (0, "", "")
    for size in ({}, {"COLUMNS": "200"}):  # lines for programs, and Rich's table
        shown = cli("session", env={"PYTHONIOENCODING": "ascii", **size}).stdout
        assert shown.isascii()
        assert r"gr\xf6\xdfe" in shown
        assert "BTC-USD" in shown


def test_nothing_stored_yet(cli: Cli) -> None:
    assert "no ticks are stored yet" in cli("session", code=2).stderr
