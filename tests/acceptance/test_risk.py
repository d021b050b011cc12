"""`cryptometrics risk` as a person runs it, against figures computed anew from the exported quotes."""

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

START = datetime.fromisoformat("2026-07-01T06:00:00+00:00")
AS_OF = START + timedelta(hours=4)
PAIRS = ("BTC-USD", "ETH-USD", "ADA-USD")
RANGE, BEFORE, HORIZON, CONFIDENCE = 120, 88, 10, 0.95
"""Minutes of the range, of the start window of ewma with a half-life of an hour, and of the horizon."""
OPTIONS = ("--range", "2h", "--horizon", "10m", "--confidence", "0.95", "--as-of", "2026-07-01T10:00")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def cli(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """Return a runner of commands against four simulated hours of three pairs, and a minute."""
    name = f"risk_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(services.postgres_uri, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    settings = settings_for(services, name, name)
    with psycopg.connect(settings.postgres()) as connection:
        migrate(connection)
    runner = Cli(tmp_path_factory.mktemp("risk"), clean_environment() | environment_of(settings))
    runner("init-db", "--partitions", "1")
    simulate(runner, START, minutes=241)
    yield runner
    runner.end()
    with psycopg.connect(services.postgres_uri, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def simulate(cli: Cli, start: datetime, *, minutes: int) -> None:
    pairs = ",".join(PAIRS)
    cli(
        *("simulate", "--pair", pairs, "--rate", "0", "--seed", "19", "--step", "250ms"),
        *("--start", start.isoformat(), "--count", str(minutes * 240)),
    )
    cli("process", "--group", "g1", "--until-caught-up")


def risk(cli: Cli, *arguments: str) -> Any:
    return json.loads(cli("risk", *arguments, "--json").stdout)


def quotes(cli: Cli, pair: str) -> list[dict[str, Any]]:
    """Return the exported quotes of a pair before the end of the range."""
    lines = cli("export", "--pair", pair, "--format", "jsonl", "--until", AS_OF.isoformat()).stdout
    return [json.loads(line) for line in lines.splitlines()]


def mid(quote: dict[str, Any]) -> float:
    return float((Decimal(quote["bid"]) + Decimal(quote["ask"])) / 2)


def bars(of: list[dict[str, Any]]) -> np.ndarray:
    """Return open, high, low and close of each minute from the start on."""
    minutes: list[list[float]] = [[] for _ in range(240)]
    for quote in of:
        at = datetime.fromisoformat(quote["quoted_at"])
        minutes[(at - START) // timedelta(minutes=1)].append(mid(quote))
    assert all(minutes)
    return np.array([(prices[0], max(prices), min(prices), prices[-1]) for prices in minutes]).T


def test_every_figure_is_the_one_computed_anew_from_the_quotes(cli: Cli) -> None:
    lines = {line["pair"]: line for line in risk(cli, *OPTIONS)}
    assert list(lines) == sorted(PAIRS)
    exported = {pair: quotes(cli, pair) for pair in PAIRS}
    every = {pair: bars(each) for pair, each in exported.items()}
    grid = {pair: np.diff(np.log(prices[3][-RANGE - 1 :: 5])) for pair, prices in every.items()}
    for pair, line in lines.items():
        opens, highs, lows, closes = every[pair][:, -RANGE:]
        r = np.diff(np.log(every[pair][3]))
        n = r[-RANGE:]
        year = 525_600
        expected = {
            "return_1h": closes[-1] / closes[-61] - 1,
            "spread_bps": np.mean(
                [
                    10_000 * float(Decimal(quote["ask"]) - Decimal(quote["bid"])) / mid(quote)
                    for quote in in_range(exported[pair])
                ]
            ),
            "imbalance": share(in_range(exported[pair])),
            "drawdown": 1 - closes[-1] / highs.max(),
            "correlation": np.corrcoef(grid[pair], grid["BTC-USD"])[0, 1],
            "beta": np.cov(grid[pair], grid["BTC-USD"])[0, 1] / np.var(grid["BTC-USD"], ddof=1),
            "max_drawdown": max_drawdown(opens, highs, lows),
            **tail(r),
        }
        for name, value in expected.items():
            assert line[name] == pytest.approx(value, rel=1e-8), (pair, name)
        log_range, log_body = np.log(highs / lows), np.log(closes / opens)
        bipower = math.pi / 2 * (np.abs(n[1:]) * np.abs(n[:-1])).mean()
        variances = {
            "close": n.var(ddof=1),
            "realized": (n**2).mean(),
            "bipower": bipower,
            "parkinson": (log_range**2).mean() / (4 * math.log(2)),
            "garman_klass": (log_range**2 / 2 - (2 * math.log(2) - 1) * log_body**2).mean(),
            "ewma": ewma(r[-RANGE - BEFORE :])[-1],
        }
        for name, variance in variances.items():
            assert line["volatility"][name] == pytest.approx(math.sqrt(variance * year), rel=1e-8), name
        assert line["jump_share"] == pytest.approx(max(0, 1 - bipower / (n**2).mean()), abs=1e-8)
        newest = exported[pair][-1]
        assert Decimal(line["mid_price"]) == (Decimal(newest["bid"]) + Decimal(newest["ask"])) / 2
        assert Decimal(line["max_spread"]) == max(
            Decimal(quote["ask"]) - Decimal(quote["bid"]) for quote in in_range(exported[pair])
        )
        assert (line["minutes"], line["minutes_with_ticks"], line["coverage"]) == (RANGE, RANGE, 1)
        assert (line["venue"], line["group"], line["as_of"]) == ("simulated", "g1", "2026-07-01T10:00:00Z")
        assert line["return_24h"] is None
        assert line["reasons"] == {"return_24h": "the price 24 h before as_of is not known"}


def in_range(of: list[dict[str, Any]]) -> list[dict[str, Any]]:
    first = AS_OF - timedelta(minutes=RANGE)
    return [quote for quote in of if datetime.fromisoformat(quote["quoted_at"]) >= first]


def share(of: list[dict[str, Any]]) -> float:
    bid, ask = (float(np.mean([float(quote[side]) for quote in of])) for side in ("bid_size", "ask_size"))
    return bid / (bid + ask)


def max_drawdown(opens: np.ndarray, highs: np.ndarray, lows: np.ndarray) -> float:
    peak, worst = 0.0, 0.0
    for open_, high, low in zip(opens, highs, lows, strict=True):
        before = max(peak, open_)
        worst, peak = max(worst, (before - low) / before), max(peak, high)
    return worst


def ewma(r: np.ndarray) -> list[float]:
    """Return the variance after each return from the end of the start window on."""
    decay = 2 ** (-1 / 60)
    found = [float((r[:BEFORE] ** 2).mean())]
    for value in r[BEFORE:]:
        found.append(decay * found[-1] + (1 - decay) * value**2)
    return found


def tail(r: np.ndarray) -> dict[str, float]:
    """Return the filtered figures over the horizon."""
    used = r[-RANGE - BEFORE :]
    variance = ewma(used)
    scaled = used[BEFORE:] * np.sqrt(variance[-1] / np.array(variance[:-1]))
    ahead = scaled.mean() * HORIZON + (scaled - scaled.mean()) * math.sqrt(HORIZON)
    quantile = np.quantile(ahead, 1 - CONFIDENCE)
    return {"value_at_risk": -quantile, "expected_shortfall": -ahead[ahead <= quantile + 1e-15].mean()}


def test_a_history_has_the_figures_of_each_moment(cli: Cli) -> None:
    found = risk(
        *(cli, "history", "--pair", "ETH-USD", "--metric", "max_drawdown", "--range", "30m"),
        *("--since", "2026-07-01T08:00", "--as-of", "2026-07-01T10:00", "--step", "1h"),
    )
    assert [row["as_of"][11:16] for row in found] == ["08:00", "09:00", "10:00"]
    for row in found:
        (line,) = risk(cli, "--pair", "ETH-USD", "--range", "30m", "--as-of", row["as_of"])
        assert row["value"] == line["max_drawdown"]


def test_the_matrix_has_the_correlations_of_the_table(cli: Cli) -> None:
    matrix = risk(cli, "correlation", *OPTIONS[:2], *OPTIONS[-2:])
    lines = {line["pair"]: line for line in risk(cli, *OPTIONS)}
    column = matrix["pairs"].index("BTC-USD")
    for pair, row in zip(matrix["pairs"], matrix["correlation"], strict=True):
        assert row[column] == pytest.approx(lines[pair]["correlation"], rel=1e-12)
    cli("risk", "correlation", "--out", "matrix.png")
    assert (cli.cwd / "matrix.png").read_bytes().startswith(PNG)


def test_a_backtest_counts_the_losses_beyond_their_forecasts(cli: Cli) -> None:
    arguments = ("backtest", "--pair", "BTC-USD", "--method", "normal", "--range", "1h", "--horizon", "5m")
    (found,) = risk(cli, *arguments, "--confidence", "0.9", "--as-of", "2026-07-01T10:00")
    closes = bars(quotes(cli, "BTC-USD"))[3]
    r = np.diff(np.log(closes))
    failures, forecasts = 0, 0
    for now in range(60, len(closes) - 5, 5):
        past = r[now - 60 : now]
        forecast = -(past.mean() * 5 + -1.2815515655446004 * past.std() * math.sqrt(5))
        failures += -math.log(closes[now + 5] / closes[now]) > forecast
        forecasts += 1
    assert (found["forecasts"], found["failures"]) == (forecasts, failures)
    assert found["expected"] == pytest.approx(forecasts * 0.1)
    assert found["traffic_light"]["zone"] in ("green", "yellow", "red")
    assert set(found["kupiec"]) == {"statistic", "p_value"}


def test_a_short_past_makes_no_forecast_and_no_error(cli: Cli) -> None:
    done = cli("risk", "backtest", "--pair", "BTC-USD", "--out", "backtest.png", "--json")
    found = json.loads(done.stdout)
    assert [each["method"] for each in found] == ["filtered", "historical", "normal", "modified"]
    for each in found:
        assert (each["forecasts"], each["failures"]) == (0, 0)
        assert each["kupiec"] is each["traffic_light"] is each["worst_excess"] is None
    assert (cli.cwd / "backtest.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize("width", ["80", "120"])
def test_the_table_fits_and_says_that_prices_are_simulated(cli: Cli, width: str) -> None:
    done = cli("risk", env={"COLUMNS": width})
    assert "SIMULATED, 1d to 2026-07-01 10:0" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= int(width)
    assert done.stdout.count("thin") >= len(PAIRS)  # four hours of a day


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            ("--pair", "BTC-US"),
            "no minutes of BTC-US; there are ADA-USD, BTC-USD, ETH-USD (did you mean BTC-",
        ),
        (("--pair", "nonsense"), "'nonsense' is not a pair"),
        (("--against", "DOGE-USD"), "no minutes of DOGE-USD"),
        (("--confidence", "1.5"), "1.5 must be between 0 and 1"),
        (("--confidence", "nan"), "nan must be between 0 and 1"),
        (("--horizon", "0"), "'0' is not a duration"),
        (("--horizon", "0m"), "must be one or more whole minutes"),
        (("--range", "90s"), "must be one or more whole minutes"),
        (("--range", "9999d"), "longer than a year"),
        (("--half-life", "0m"), "must be one or more whole minutes"),
        (("--as-of", "2020-01-01"), "is outside of the complete minutes"),
        (("--as-of", "2027-01-01"), "is outside of the complete minutes"),
        (("--estimator", "garch"), "'garch' is not one of"),
        (("--venue", "kraken"), "kraken"),
        (("--group", "g9"), "group g9 has stored nothing"),
        (("--range", "2h", "backtest", "--pair", "BTC-USD"), "--range must follow the command"),
        (("backtest",), "Missing option '--pair'"),
        (("history", "--pair", "BTC-USD", "--since", "2027-01-01"), "is after the last moment"),
        (("correlation", "--out", "matrix.doc"), "must end in .png, .svg or .pdf"),
    ],
)
def test_a_mistake_is_one_line(cli: Cli, arguments: tuple[str, ...], error: str) -> None:
    done = cli("risk", *arguments, code=2)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert error in line


def test_figures_as_of_a_moment_stay_when_more_is_stored(cli: Cli) -> None:
    before = risk(cli, *OPTIONS)
    newest = risk(cli)[0]["as_of"]
    simulate(cli, START + timedelta(minutes=241), minutes=60)
    assert risk(cli, *OPTIONS) == before
    assert risk(cli)[0]["as_of"] > newest
