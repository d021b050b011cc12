from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from cryptometrics.risk.portfolio.as_json import as_json, money
from cryptometrics.risk.portfolio.definition import Limit, RiskSettings, Stress, limit_name
from cryptometrics.risk.portfolio.timeline import Holding
from cryptometrics.risk.portfolio.valuation import MarketData, Valuation, value_portfolio
from tests.unit.risk.portfolio.holdings import AS_OF, closes_of, portfolio, quote, range_of

if TYPE_CHECKING:
    from cryptometrics.risk.portfolio.definition import Portfolio
    from cryptometrics.risk.portfolio.marks import MarkQuote

MIDNIGHT = AS_OF.replace(hour=0, minute=0, second=0)
NORMAL = RiskSettings(method="normal", confidence=0.95, horizon=timedelta(minutes=1))


def limit(figure: str, level: str, asset: str | None = None) -> Limit:
    return Limit(limit_name(figure, asset), figure, Decimal(level), asset)


def valued(
    held: Portfolio, marks: dict[str, MarkQuote], midnight: dict[str, MarkQuote] | None = None
) -> Valuation:
    closes = {"BTC-USD": [0.01, -0.02, 0.015, -0.01], "ETH-USD": [0.02, -0.01, 0.01, -0.03]}
    ranges = {pair: range_of(closes_of(returns)) for pair, returns in closes.items()}
    return value_portfolio(held, 3, AS_OF, MarketData(marks, midnight or {}, ranges))


BOOK = portfolio(
    ("BTC", "2", "90"),
    ("ETH", "-10", "12"),
    ("USDT", "50"),
    cash={"USD": Decimal(1000)},
    treat_as={"USDT": "USD"},
    pairs={"BTC": "BTC-USD", "ETH": "ETH-USD", "USDT": None, "USD": None},
    risk=NORMAL,
)
MARKS = {
    "BTC-USD": quote("99", "101", bid_size=Decimal("1.5"), ask_size=Decimal(9)),
    "ETH-USD": quote("9.90", "10.10", bid_size=Decimal(1), ask_size=Decimal(10)),
}


def test_a_small_book_is_worth_what_a_person_works_out() -> None:
    midnight = {
        "BTC-USD": replace(quote("95", "96"), quoted_at=MIDNIGHT),
        "ETH-USD": replace(quote("11", "11.5"), quoted_at=MIDNIGHT - timedelta(seconds=5)),
    }
    found = valued(BOOK, MARKS, midnight)
    totals = found.totals
    assert totals.value == 2 * 99 - 10 * Decimal("10.10") + 50 + 1000  # 1147
    assert totals.value_at_mid == 2 * 100 - 10 * 10 + 50 + 1000
    assert totals.profit_and_loss == 2 * (99 - 90) - 10 * (Decimal("10.10") - 12)  # 18 + 19
    assert totals.profit_and_loss_today == 2 * (99 - 95) - 10 * (Decimal("10.10") - Decimal("11.5"))
    assert totals.gross == 200 + 100 + 50
    assert totals.net == 200 - 100 + 50
    assert [each.marked.closing_cost for each in found.positions] == [2, 1, 0]
    assert [each.share for each in found.positions] == pytest.approx([200 / 350, 100 / 350, 50 / 350])
    assert found.reasons == {}
    assert found.value_at_risk is not None
    components = [each.component or 0 for each in found.positions]
    assert sum(components) == pytest.approx(found.value_at_risk)
    assert components[2] == 0
    assert found.positions[2].value_at_risk == 0


def test_the_side_that_closes_a_position_must_take_it() -> None:
    btc, eth, usdt = (each.marked for each in valued(BOOK, MARKS).positions)
    assert (btc.touch_size, btc.touch_is_too_small) == (Decimal("1.5"), True)
    assert (eth.touch_size, eth.touch_is_too_small) == (Decimal(10), False)
    assert (usdt.touch_size, usdt.touch_is_too_small) == (None, False)


def test_a_stale_mark_makes_unknown_what_depends_on_it_and_nothing_else() -> None:
    limits = (
        limit("gross", "1000"),
        limit("value_at_risk_pct", "5"),
        limit("concentration_pct", "90"),
        limit("gross", "1000", "BTC"),
        limit("gross", "1000", "ETH"),
    )
    stale = MARKS | {"ETH-USD": quote("9.90", "10.10", age=61)}
    found = valued(replace(BOOK, limits=limits), stale)
    assert found.positions[1].marked.state == "stale"
    assert found.positions[1].marked.quote == stale["ETH-USD"]
    assert found.positions[0].marked.value == 198
    totals = found.totals
    assert (totals.value, totals.gross, totals.profit_and_loss) == (None, None, None)
    assert (found.value_at_risk, found.drawdown) == (None, None)
    assert found.reasons["value"] == "ETH has no mark that counts"
    assert [use.state for use in found.limits] == ["unknown", "unknown", "unknown", "ok", "unknown"]
    just_in_time = valued(BOOK, MARKS | {"ETH-USD": quote("9.90", "10.10", age=60)})
    assert just_in_time.positions[1].marked.state == "marked"


