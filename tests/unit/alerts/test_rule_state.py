"""The state of one rule: what is stored of it, and the clock that is set back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from cryptometrics.alerts.rule_state import RuleState, SavedState
from cryptometrics.alerts.rules import parse
from cryptometrics.market.venues import Market

START = datetime(2026, 7, 1, 12, tzinfo=UTC)
BTC = Market("coinbase", "BTC-USD")
(RULE,) = parse('[[rule]]\nname = "wide"\nkind = "spread_bps"\nlevel = 25\ncooldown = "20s"\n')


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (SavedState("inactive", None, None, None), SavedState("inactive", None, None, None)),
        (SavedState("inactive", None, at(50), None), SavedState("inactive", None, at(30), None)),
        (SavedState("pending", at(50), at(10), None), SavedState("pending", at(30), at(10), None)),
        (SavedState("firing", at(20), at(60), None), SavedState("firing", at(20), at(30), None)),
    ],
)
def test_nothing_of_a_clock_that_is_set_back_stays_in_the_future(
    before: SavedState, after: SavedState
) -> None:
    state = RuleState(RULE, BTC, before)
    assert state.saved() == before
    state.rewind(at(30))
    assert state.saved() == after


def test_the_value_of_an_alert_has_twelve_digits() -> None:
    news = RuleState(RULE, BTC).update(START, Decimal("1234.567890123456"), 3, 7)
    assert news is not None
    assert (news.value, news.partition, news.offset) == (Decimal("1234.56789012"), 3, 7)


def test_an_alert_that_resolves_before_it_began_resolves_as_it_began() -> None:
    state = RuleState(RULE, BTC, SavedState("firing", at(10), None, None))
    news = state.resolve(at(5), None, 3, 7)
    assert (news.since, news.at, news.firing) == (at(10), at(10), False)
    assert state.saved() == SavedState("inactive", None, at(10), None)
    assert [state.cooled_down(at(second)) for second in (29.9, 30)] == [False, True]
