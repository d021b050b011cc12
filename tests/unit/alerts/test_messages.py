"""Numbers in the messages of alerts."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from cryptometrics.alerts.messages import condition, duration, figure, message, price, ratio, unknown
from cryptometrics.alerts.meters import Prices
from cryptometrics.alerts.rules import parse
from cryptometrics.market.venues import Market

BTC = Market("coinbase", "BTC-USD")
MOVE = """
[[rule]]
name = "move"
kind = "mid_move_pct"
level = 2
within = "1m"
for = "10s"
resolve_below = 1.5
"""


@pytest.mark.parametrize(
    ("value", "text", "signed"),
    [
        ("0", "0", "0"),
        ("0.0012345", "0.00123", "+0.00123"),
        ("2.3149", "2.31", "+2.31"),
        ("-2.3149", "-2.31", "−2.31"),
        ("-0.5", "-0.5", "−0.5"),
        ("33.333333", "33.3", "+33.3"),
        ("250", "250", "+250"),
        ("999.6", "1,000", "+1,000"),
        ("12345.6", "12,346", "+12,346"),
    ],
)
def test_ratios_have_three_digits(value: str, text: str, signed: str) -> None:
    assert ratio(Decimal(value)) == text
    assert ratio(Decimal(value), signed=True) == signed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("64870", "64,870"),
        ("64870.1250", "64,870.12"),
        ("0.000012345678", "0.00001234568"),
        ("1E+6", "1,000,000"),
    ],
)
def test_prices_have_seven_digits(value: str, text: str) -> None:
    assert price(Decimal(value)) == text


@pytest.mark.parametrize(
    ("second", "firing", "text"),
    [
        ("63372", True, "−2.31 % in 1m (64,870 → 63,372), above 2 % for 10s"),
        ("66368", True, "+2.31 % in 1m (64,870 → 66,368), above 2 % for 10s"),
        ("64221.3", False, "−1 % in 1m (64,870 → 64,221.3), not above 1.5 %"),
    ],
)
def test_a_move_has_its_sign_both_prices_and_the_time(second: str, firing: bool, text: str) -> None:
    (rule,) = parse(MOVE)
    prices = Prices(Decimal(64_870), Decimal(second))
    assert message(rule, BTC, abs(prices.change), prices, firing=firing) == f"BTC-USD (coinbase): {text}"


def test_an_unknown_figure_has_its_range_and_the_reason() -> None:
    (rule,) = parse(
        '[[rule]]\nname = "v"\nkind = "volatility_pct"\nlevel = 1\nrange = "1h"\nmin_coverage = 0.75\n'
    )
    what = "BTC-USD (coinbase): volatility over 1h"
    assert unknown(rule, BTC, 0.5, firing=True) == f"{what} is unknown: coverage is 50 %, below 75 %"
    assert unknown(rule, BTC, 0.75, firing=True) == f"{what} is unknown: there are too few returns"
    assert unknown(rule, BTC, 0.8123, firing=False) == f"{what} is known again, coverage is 81.2 %"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.9, "0s"), (59, "59s"), (60, "1m"), (3599, "59m59s"), (3600, "1h"), (90061, "25h1m1s")],
)
def test_durations_are_written_as_in_the_file(seconds: float, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(("level", "text"), [("25.00", "25"), ("0.1234567", "0.123457"), ("1E+3", "1000")])
def test_levels_have_at_most_six_digits(level: str, text: str) -> None:
    assert figure(Decimal(level)) == text


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ('kind = "gap"', "gap"),
        ('kind = "gap"\nlevel = 3', "gap above 3"),
        ('kind = "stale"\nfor = "30s"', "stale for 30s"),
        ('kind = "spread_bps"\nlevel = 0', "spread_bps above 0"),
        ('kind = "drawdown_pct"\nlevel = 5', "drawdown_pct above 5 over 24h"),
        (
            'kind = "mid_move_pct"\nlevel = 2\nwithin = "1m"\nfor = "10s"\nresolve_below = 1.5',
            "mid_move_pct above 2 within 1m for 10s, resolves at 1.5",
        ),
    ],
)
def test_a_condition_says_only_what_the_rule_has(rule: str, text: str) -> None:
    assert condition(*parse(f'[[rule]]\nname = "x"\n{rule}\n')) == text


def test_a_gap_of_unknown_size_says_so() -> None:
    (rule,) = parse('[[rule]]\nname = "gap"\nkind = "gap"\n')
    assert message(rule, BTC, None, firing=True).endswith("the feed missed an unknown number of trades")
    assert message(rule, BTC, Decimal(12_345), firing=True).endswith("the feed missed 12,345 trades")
