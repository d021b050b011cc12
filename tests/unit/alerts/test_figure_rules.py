"""Rules about risk figures: minute by minute, and what is unknown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from cryptometrics.alerts.figure_rules import FigureRules, ObservedFigure
from cryptometrics.alerts.kinds import KINDS, owner_of
from cryptometrics.alerts.rules import parse
from cryptometrics.alerts.toml_lines import RulesError
from cryptometrics.market.venues import Market

if TYPE_CHECKING:
    from cryptometrics.alerts.rule_state import SavedState

BTC = Market("coinbase", "BTC-USD")
START = datetime(2026, 7, 1, 12, tzinfo=UTC)
DRAWDOWN = '[[rule]]\nname = "fall"\nkind = "drawdown_pct"\nrange = "1h"\nlevel = 5\ncooldown = "0s"\n'
STEADY = DRAWDOWN + 'resolve_below = 4\nfor = "2m"\n'


class Minutes:
    """Feeds minutes of BTC-USD to a rule, with a restart from what is stored after each one."""

    def __init__(self, text: str) -> None:
        self._rules = parse(text)
        self._saved: dict[tuple[str, Market], SavedState] = {}
        self._at = START
        self.messages: list[str] = []

    def next(
        self, value: float | None, coverage: float = 1.0, *, range_name: str = "1h", is_young: bool = False
    ) -> list[bool]:
        """Evaluate one more minute; return for each transition whether an alert fires."""
        self._at += timedelta(minutes=1)
        rules = FigureRules(self._rules, self._saved)
        values = dict.fromkeys(
            ("volatility", "volatility_ewma", "drawdown", "value_at_risk", "expected_shortfall"), value
        )
        rules.evaluate(ObservedFigure(BTC, range_name, self._at, coverage, values, is_young))
        transitions, changed = rules.take()
        self._saved |= changed
        self.messages += [each.message for each in transitions]
        return [each.firing for each in transitions]

    @property
    def state(self) -> str:
        return self._saved["fall", BTC].state


def test_an_alert_fires_after_for_and_resolves_with_figures_in_its_messages() -> None:
    minutes = Minutes(STEADY)
    assert minutes.next(0.04) == []
    assert minutes.next(0.06) == []
    assert minutes.next(0.07) == []
    assert minutes.next(0.0812) == [True]
    assert minutes.next(0.09) == minutes.next(0.045) == []
    assert minutes.next(0.0399) == [False]
    assert minutes.messages == [
        "BTC-USD (coinbase): price −8.12 % from its highest of 1h, above 5 % for 2m",
        "BTC-USD (coinbase): price −3.99 % from its highest of 1h, not above 4 %",
    ]


def test_what_did_not_change_is_not_stored_again() -> None:
    rules = FigureRules(parse(DRAWDOWN), {})
    stored = []
    for minute, drawdown in enumerate((0.01, 0.06, 0.07, 0.01, 0.02)):
        at = START + timedelta(minutes=minute)
        rules.evaluate(ObservedFigure(BTC, "1h", at, 1.0, {"drawdown": drawdown}))
        _, changed = rules.take()
        stored.append([state.state for state in changed.values()])
    assert stored == [[], ["firing"], [], ["inactive"], []]


def test_a_coverage_at_the_minimum_is_enough_and_no_market_is_young_unless_it_says_so() -> None:
    rules = FigureRules(parse(DRAWDOWN + "min_coverage = 0.75\n"), {})
    for minute, coverage in enumerate((0.75, 0.7499)):
        at = START + timedelta(minutes=minute)
        rules.evaluate(ObservedFigure(BTC, "1h", at, coverage, {"drawdown": 0.01}))
    assert [(each.at, each.firing) for each in rules.take()[0]] == [(at, True)]


def test_an_alert_that_was_unknown_for_a_while_began_when_that_did() -> None:
    rules = FigureRules(parse(STEADY), {})
    for minute, drawdown in enumerate((0.06, 0.06, 0.06, None, None, 0.06, 0.01)):
        at = START + timedelta(minutes=minute)
        rules.evaluate(ObservedFigure(BTC, "1h", at, 1.0, {"drawdown": drawdown}))
    resolved = rules.take()[0][-1]
    assert (resolved.firing, resolved.since, resolved.at) == (False, START + timedelta(minutes=3), at)


def test_other_ranges_are_not_evaluated() -> None:
    assert Minutes(DRAWDOWN).next(0.5, range_name="24h") == []


def test_what_has_not_happened_yet_is_unknown_without_an_alert() -> None:
    minutes = Minutes(STEADY)
    for _ in range(10):
        assert minutes.next(None, 0.5, is_young=True) == []
        assert minutes.state == "unknown"
    assert minutes.next(None, 0.5) == [True]  # by now it should be known
    assert minutes.next(0.01, 0.9) == [False]


def test_low_coverage_makes_the_state_unknown_and_an_alert_says_so_after_for() -> None:
    minutes = Minutes(STEADY)
    assert minutes.next(0.5, 0.5) == []
    assert minutes.state == "unknown"
    assert minutes.next(0.5, 0.5) == []
    assert minutes.next(0.5, 0.5) == [True]
    assert minutes.next(0.5, 0.5) == []
    assert minutes.next(0.01, 0.8) == [False]
    assert minutes.state == "inactive"
    assert minutes.messages == [
        "BTC-USD (coinbase): drawdown over 1h is unknown: coverage is 50 %, below 80 %",
        "BTC-USD (coinbase): drawdown over 1h is known again, coverage is 80 %",
    ]


def test_a_figure_without_a_value_is_unknown_too() -> None:
    minutes = Minutes(DRAWDOWN)
    assert minutes.next(None) == [True]
    assert minutes.messages[0].endswith("drawdown over 1h is unknown: there are too few returns")


def test_a_short_time_of_unknown_keeps_the_alert_that_fires() -> None:
    minutes = Minutes(STEADY)
    assert [minutes.next(0.09) for _ in range(3)] == [[], [], [True]]
    assert minutes.next(0.09, 0.1) == []
    assert minutes.state == "unknown"
    assert minutes.next(0.09) == []
    assert minutes.state == "firing"
    assert minutes.next(0.01) == [False]


def test_a_long_one_ends_it_and_says_why() -> None:
    minutes = Minutes(STEADY)
    assert [minutes.next(0.09) for _ in range(3)] == [[], [], [True]]
    assert [minutes.next(None, 0.1) for _ in range(3)] == [[], [], [False, True]]
    assert minutes.messages[-2] == minutes.messages[-1]
    assert "is unknown: coverage is 10 %, below 80 %" in minutes.messages[-1]


def test_the_estimator_chooses_the_column() -> None:
    text = '[[rule]]\nname = "fall"\nkind = "volatility_pct"\nlevel = 50\n'
    assert parse(text)[0].figure == "volatility"
    (rule,) = parse(text + 'estimator = "ewma"\n')
    assert rule.figure == "volatility_ewma"
    assert (rule.range, rule.min_coverage) == ("24h", Decimal("0.8"))


@pytest.mark.parametrize("kind", ["value_at_risk_pct", "expected_shortfall_pct"])
@pytest.mark.parametrize("range_name", ["15m", "1h", "7d"])
def test_value_at_risk_is_only_over_a_day(kind: str, range_name: str) -> None:
    with pytest.raises(RulesError) as error:
        parse(f'[[rule]]\nname = "x"\nkind = "{kind}"\nlevel = 1\nrange = "{range_name}"\n')
    (problem,) = error.value.problems
    assert (problem.line, problem.key, problem.what) == (5, "range", f"must be 24h for the kind {kind}")


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("min_coverage = 80", "min_coverage"),
        ('estimator = "parkinson"', "estimator"),
        ('range = "2h"', "range"),
    ],
)
def test_what_is_not_valid_is_named(line: str, key: str) -> None:
    with pytest.raises(RulesError) as error:
        parse(f'[[rule]]\nname = "x"\nkind = "volatility_pct"\nlevel = 1\n{line}\n')
    assert [(problem.line, problem.key) for problem in error.value.problems] == [(5, key)]


def test_each_kind_has_one_owner() -> None:
    of_risk = {"volatility_pct", "drawdown_pct", "value_at_risk_pct", "expected_shortfall_pct"}
    assert {kind for kind in KINDS if owner_of(kind) == "risk"} == of_risk
    assert owner_of("of_another_version") == "process"
