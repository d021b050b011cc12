"""Limits as rules: one open alert per limit, whatever the states are, and what a person is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.alerts.kinds import LIMIT, LIMIT_PREFIX, owner_of
from cryptometrics.alerts.limit_rules import LimitRules, ObservedLimits
from cryptometrics.alerts.rules import parse
from cryptometrics.alerts.toml_lines import RulesError
from cryptometrics.market.venues import Market
from cryptometrics.risk.portfolio.definition import Limit, limit_name
from cryptometrics.risk.portfolio.limits import LimitUse, use_of_limit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptometrics.alerts.rule_state import SavedState, Transition

TREASURY = Market("coinbase", "treasury")
START = datetime(2026, 7, 1, 12, tzinfo=UTC)
WARN_AT = 0.8
UNKNOWN = None
NO_MARK = "BTC has no mark that counts"
GROSS = Limit("limit.gross", "gross", Decimal(2_000_000))
OF_BTC = Limit("limit.of.BTC.gross", "gross", Decimal(1_000_000), "BTC")
AT_RISK = Limit("limit.value_at_risk_pct", "value_at_risk_pct", Decimal(5))


def used(limit: Limit, value: float | None, *, nothing_held: bool = False) -> LimitUse:
    return use_of_limit(limit, value, warn_at=WARN_AT, nothing_held=nothing_held, reason=NO_MARK)


class Minutes:
    """Feeds minutes of portfolios to their limits, with a restart from what is stored after each one."""

    def __init__(self) -> None:
        self.saved: dict[tuple[str, Market], SavedState] = {}
        self.at = START
        self.transitions: list[Transition] = []

    def next(self, *uses: LimitUse, portfolio: Market = TREASURY) -> list[tuple[str, str, str]]:
        """Evaluate one more minute; return rule, what happens and severity of each transition."""
        self.at += timedelta(minutes=1)
        rules = LimitRules(self.saved)
        rules.evaluate(ObservedLimits(portfolio, self.at, "USD", WARN_AT, uses))
        return self._take(rules)

    def end(self, portfolio: Market = TREASURY) -> list[tuple[str, str, str]]:
        """Remove a portfolio."""
        rules = LimitRules(self.saved)
        rules.end(portfolio, self.at)
        return self._take(rules)

    def _take(self, rules: LimitRules) -> list[tuple[str, str, str]]:
        transitions, changed = rules.take()
        assert rules.take() == ([], {})
        self.saved |= changed
        self.transitions += transitions
        return [
            (each.rule.name, "fires" if each.firing else "resolves", each.rule.severity)
            for each in transitions
        ]

    @property
    def messages(self) -> list[str]:
        return [each.message for each in self.transitions]


FIRES_WARNING = ("limit.gross", "fires", "warning")
RESOLVES_WARNING = ("limit.gross", "resolves", "warning")
FIRES_CRITICAL = ("limit.gross", "fires", "critical")
RESOLVES_CRITICAL = ("limit.gross", "resolves", "critical")


def test_a_warning_resolves_as_the_breach_opens_and_opens_again_as_that_resolves() -> None:
    minutes = Minutes()
    assert minutes.next(used(GROSS, 1_500_000)) == []
    assert minutes.next(used(GROSS, 1_700_000)) == [FIRES_WARNING]
    assert minutes.next(used(GROSS, 1_800_000)) == []
    assert minutes.next(used(GROSS, 2_104_311.2)) == [RESOLVES_WARNING, FIRES_CRITICAL]
    assert minutes.next(used(GROSS, 2_300_000)) == []
    assert minutes.next(used(GROSS, 1_900_000)) == [RESOLVES_CRITICAL, FIRES_WARNING]
    assert minutes.next(used(GROSS, 1_500_000)) == [RESOLVES_WARNING]
    assert minutes.next(used(GROSS, 1_500_000)) == []
    breach = "treasury gross 2,104,311.20 USD is above its limit of 2,000,000.00 (105 %)"
    fallen = "treasury gross 1,900,000.00 USD is above 80 % of its limit of 2,000,000.00 (95 %)"
    assert minutes.messages == [
        "treasury gross 1,700,000.00 USD is above 80 % of its limit of 2,000,000.00 (85 %)",
        *(breach, breach),
        *(fallen, fallen),
        "treasury gross 1,500,000.00 USD is below 80 % of its limit of 2,000,000.00 (75 %)",
    ]


def test_an_alert_has_the_minute_the_value_and_the_limit_that_caused_it() -> None:
    minutes = Minutes()
    minutes.next(used(GROSS, 1_700_000.25))
    minutes.next(used(GROSS, 2_104_311.2))
    (warning, resolved, breach) = minutes.transitions
    assert (warning.at, warning.since, warning.value) == (
        *[START + timedelta(minutes=1)] * 2,
        Decimal("1700000.25"),
    )
    assert (resolved.at, resolved.since) == (START + timedelta(minutes=2), START + timedelta(minutes=1))
    assert (breach.at, breach.since) == (START + timedelta(minutes=2),) * 2
    assert (breach.value, breach.rule.level, breach.rule.kind) == (
        Decimal("2104311.2"),
        Decimal(2_000_000),
        LIMIT,
    )
    assert {each.market for each in minutes.transitions} == {TREASURY}


def test_what_is_exactly_at_a_limit_has_reached_it() -> None:
    minutes = Minutes()
    assert minutes.next(used(GROSS, 1_600_000)) == [FIRES_WARNING]
    assert minutes.next(used(GROSS, 2_000_000)) == [RESOLVES_WARNING, FIRES_CRITICAL]
    assert minutes.messages[0] == (
        "treasury gross 1,600,000.00 USD is at 80 % of its limit of 2,000,000.00 (80 %)"
    )
    assert minutes.messages[2] == "treasury gross 2,000,000.00 USD is at its limit of 2,000,000.00 (100 %)"


def test_an_unknown_limit_is_an_alert_until_it_is_known_again() -> None:
    minutes = Minutes()
    assert minutes.next(used(GROSS, UNKNOWN)) == [FIRES_WARNING]
    assert minutes.saved["limit.gross", TREASURY].state == "unknown"
    assert minutes.transitions[0].value is None
    assert minutes.next(used(GROSS, UNKNOWN)) == []
    assert minutes.next(used(GROSS, 1_000_000)) == [RESOLVES_WARNING]
    assert minutes.saved["limit.gross", TREASURY].state == "inactive"
    assert minutes.messages == [
        f"treasury gross is unknown, its limit of 2,000,000.00 USD cannot be checked: {NO_MARK}",
        "treasury gross 1,000,000.00 USD is below 80 % of its limit of 2,000,000.00 (50 %)",
    ]


def test_a_breach_that_becomes_unknown_stays_critical() -> None:
    minutes = Minutes()
    assert minutes.next(used(GROSS, 3_000_000)) == [FIRES_CRITICAL]
    assert minutes.next(used(GROSS, UNKNOWN)) == [RESOLVES_CRITICAL, FIRES_CRITICAL]
    assert minutes.next(used(GROSS, UNKNOWN)) == []
    assert minutes.next(used(GROSS, 1_700_000)) == [RESOLVES_CRITICAL, FIRES_WARNING]
    assert minutes.next(used(GROSS, UNKNOWN)) == [RESOLVES_WARNING, FIRES_WARNING]


def test_limits_in_per_cent_and_of_one_asset_name_their_figures() -> None:
    minutes = Minutes()
    assert minutes.next(used(AT_RISK, 5.2345), used(OF_BTC, 900_000.5)) == [
        ("limit.value_at_risk_pct", "fires", "critical"),
        ("limit.of.BTC.gross", "fires", "warning"),
    ]
    assert minutes.next(used(AT_RISK, UNKNOWN), used(OF_BTC, 25_000_000)) == [
        ("limit.value_at_risk_pct", "resolves", "critical"),
        ("limit.value_at_risk_pct", "fires", "critical"),
        ("limit.of.BTC.gross", "resolves", "warning"),
        ("limit.of.BTC.gross", "fires", "critical"),
    ]
    assert minutes.messages[:2] == [
        "treasury value at risk 5.23 % of gross is above its limit of 5 % (105 %)",
        "treasury BTC gross 900,000.50 USD is above 80 % of its limit of 1,000,000.00 (90 %)",
    ]
    assert minutes.messages[3].startswith(
        "treasury value at risk is unknown, its limit of 5 % of gross cannot be checked: BTC"
    )
    assert minutes.messages[-1].endswith("25,000,000.00 USD is above its limit of 1,000,000.00 (2,500 %)")


def test_nothing_held_resolves_the_alert() -> None:
    minutes = Minutes()
    minutes.next(used(AT_RISK, 6.0))
    minutes.next(used(AT_RISK, None, nothing_held=True))
    assert minutes.messages[1] == "treasury value at risk: nothing is held"


def test_a_removed_limit_resolves_its_alert_and_leaves_the_others() -> None:
    minutes = Minutes()
    minutes.next(used(GROSS, 3_000_000), used(AT_RISK, 6.0))
    assert minutes.next(used(AT_RISK, 6.0)) == [RESOLVES_CRITICAL]
    assert minutes.messages[-1] == "treasury limit.gross: the limit was removed"
    assert minutes.next(used(GROSS, 3_000_000), used(AT_RISK, 6.0)) == [FIRES_CRITICAL]


def test_a_removed_portfolio_resolves_its_alerts_and_leaves_those_of_others() -> None:
    minutes, desk = Minutes(), Market("coinbase", "desk")
    minutes.next(used(GROSS, 3_000_000), used(OF_BTC, UNKNOWN))
    minutes.next(used(GROSS, 3_000_000), portfolio=desk)
    assert LimitRules(minutes.saved).open_portfolios() == {TREASURY, desk}
    assert minutes.end() == [RESOLVES_CRITICAL, ("limit.of.BTC.gross", "resolves", "warning")]
    assert LimitRules(minutes.saved).open_portfolios() == {desk}
    assert minutes.end() == []


def test_a_higher_limit_of_a_new_version_resolves_the_breach() -> None:
    minutes = Minutes()
    minutes.next(used(GROSS, 2_100_000))
    raised = Limit("limit.gross", "gross", Decimal(9_000_000))
    assert minutes.next(used(raised, 2_100_000)) == [RESOLVES_CRITICAL]
    assert minutes.messages[-1].endswith("is below 80 % of its limit of 9,000,000.00 (23.3 %)")


uses = st.one_of(st.none(), st.floats(0, 3_000_000))


@given(st.lists(st.tuples(uses, uses), max_size=40))
def test_each_limit_has_one_open_alert_that_states_its_state(
    values: list[tuple[float | None, float | None]],
) -> None:
    minutes = Minutes()
    open_alerts: dict[str, str] = {}
    for of_gross, of_btc in values:
        observed = used(GROSS, of_gross), used(OF_BTC, of_btc)
        before = len(minutes.transitions)
        minutes.next(*observed)
        for each in minutes.transitions[before:]:
            name = each.rule.name
            if each.firing:
                assert name not in open_alerts, "the one before has resolved"
                open_alerts[name] = each.message
            else:
                del open_alerts[name]  # only what is open resolves
        for use in observed:
            if use.state == "ok":
                assert use.limit.name not in open_alerts
            else:
                assert _says(open_alerts[use.limit.name], use)
    assert set(open_alerts) == _open(minutes.saved)


def _says(message: str, use: LimitUse) -> bool:
    signs: Mapping[str, bool] = {
        "unknown": "is unknown" in message,
        "warn": "80 % of its limit" in message,
        "breach": " its limit of " in message and "80 % of its" not in message and "unknown" not in message,
    }
    return signs[use.state]


def _open(saved: Mapping[tuple[str, Market], SavedState]) -> set[str]:
    return {name for (name, _), state in saved.items() if state.state != "inactive"}


@given(st.lists(uses, max_size=40), st.sets(st.integers(0, 39)))
def test_restarts_do_not_change_what_is_told(values: list[float | None], restarts: set[int]) -> None:
    told: list[list[tuple[bool, str]]] = []
    for restarting in (set(), restarts):
        saved: dict[tuple[str, Market], SavedState] = {}
        rules = LimitRules(saved)
        transitions: list[Transition] = []
        for minute, value in enumerate(values):
            if minute in restarting:
                rules = LimitRules(saved)
            at = START + timedelta(minutes=minute)
            rules.evaluate(ObservedLimits(TREASURY, at, "USD", WARN_AT, [used(GROSS, value)]))
            new, changed = rules.take()
            transitions += new
            saved |= changed
        told.append([(each.firing, each.message) for each in transitions])
    assert told[0] == told[1]


def test_limits_have_an_owner_of_their_own_and_no_rule_of_a_file_has_their_names() -> None:
    assert owner_of(LIMIT) == "limits"
    assert limit_name("gross", None).startswith(LIMIT_PREFIX)
    assert limit_name("gross", "BTC").startswith(LIMIT_PREFIX)
    with pytest.raises(RulesError, match=r"line 2: name: must not begin with limit\., as the limits of"):
        parse('[[rule]]\nname = "limit.mine"\nkind = "spread_bps"\nlevel = 1\n')
