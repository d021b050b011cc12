from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from cryptometrics.risk.portfolio.definition import (
    Limit,
    Position,
    RiskSettings,
    as_document,
    from_document,
    pricing_pairs,
)
from cryptometrics.risk.portfolio.file_problems import FileProblem
from cryptometrics.risk.portfolio.positions_csv import parse_csv
from cryptometrics.risk.portfolio.positions_file import (
    PositionsError,
    example,
    is_asset,
    is_portfolio_name,
    parse_toml,
)
from tests.unit.risk.portfolio.holdings import portfolio

HEAD = 'portfolio = "p"\ncurrency = "USD"\n'
BTC = '[[position]]\nasset = "BTC"\nquantity = "1"\n'


def problems(text: str) -> list[str]:
    try:
        return [str(problem) for problem in parse_toml(text).problems]
    except PositionsError as error:
        return [str(problem) for problem in error.problems]


def test_the_example_is_valid_and_complete() -> None:
    read = parse_toml(example())
    assert read.problems == ()
    found = read.portfolio
    assert (found.name, found.currency, found.group, found.venue) == ("treasury", "USD", None, None)
    assert found.treat_as == {"USDT": "USD"}
    assert found.positions[0] == Position("BTC", Decimal("12.5"), Decimal(61250))
    assert found.positions[1].quantity == -40
    assert found.cash == {"USD": 250_000}
    assert [limit.name for limit in found.limits] == [
        "limit.gross",
        "limit.value_at_risk_pct",
        "limit.expected_shortfall_pct",
        "limit.drawdown_pct",
        "limit.concentration_pct",
        "limit.of.BTC.gross",
    ]
    assert found.risk == RiskSettings(
        confidence=0.99,
        horizon=timedelta(hours=1),
        range=timedelta(hours=24),
        method="filtered",
        stale_after=timedelta(seconds=60),
        warn_at=0.8,
    )
    assert found.risk == RiskSettings()
    [test] = found.stress
    assert [test.shock(asset) for asset in ("ETH", "SOL")] == [Decimal("-0.43"), Decimal("-0.40")]


def test_a_stored_portfolio_is_the_one_that_was_loaded() -> None:
    found = parse_toml(example()).portfolio.pinned("g", "v", {"BTC": "BTC-USD", "USD": None})
    assert from_document(as_document(found)) == found


def test_equal_numbers_are_stored_as_the_same_text() -> None:
    one, other = (as_document(portfolio(("BTC", quantity))) for quantity in ("1.50", "1.5"))
    assert one == other