def test_a_missing_quote_and_a_gap_are_told_apart() -> None:
    found = valued(BOOK, {"BTC-USD": replace(MARKS["BTC-USD"], in_gap=True)})
    assert [each.marked.state for each in found.positions] == ["unverified", "missing", "par"]
    assert found.positions[0].marked.value == 198
    assert found.totals.value is None


def test_a_position_of_quantity_0_needs_no_mark() -> None:
    held = replace(BOOK, positions=(*BOOK.positions[:1], replace(BOOK.positions[1], quantity=Decimal(0))))
    found = valued(replace(held, limits=(limit("gross", "5", "ETH"),)), {"BTC-USD": MARKS["BTC-USD"]})
    assert found.totals.gross == 200
    assert found.value_at_risk is not None
    assert found.limits[0].state == "ok"


def test_a_limit_that_is_unknown_says_what_it_lacks() -> None:
    limits = (
        limit("gross", "1"),
        limit("gross", "1", "ETH"),
        limit("concentration_pct", "1"),
        limit("value_at_risk_pct", "1"),
        limit("drawdown_pct", "1"),
        limit("gross", "1", "BTC"),
    )
    stale = MARKS | {"ETH-USD": quote("9.90", "10.10", age=61)}
    found = valued(replace(BOOK, limits=limits), stale).limits
    assert [use.reason for use in found] == ["ETH has no mark that counts"] * 5 + [None]
    too_short = valued(replace(BOOK, limits=limits, risk=RiskSettings()), MARKS).limits
    assert [use.reason is None for use in too_short] == [True, True, True, False, True, True]
    assert "minutes after a start window" in (too_short[3].reason or "")


@pytest.mark.parametrize(
    ("level", "state"),
    [("437.51", "ok"), ("437.5", "warn"), ("350.01", "warn"), ("350", "breach"), ("1", "breach")],
)
def test_a_limit_warns_at_its_share_and_is_breached_at_its_level(level: str, state: str) -> None:
    found = valued(replace(BOOK, limits=(limit("gross", level),)), MARKS)
    assert found.limits[0].state == state
    assert found.is_breached == (state == "breach")


def test_limits_in_per_cent_are_of_gross() -> None:
    figures = ("value_at_risk_pct", "expected_shortfall_pct", "drawdown_pct", "concentration_pct")
    found = valued(replace(BOOK, limits=tuple(limit(figure, "100") for figure in figures)), MARKS)
    at_risk, shortfall, fall, largest = (use.value for use in found.limits)
    assert at_risk == pytest.approx(100 * (found.value_at_risk or 0) / 350)
    assert shortfall == pytest.approx(100 * (found.expected_shortfall or 0) / 350)
    assert fall == pytest.approx(100 * (found.drawdown or 0) / 350)
    assert largest == pytest.approx(100 * 200 / 350)


def test_nothing_held_breaches_nothing_and_has_no_share() -> None:
    empty = portfolio(cash={"USD": Decimal(7)}, limits=(limit("value_at_risk_pct", "5"), limit("gross", "5")))
    found = valued(empty, {})
    assert (found.totals.value, found.totals.gross, found.value_at_risk) == (Decimal(7), Decimal(0), 0)
    assert found.per_cent_of_gross(found.value_at_risk) is None
    assert [use.state for use in found.limits] == ["ok", "ok"]


def test_drawdown_is_that_of_the_worth_of_what_is_held() -> None:
    held = portfolio(("BTC", "2"), ("ETH", "-10"), risk=NORMAL)
    ranges = {"BTC-USD": range_of([90, 100, 110, 99]), "ETH-USD": range_of([10, 12, 10, 11])}
    found = value_portfolio(held, 1, AS_OF, MarketData(MARKS, {}, ranges))
    assert found.drawdown == pytest.approx((220 - 100) - (198 - 110))


