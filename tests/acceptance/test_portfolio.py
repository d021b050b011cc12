"""`cryptometrics positions` and `portfolio` as a person runs them, against figures computed anew."""

from __future__ import annotations

import json
import math
import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
import pytest
from psycopg import sql

from cryptometrics.store.migrate import migrate
from tests.conftest import Cli, clean_environment, environment_of, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.local.services import Services

START = datetime.fromisoformat("2026-07-01T00:00:00+00:00")
AS_OF = START + timedelta(hours=24, minutes=10, seconds=30)
HELD = {
    "BTC": ("12.5", "51250.00"),
    "ETH": ("-140", "2500"),
    "SOL": ("1000.25", None),
    "ADA": ("-50000", "0.45"),
}
CASH = Decimal("250000.07")
WINDOW, RANGE, HORIZON, Q = 88, 1440, 60, 0.01
"""Minutes of the start window of ewma (half-life 1 h), of the range and the horizon; 1 − confidence."""

FILE = """
portfolio = "treasury"
currency = "USD"
[cash]
USD = "250000.07"
[limits]
gross = "1"
drawdown_pct = 99
[[stress]]
name = "all fall"
shocks = { BTC = -0.39, "*" = -0.4 }
"""


@pytest.fixture(scope="module")
def cli(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """Return a runner of commands against a simulated day of four pairs, and eleven minutes."""
    name = f"portfolio_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(services.postgres_uri, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    settings = settings_for(services, name, name)
    with psycopg.connect(settings.postgres()) as connection:
        migrate(connection)
    runner = Cli(tmp_path_factory.mktemp("portfolio"), clean_environment() | environment_of(settings))
    runner("init-db", "--partitions", "1")
    runner(
        *("simulate", "--pair", ",".join(f"{asset}-USD" for asset in HELD), "--rate", "0", "--seed", "20"),
        *("--step", "3s", "--start", START.isoformat(), "--count", str((24 * 60 + 11) * 20)),
    )
    runner("process", "--group", "g1", "--until-caught-up")
    text = FILE
    for asset, (quantity, cost) in HELD.items():
        text += f'[[position]]\nasset = "{asset}"\nquantity = "{quantity}"\n'
        text += f'cost = "{cost}"\n' if cost else ""
    (runner.cwd / "positions.toml").write_text(text)
    runner("positions", "load", "positions.toml", "--effective-at", START.isoformat())
    yield runner
    runner.end()
    with psycopg.connect(services.postgres_uri, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def exported(cli: Cli, asset: str, until: datetime) -> list[dict[str, Any]]:
    """Return the exported quotes of a pair until a moment."""
    after = (until + timedelta(microseconds=1)).isoformat()
    lines = cli("export", "--pair", f"{asset}-USD", "--format", "jsonl", "--until", after).stdout
    return [json.loads(line) for line in lines.splitlines()]


def mark(quote: dict[str, Any], quantity: Decimal) -> Decimal:
    return Decimal(quote["ask" if quantity < 0 else "bid"])


def mid(quote: dict[str, Any]) -> Decimal:
    return (Decimal(quote["bid"]) + Decimal(quote["ask"])) / 2


def closes(quotes: list[dict[str, Any]]) -> np.ndarray:
    """Return the last mid price of each complete minute, without a quote that of the minute before."""
    found: dict[int, float] = {}
    for quote in quotes:
        found[(datetime.fromisoformat(quote["quoted_at"]) - START) // timedelta(minutes=1)] = float(
            mid(quote)
        )
    complete = (AS_OF - START) // timedelta(minutes=1)
    filled = [found[0]]
    for minute in range(1, complete):
        filled.append(found.get(minute, filled[-1]))
    return np.array(filled)


def filtered(close: np.ndarray) -> np.ndarray:
    """Return the returns of the range at the newest volatility, over the horizon."""
    r = np.diff(np.log(close))[-RANGE:]
    r = np.concatenate([np.diff(np.log(close))[:-RANGE][-WINDOW:], r])
    decay = 2 ** (-1 / 60)
    variance = [float((r[:WINDOW] ** 2).mean())]
    for value in r[WINDOW:]:
        variance.append(decay * variance[-1] + (1 - decay) * value**2)
    scaled = r[WINDOW:] * np.sqrt(variance[-1] / np.array(variance[:-1]))
    ahead: np.ndarray = scaled.mean() * HORIZON + (scaled - scaled.mean()) * math.sqrt(HORIZON)
    return ahead


def cents(amount: str | float) -> Decimal:
    return round(Decimal(amount), 2)


def test_every_figure_is_the_one_computed_anew_from_the_quotes(cli: Cli) -> None:
    found = json.loads(cli("portfolio", "treasury", "--as-of", AS_OF.isoformat(), "--json").stdout)
    quantities = {asset: Decimal(quantity) for asset, (quantity, _) in HELD.items()}
    costs = {asset: Decimal(cost) for asset, (_, cost) in HELD.items() if cost}
    quotes = {asset: exported(cli, asset, AS_OF) for asset in HELD}
    newest = {asset: of[-1] for asset, of in quotes.items()}
    midnight = START + timedelta(hours=24)
    before = {asset: exported(cli, asset, midnight)[-1] for asset in HELD}
    marks = {asset: mark(newest[asset], quantity) for asset, quantity in quantities.items()}
    mids = {asset: mid(newest[asset]) for asset in HELD}
    gross = sum(abs(q * mids[asset]) for asset, q in quantities.items())
    half_spreads = {asset: mids[asset] - Decimal(newest[asset]["bid"]) for asset in HELD}
    closing = sum(abs(q) * half_spreads[asset] for asset, q in quantities.items())
    expected = {
        "value": CASH + sum(q * marks[asset] for asset, q in quantities.items()),
        "value_at_mid": CASH + sum(q * mids[asset] for asset, q in quantities.items()),
        "profit_and_loss": sum(quantities[asset] * (marks[asset] - cost) for asset, cost in costs.items()),
        "profit_and_loss_today": sum(
            q * (marks[asset] - mark(before[asset], q)) for asset, q in quantities.items()
        ),
        "gross": gross,
        "net": sum(q * mids[asset] for asset, q in quantities.items()),
    }
    for name, amount in expected.items():
        assert Decimal(found[name]) == amount, name

    series = {asset: closes(of) for asset, of in quotes.items()}
    losses = np.array(
        [-float(q * mids[asset]) * np.expm1(filtered(series[asset])) for asset, q in quantities.items()]
    )
    whole = losses.sum(axis=0)
    at_risk = np.quantile(whole, 1 - Q)
    assert cents(found["value_at_risk"]) == cents(str(at_risk))
    assert cents(found["expected_shortfall"]) == cents(str(whole[whole >= at_risk - 1e-9].mean()))
    assert found["value_at_risk_pct"] == pytest.approx(100 * at_risk / float(gross))
    order = np.argsort(-whole, kind="stable")
    place = (len(whole) - 1) * Q
    low, high = losses[:, order[math.floor(place)]], losses[:, order[math.ceil(place)]]
    components = low + (place - math.floor(place)) * (high - low)
    alone = [np.quantile(row, 1 - Q) for row in losses]
    for position, component, by_itself in zip(found["positions"], components, alone, strict=True):
        assert cents(position["component_value_at_risk"]) == cents(str(component))
        assert cents(position["value_at_risk"]) == cents(str(by_itself))
    worth = [float(q) * series[asset][-RANGE - 1 :] for asset, q in quantities.items()]
    path = np.sum(worth, axis=0)
    assert cents(found["drawdown"]) == cents(str(path.max() - path[-1]))
    for asset, position in zip(HELD, found["positions"], strict=True):
        r = np.diff(np.log(series[asset]))[-RANGE:]
        assert position["volatility"] == pytest.approx(math.sqrt((r**2).mean() * 525_600))
        assert position["kafka_offset"] == newest[asset]["kafka_offset"]
    shocks = {asset: Decimal("-0.39") if asset == "BTC" else Decimal("-0.4") for asset in HELD}
    change = sum(q * mids[asset] * shocks[asset] for asset, q in quantities.items())
    assert Decimal(found["stress"][0]["profit_and_loss"]) == change - closing


def test_without_a_moment_it_is_valued_at_the_newest_quote(cli: Cli) -> None:
    done = cli("portfolio", "--json")
    assert done.stderr.startswith("the newest quote of simulated in group g1 is of 2026-07-02 00:10:57 UTC, ")
    found = json.loads(done.stdout)
    assert found["as_of"] == "2026-07-02T00:10:57Z"
    assert found["version"] == 1
    assert min(position["age_s"] for position in found["positions"]) == 0


def test_a_breach_changes_the_exit_code_only_on_request(cli: Cli) -> None:
    found = json.loads(cli("portfolio", "--json").stdout)
    assert [limit["state"] for limit in found["limits"]] == ["breach", "ok"]
    cli("portfolio", "--fail-on-breach", code=1)


def test_quotes_that_are_too_old_price_nothing(cli: Cli) -> None:
    found = json.loads(cli("portfolio", "--as-of", "2026-07-02T00:30", "--json").stdout)
    assert {position["state"] for position in found["positions"]} == {"stale"}
    assert [found[key] for key in ("value", "value_at_risk", "drawdown")] == [None, None, None]
    assert {limit["state"] for limit in found["limits"]} == {"unknown"}


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_fits(cli: Cli, columns: int) -> None:
    printed = cli("portfolio", env={"COLUMNS": str(columns)}).stdout
    lines = printed.splitlines()
    assert max(map(len, lines)) <= columns
    for word in ("treasury, version 1", "value at risk", "component", "all fall", "breach", "BTC"):
        assert word in printed


def test_versions_follow_each_other_and_the_same_file_changes_nothing(cli: Cli) -> None:
    again = cli("positions", "load", "positions.toml").stdout
    assert again == "portfolio treasury: version 1 is the same, nothing changed\n"
    (cli.cwd / "desk.csv").write_text("asset,quantity,cost\nBTC,2,50000\nETH,-1,\n")
    wrong = cli("positions", "load", "desk.csv", code=2).stderr
    assert "add --currency USD" in wrong
    cli("positions", "load", "desk.csv", "--currency", "USD")
    (cli.cwd / "desk.csv").write_text("asset,quantity,cost\nBTC,3,50000\n")
    assert "version 2" in cli("positions", "load", "desk.csv").stdout
    shown = json.loads(cli("positions", "show", "desk", "--json").stdout)
    assert shown[0]["positions"] == [{"asset": "BTC", "quantity": "3", "cost": "50000"}]
    cli("positions", "remove", "desk")
    assert [line["removed"] for line in json.loads(cli("positions", "history", "desk", "--json").stdout)] == [
        True,
        False,
        False,
    ]
    wrong = cli("portfolio", "desk", code=2).stderr
    assert wrong.startswith("error: there is no portfolio desk at ")


def test_everything_that_is_wrong_is_listed(cli: Cli) -> None:
    text = 'portfolio = "x"\ncurrency = "USD"\n[[position]]\nasset = "BTX"\nquantity = "a"\n'
    text += "[limits]\ngross = 0\n"
    (cli.cwd / "wrong.toml").write_text(text)
    for command in ("check", "load"):
        lines = cli("positions", command, "wrong.toml", code=2).stderr.splitlines()
        assert lines == [
            "error: wrong.toml, line 4: position.1.asset: simulated has no pair BTX-USD: did you mean BTC?",
            "error: wrong.toml, line 5: position.1.quantity: 'a' is not a decimal number such as \"12.5\"",
            "error: wrong.toml, line 7: limits.gross: 0 must be above 0",
        ]


def test_the_example_is_a_file_that_can_be_loaded(cli: Cli) -> None:
    (cli.cwd / "example.toml").write_text(cli("positions", "example").stdout)
    assert "2 positions, all valid" in cli("positions", "check", "example.toml").stdout