def test_only_what_is_needed_is_needed() -> None:
    read = parse_toml(HEAD + BTC)
    assert read.problems == ()
    assert read.portfolio.venue is None
    assert read.portfolio.positions[0].cost is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1: portfolio: is missing: every portfolio needs it"),
        (HEAD, "line 1: the file has neither a [[position]] nor [cash]"),
        ("portfolio = ", "line 1: portfolio: this is not TOML: invalid value"),
        ('portfolio = "a b"\ncurrency = "USD"\n' + BTC, "line 1: portfolio: 'a b' must be a name of"),
        ('portfolio = "p"\ncurrency = "usd"\n' + BTC, "line 2: currency: 'usd' is not an asset: write USD"),
        (HEAD + 'curency = "USD"\n' + BTC, "line 3: curency: is not a key here: did you mean currency?"),
        (HEAD + 'venue = "Coin"\n' + BTC, "line 3: venue: 'Coin' must be a venue such as \"coinbase\""),
        (HEAD + 'treat_as = { USD = "EUR" }\n' + BTC, "line 3: treat_as.USD: USD must count as another"),
        (HEAD + '[cash]\nUSD = "25x"\n', "line 4: cash.USD: '25x' is not a decimal number"),
        (HEAD + "[[position]]\nquantity = 1\n", "line 3: position.1.asset: is missing"),
        (HEAD + '[[position]]\nasset = "BTC"\n', "line 3: position.1.quantity: is missing"),
        (HEAD + BTC.replace('"1"', '"1e3"'), "line 5: position.1.quantity: '1e3' is not a decimal number"),
        (HEAD + BTC.replace('"1"', "true"), "line 5: position.1.quantity: true is not a decimal number"),
        (HEAD + BTC.replace('"1"', "nan"), "line 5: position.1.quantity: NaN is not a decimal number"),
        (
            HEAD + BTC.replace('"1"', "1e999999999"),
            "line 5: position.1.quantity: 1E+999999999 must have at most",
        ),
        (HEAD + "[[position]]\nasset = 5\n", "line 4: position.1.asset: 5 is not an asset: assets look like"),
        (
            HEAD + BTC.replace("BTC", "ß"),
            "line 4: position.1.asset: '\\xdf' is not an asset: assets look like BTC",
        ),
        (
            HEAD + 'treat_as = { USDC = "USDT", USDT = "USD" }\n' + BTC,
            "line 3: treat_as.USDC: USDT counts as USD: name that instead",
        ),
        (HEAD + BTC + 'cost = "-1"\n', "line 6: position.1.cost: '-1' must not be below 0"),
        (HEAD + BTC + "cots = 1\n", "line 6: position.1.cots: is not a key here: did you mean cost?"),
        (HEAD + BTC + BTC, "line 7: position.2.asset: BTC already has a position, on line 4"),
        (HEAD + BTC + "[limits]\ngross = 0\n", "line 7: limits.gross: 0 must be above 0"),
        (HEAD + BTC + '[limits]\ndrawdown_pct = "-5"\n', "line 7: limits.drawdown_pct: '-5' must be above 0"),
        (HEAD + BTC + "[limits]\nvar_pct = 5\n", "line 7: limits.var_pct: is not a key here"),
        (HEAD + BTC + "[limits.of.ETH]\ngross = 5\n", "line 6: limits.of.ETH: no position has the asset ETH"),
        (HEAD + BTC + "[risk]\nconfidence = 1\n", "line 7: risk.confidence: 1 must be above 0 and below 1"),
        (HEAD + BTC + '[risk]\nhorizon = "90s"\n', "line 7: risk.horizon: '90s' must be in whole minutes"),
        (HEAD + BTC + '[risk]\nrange = "30m"\n', "line 7: risk.range: '30m' is shorter than the horizon"),
        (HEAD + BTC + '[risk]\nmethod = "x"\n', "line 7: risk.method: 'x' must be one of filtered, histor"),
        (
            HEAD + BTC + "[risk]\nstale_after = 60\n",
            "line 7: risk.stale_after: 60 is not a duration in quotes",
        ),
        (HEAD + BTC + "[risk]\nwarn_at = 1.5\n", "line 7: risk.warn_at: 1.5 must be above 0 and at most 1"),
        (
            HEAD + BTC + '[[stress]]\nname = "x"\nshocks = { BTC = -1.5 }\n',
            "line 8: stress.1.shocks.BTC: -1.5 is below -1",
        ),
        (HEAD + BTC + "[[stress]]\nshocks = { BTC = -1 }\n", "line 6: stress.1.name: None must be a name"),
        (HEAD + BTC + '[[stress]]\nname = "x"\n', "line 6: stress.1.shocks: is missing: write shocks ="),
        (
            HEAD + BTC + "[limits.of.BTC]\ngros = 5\n",
            "line 7: limits.of.BTC.gros: is not a key here: did you",
        ),
        (
            HEAD + BTC + "[limits.of]\nBTC = 5\n",
            "line 7: limits.of.BTC: 5 is not a table: write [limits.of.BTC]",
        ),
        (HEAD + BTC + "[risk]\nconfidense = 1\n", "line 7: risk.confidense: is not a key here: did you mean"),
        (
            HEAD + BTC + "[[stress]]\nshock = 1\n",
            "line 7: stress.1.shock: is not a key here: did you mean shocks",
        ),
        (HEAD + BTC + "[risk]\nhorizon = 60\n", "line 7: risk.horizon: 60 is not a duration in quotes"),
        (HEAD + BTC + '[risk]\nrange = "x"\n', "line 7: risk.range: 'x' is not a duration in quotes"),
        (HEAD + "position = 3\n", "line 3: position: write [[position]], in two brackets"),
    ],
)
def test_a_problem_names_line_key_and_value(text: str, problem: str) -> None:
    assert any(found.startswith(problem) for found in problems(text)), problems(text)


NINES = "9" * 20 + "." + "9" * 18
RISK, STRESS = HEAD + BTC + "[risk]\n", HEAD + BTC + "[[stress]]\n"