def test_a_stress_test_revalues_at_mid_and_closes_at_half_the_spread() -> None:
    tests = (
        Stress("crash", {"BTC": Decimal("-0.5"), "*": Decimal("-0.4")}),
        Stress("one", {"ETH": Decimal("0.1")}),
        Stress("depeg", {"USDT": Decimal("-0.1")}),
    )
    crash, one, depeg = valued(replace(BOOK, stress=tests), MARKS).stress
    assert crash.profit_and_loss == -100 + 40 - 3
    assert crash.value == 1150 - 63
    assert (one.profit_and_loss, one.closing_cost) == (Decimal(-13), Decimal(3))
    assert depeg.profit_and_loss == -5 - 3


def test_cash_in_another_currency_counts_at_its_mark() -> None:
    held = portfolio(
        cash={"EUR": Decimal(100), "GBP": Decimal(-100)}, pairs={"EUR": "EUR-USD", "GBP": "GBP-USD"}
    )
    marks = {"EUR-USD": quote("1.10", "1.12"), "GBP-USD": quote("1.30", "1.31")}
    assert valued(held, marks).totals.value == 110 - 131
    stale = valued(held, marks | {"GBP-USD": quote("1.30", "1.31", age=100)})
    assert stale.totals.value is None
    assert stale.reasons["value"] == "cash has no mark that counts"


def test_money_is_exact_whatever_its_size() -> None:
    held = portfolio(("BTC", "-12345678901234567890.123456789012345678"), risk=NORMAL)
    marks = {"BTC-USD": quote("98765432109876543210.000000000000000001", "98765432109876543211")}
    found = as_json(valued(held, marks))
    assert found["value"] == "-1219326311370217952262002743126200274223.609205901236092058"
    assert Decimal(found["positions"][0]["quantity"]) == held.positions[0].quantity


def test_the_keys_of_the_json_are_an_interface() -> None:
    found = as_json(valued(BOOK, MARKS))
    assert list(found) == [
        *("portfolio", "version", "as_of", "currency", "value", "value_at_mid", "profit_and_loss"),
        *("profit_and_loss_today", "gross", "net", "value_at_risk", "expected_shortfall"),
        *("value_at_risk_pct", "expected_shortfall_pct", "drawdown", "positions", "stress", "limits"),
        "assumptions",
    ]
    assert (found["version"], found["as_of"], found["value"]) == (3, "2026-07-01T12:00:30Z", "1147")
    assert "USDT counts as USD at 1" in found["assumptions"]
    assert any(each.startswith("profit_and_loss_today is not known: ") for each in found["assumptions"])


def test_a_position_has_the_volatility_of_its_pair() -> None:
    btc, eth, usdt = valued(BOOK, MARKS).positions
    squares = [0.01**2, 0.02**2, 0.015**2, 0.01**2], [0.02**2, 0.01**2, 0.01**2, 0.03**2]
    for position, of_pair in zip((btc, eth), squares, strict=True):
        assert position.volatility == pytest.approx(math.sqrt(math.fsum(of_pair) / 4 * 525_600))
    assert usdt.volatility is None


def test_a_pair_without_minutes_makes_the_risk_unknown() -> None:
    held = portfolio(("BTC", "2"), ("SOL", "1"), ("ADA", "1"), risk=NORMAL)
    marks = MARKS | dict.fromkeys(("SOL-USD", "ADA-USD"), quote("1", "2"))
    found = valued(held, marks)
    assert (found.value_at_risk, found.expected_shortfall, found.drawdown) == (None, None, None)
    for name in ("value_at_risk", "expected_shortfall", "drawdown"):
        assert found.reasons[name] == "there are no minutes of SOL-USD, ADA-USD"
    assert found.positions[0].value_at_risk is None


def test_what_is_worth_nothing_can_lose_nothing() -> None:
    held = portfolio(("BTC", "2"), ("ETH", "5"), risk=NORMAL)
    found = valued(held, MARKS | {"ETH-USD": quote("0", "0")})
    assert (found.positions[1].value_at_risk, found.positions[1].component) == (0, 0)
    assert found.value_at_risk == found.positions[0].value_at_risk


def test_too_few_minutes_leave_the_drawdown_known() -> None:
    found = valued(replace(BOOK, risk=RiskSettings()), MARKS)
    assert (found.value_at_risk, found.expected_shortfall) == (None, None)
    few = "100 minutes after a start window of 88 in which all pairs have returns are needed, there are 0"
    assert found.reasons["value_at_risk"] == found.reasons["expected_shortfall"] == few
    assert found.drawdown is not None
    assert "drawdown" not in found.reasons
    assert found.positions[0].component is None