@pytest.mark.parametrize(
    ("head", "allowed", "refused"),
    [
        ('currency = "USD"\n' + BTC, f'portfolio = "{"p" * 63}"', f'portfolio = "{"p" * 64}"'),
        (HEAD, f'group = "{"g" * 100}"', f'group = "{"g" * 101}"'),
        (HEAD, 'group = "g"', 'group = ""'),
        (HEAD + "[cash]\n", f'{"A" * 20} = "1"', f'{"A" * 21} = "1"'),
        (HEAD + "[cash]\n", f'USD = "{NINES}"', 'USD = "' + "1" + "0" * 20 + '"'),
        (HEAD + "[cash]\n", f'USD = "-{NINES}"', 'USD = "0.' + "0" * 18 + '1"'),
        (HEAD + BTC, 'cost = "0"', 'cost = "-0.01"'),
        (HEAD + BTC + "[limits]\n", "gross = 0.01", "gross = 0"),
        (RISK, 'horizon = "7d"\nrange = "7d"', 'horizon = "10081m"\nrange = "8d"'),
        (RISK, 'horizon = "1m"', 'horizon = "0m"'),
        (RISK, 'range = "90d"', 'range = "129601m"'),
        (RISK, 'range = "1h"', 'range = "59m"'),
        (RISK, 'stale_after = "1d"', 'stale_after = "86401s"'),
        (RISK, 'stale_after = "1s"', 'stale_after = "0s"'),
        (RISK, "warn_at = 1", "warn_at = 1.01"),
        (RISK, "warn_at = 0.01", "warn_at = 0"),
        (RISK, "confidence = 0.999999", "confidence = 1"),
        (RISK, "confidence = 0.000001", "confidence = 0"),
        (STRESS + "shocks = { BTC = -1 }\n", f'name = "{"n" * 100}"', f'name = "{"n" * 101}"'),
        (STRESS + "shocks = { BTC = -1 }\n", 'name = "n"', 'name = ""'),
        (STRESS + 'name = "n"\n', "shocks = { BTC = -1 }", "shocks = { BTC = -1.01 }"),
    ],
)
def test_each_limit_is_allowed_and_what_is_beyond_it_is_not(head: str, allowed: str, refused: str) -> None:
    for line, count in ((allowed, 0), (refused, 1)):
        text = f"{line}\n{head}" if line.startswith("portfolio") else f"{head}{line}\n"
        text = text if "asset" in text or "[cash]" in text else text + BTC
        assert len(problems(text)) == count, problems(text)


def test_a_portfolio_has_at_most_a_thousand_positions() -> None:
    tables = [BTC.replace("BTC", f"A{number}") for number in range(1001)]
    assert problems(HEAD + "".join(tables[:1000])) == []
    read = parse_toml(HEAD + "".join(tables) + BTC.replace('"1"', '"x"'))
    assert [str(problem) for problem in read.problems] == [
        "line 3003: position.1001: there are more than 1,000 positions"
    ]
    assert len(read.portfolio.positions) == 1000


def test_a_long_value_is_cut_after_sixty_characters() -> None:
    text = HEAD + BTC.replace('"1"', '"{}"')
    assert repr("x" * 58) + " is not" in problems(text.format("x" * 58))[0]
    assert "'" + "x" * 59 + "… is not" in problems(text.format("x" * 59))[0]


def test_what_is_wrong_is_left_out_and_reported_once() -> None:
    stress = '[[stress]]\nname = "n"\nshocks = { btc = -0.1, ETH = "x", SOL = -0.2 }\n'
    read = parse_toml(HEAD + 'treat_as = { usdt = "USD", WBTC = "btc" }\n' + BTC + stress)
    assert read.portfolio.treat_as == {}
    assert read.portfolio.stress[0].shocks == {"SOL": Decimal("-0.2")}
    keys = [problem.key for problem in read.problems]
    assert keys == ["treat_as.usdt", "treat_as.WBTC", "stress.1.shocks.btc", "stress.1.shocks.ETH"]


def test_a_position_with_a_wrong_quantity_keeps_its_asset_and_holds_nothing() -> None:
    read = parse_toml(HEAD + BTC.replace('"1"', '"x"') + BTC.replace("BTC", "ETH").replace('"1"', '"0"'))
    assert read.portfolio.positions == (Position("BTC", Decimal(0)), Position("ETH", Decimal(0)))
    assert [problem.key for problem in read.problems] == ["position.1.quantity"]


def test_an_error_states_all_problems() -> None:
    with pytest.raises(PositionsError, match=r"^line 1: a: this is not TOML: invalid value$"):
        parse_toml("a = ")
    one, other = FileProblem(1, "a", "is wrong"), FileProblem(2, "", "is too")
    assert str(PositionsError((one, other))) == "line 1: a: is wrong; line 2: is too"


def test_a_problem_that_is_found_later_names_where_the_file_has_the_asset() -> None:
    read = parse_toml(HEAD + '[cash]\nUSD = "1"\nBTC = "1"\n' + BTC + BTC.replace("BTC", "ETH"))
    found = [str(read.problem(read.places[asset], "has no price")) for asset in ("ETH", "BTC", "USD")]
    assert found == [
        "line 10: position.2.asset: has no price",
        "line 7: position.1.asset: has no price",
        "line 4: cash.USD: has no price",
    ]


def test_all_problems_are_found_at_once_in_the_order_of_their_lines() -> None:
    found = problems(
        'portfolio = "p"\nnote = """\nquantity = 3 # not a key\n"""\n# """\n[cash]\nUSD = "x"\n'
        '[[position]]\nasset = "BTC"\nquantity = "y"\n[[position]]\nasset = "BTC"\nquantity = 1\n'
        "[limits]\ngross = -1\nof.BTC.gross = 0\n"
    )
    places = [line.split(": ")[:2] for line in found]
    assert places == [
        ["line 1", "currency"],
        ["line 2", "note"],
        ["line 7", "cash.USD"],
        ["line 10", "position.1.quantity"],
        ["line 12", "position.2.asset"],
        ["line 15", "limits.gross"],
        ["line 16", "limits.of.BTC.gross"],
    ]


def test_csv_replaces_the_positions_and_nothing_else() -> None:
    base = portfolio(("BTC", "1"), cash={"USD": Decimal(5)})
    read = parse_csv("asset,cost,quantity\nETH,1800.50,-3\n\nSOL,,10\n", base)
    assert read.problems == ()
    assert read.portfolio.positions == (
        Position("ETH", Decimal(-3), Decimal("1800.5")),
        Position("SOL", Decimal(10)),
    )
    assert read.portfolio.cash == {"USD": 5}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("asset,amount\nBTC,1\n", "line 1: the first line must be asset,quantity,cost, not 'asset,amount'"),
        ("", "line 1: the first line must be asset,quantity,cost, not ''"),
        ("asset,quantity\nBTC,x\n", "line 2: position.1.quantity: 'x' is not a decimal number"),
        ("asset,quantity\n\nBTC\n", "line 3: position.1.quantity: is missing"),
        ("asset,quantity\nBTC,1\nBTC,2\n", "line 3: position.2.asset: BTC already has a position, on line 2"),
        ("asset,quantity\nBTC,1,5\n", "line 2: position.1: has 3 values, the first line names 2"),
    ],
)
def test_a_problem_of_csv_names_its_line(text: str, problem: str) -> None:
    try:
        found = [str(each) for each in parse_csv(text, portfolio()).problems]
    except PositionsError as error:
        found = [str(each) for each in error.problems]
    assert any(each.startswith(problem) for each in found), found


def test_assets_are_priced_by_pairs_of_the_currency_or_of_what_counts_as_it() -> None:
    held = portfolio(("BTC", "1"), ("SOL", "1"), ("USDT", "1"), ("WBTC", "1"), ("DOGE", "1"))
    known = ("BTC-USD", "BTC-USDT", "SOL-USDT", "USDT-USD", "WBTC-USD")
    treated = {"USDT": "USD", "WBTC": "BTC"}
    found = pricing_pairs(replace(held, treat_as=treated), known)
    assert found == {"BTC": "BTC-USD", "SOL": "SOL-USDT", "USDT": None, "WBTC": "BTC-USD"}


def test_csv_must_keep_the_positions_that_have_a_limit() -> None:
    limits = (
        Limit("limit.of.BTC.gross", "gross", Decimal(5), "BTC"),
        Limit("limit.gross", "gross", Decimal(5)),
    )
    base = portfolio(("BTC", "1"), limits=limits)
    assert parse_csv("asset,quantity\nBTC,0\n", base).problems == ()
    what = "limit.of.BTC.gross needs a position in BTC: add one, if need be of quantity 0"
    assert parse_csv("asset,quantity\nETH,1\n", base).problems == (FileProblem(1, "", what),)


def test_the_pairs_of_a_portfolio_are_named_once_and_in_order() -> None:
    pairs = {"WBTC": "BTC-USD", "USD": None, "EUR": "EUR-USD", "BTC": "BTC-USD"}
    assert portfolio(("BTC", "1"), pairs=pairs).used_pairs == ("BTC-USD", "EUR-USD")


def test_the_portfolio_of_the_demo_is_valid() -> None:
    assert parse_toml(example("demo")).problems == ()


@pytest.mark.parametrize(
    ("text", "names_portfolio", "is_an_asset"),
    [
        ("BTC", True, True),
        ("btc", True, False),
        ("a.b-c_d", True, False),
        (".a", False, False),
        ("", False, False),
        ("A" * 63, True, False),
        ("A" * 64, False, False),
    ],
)
def test_names_of_portfolios_and_assets(text: str, names_portfolio: bool, is_an_asset: bool) -> None:
    assert (is_portfolio_name(text), is_asset(text)) == (names_portfolio, is_an_asset)