def test_the_past_of_the_drawdown_is_that_which_was_given() -> None:
    held = portfolio(("BTC", "2"), risk=NORMAL)
    ranges = {"BTC-USD": range_of([100, 120, 90])}
    drawdowns = []
    for holdings in (None, [Holding(0, 2, {"BTC-USD": 1.0})]):
        found = value_portfolio(held, 1, AS_OF, MarketData(MARKS, {}, ranges, holdings))
        drawdowns.append(found.drawdown)
        said = "drawdown and today's profit" if holdings is None else "drawdown: of what was held"
        assert any(each.startswith(said) for each in found.assumptions)
    assert drawdowns == [60, 30]


def test_risk_in_money_has_eight_digits_and_money_all_of_its_own() -> None:
    assert money(1234.5) == "1234.50000000"
    assert money(-0.123456789) == "-0.12345679"
    assert money(Decimal("1.123456789100")) == "1.1234567891"
    assert money(None) is None
    found = as_json(valued(BOOK, MARKS))
    for name in ("value_at_risk", "expected_shortfall", "drawdown"):
        assert re.fullmatch(r"[0-9]+\.[0-9]{8}", found[name])


CRASH = Stress("crash", {"BTC": Decimal("-0.5")})


def test_a_stress_test_is_unknown_without_a_mark_and_its_value_without_one_of_cash() -> None:
    [unmarked] = valued(replace(BOOK, stress=(CRASH,)), {"BTC-USD": MARKS["BTC-USD"]}).stress
    assert (unmarked.profit_and_loss, unmarked.closing_cost, unmarked.value) == (None, None, None)
    foreign = replace(BOOK, stress=(CRASH,), cash={"EUR": Decimal(1)}, pairs={**BOOK.pairs, "EUR": "EUR-USD"})
    [found] = valued(foreign, MARKS).stress
    assert (found.profit_and_loss, found.closing_cost, found.value) == (Decimal(-100 - 3), Decimal(3), None)


def test_a_range_without_a_known_minute_has_no_risk_and_no_drawdown() -> None:
    ranges = {"BTC-USD": range_of([math.nan] * 5)}
    found = value_portfolio(portfolio(("BTC", "2"), risk=NORMAL), 1, AS_OF, MarketData(MARKS, {}, ranges))
    assert (found.value_at_risk, found.drawdown) == (None, None)
    assert found.reasons["drawdown"] == "in no minute of the range are all prices known"
    few = "2 minutes in which all pairs have returns are needed, there are 0"
    assert found.reasons["value_at_risk"] == few


def test_the_json_of_a_position_has_its_mark_and_where_it_is_from() -> None:
    traded = replace(MARKS["BTC-USD"], kafka_partition=3, kafka_offset=70)
    btc, _, usdt = as_json(valued(BOOK, MARKS | {"BTC-USD": traded}))["positions"]
    assert (
        btc
        | {
            "asset": "BTC",
            "pair": "BTC-USD",
            "quantity": "2",
            "cost": "90",
            "state": "marked",
            "bid": "99",
            "ask": "101",
            "bid_size": "1.5",
            "ask_size": "9",
            "quoted_at": "2026-07-01T12:00:29Z",
            "kafka_partition": 3,
            "kafka_offset": 70,
            "age_s": 1.0,
            "mark": "99",
            "value": "198",
            "value_at_mid": "200",
            "share": 200 / 350,
            "profit_and_loss": "18",
            "profit_and_loss_today": None,
            "closing_cost": "2",
            "touch_size": "1.5",
            "notes": ["the bid takes only 1.5: closing costs more"],
        }
        == btc
    )
    nothing = (
        *("pair", "cost", "bid", "ask", "bid_size", "ask_size", "quoted_at", "kafka_partition"),
        *("kafka_offset", "age_s", "profit_and_loss", "volatility", "touch_size"),
    )
    assert usdt == dict.fromkeys(nothing) | {
        "asset": "USDT",
        "quantity": "50",
        "state": "par",
        "mark": "1",
        "value": "50",
        "value_at_mid": "50",
        "share": 50 / 350,
        "profit_and_loss_today": "0",
        "value_at_risk": "0.00000000",
        "component_value_at_risk": "0.00000000",
        "closing_cost": "0",
        "notes": ["counts as USD at 1"],
    }


def test_the_json_of_stress_tests_and_limits() -> None:
    found = as_json(valued(replace(BOOK, stress=(CRASH,), limits=(limit("gross", "400"),)), MARKS))
    assert found["stress"] == [
        {
            "name": "crash",
            "shocks": {"BTC": -0.5},
            "profit_and_loss": "-103",
            "closing_cost": "3",
            "value": "1047",
        }
    ]
    assert found["limits"] == [
        {"name": "limit.gross", "limit": "400", "value": 350.0, "use": 0.875, "state": "warn"}
    ]
