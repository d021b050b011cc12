"""The table of kinds: an entry is complete, and a new one needs nothing else."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from cryptometrics.alerts.evaluator import Evaluator, StoredStates
from cryptometrics.alerts.kinds import KINDS, OnQuotes, RuleKind
from cryptometrics.alerts.messages import condition, message
from cryptometrics.alerts.meters import Meter, Prices
from cryptometrics.alerts.observed_ticks import Quote, TickRun
from cryptometrics.alerts.rules import example, parse
from cryptometrics.market.venues import Market

if TYPE_CHECKING:
    from datetime import timedelta

RULES = {rule.kind: rule for rule in parse(example())}
ONE = Decimal(1)
BTC = Market("coinbase", "BTC-USD")


class Spread(Meter):
    def __init__(self, within: timedelta) -> None:
        assert not within

    def measure(self, quote: Quote) -> Decimal:
        return quote.spread

    def prices(self, quote: Quote) -> Prices:
        return Prices(quote.bid, quote.ask)

    def stays_below(self, run: TickRun, level: float) -> bool:
        return run.widest < level


def parts() -> dict[str, Any]:
    return {
        "source": OnQuotes(Spread),
        "required": ("level",),
        "optional": ("pairs",),
        "firing": "spread is {value} ({first} / {second})",
        "resolved": "spread is {value} again",
    }


@pytest.mark.parametrize("part", [field.name for field in fields(RuleKind)])
def test_an_entry_needs_every_part(part: str) -> None:
    incomplete = {name: value for name, value in parts().items() if name != part}
    with pytest.raises(TypeError, match=part):
        RuleKind(**incomplete)


def test_a_message_with_an_unknown_field_is_refused_at_once() -> None:
    with pytest.raises(KeyError, match="valeu"):
        RuleKind(**parts() | {"resolved": "spread is {valeu}"})


def test_a_new_kind_is_measured_and_worded_as_its_entry_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "spread", RuleKind(**parts()))
    evaluator = Evaluator(parse('[[rule]]\nname = "wide"\nkind = "spread"\nlevel = 2\n'))
    evaluator.load(BTC, 0, StoredStates(None, {}))
    now = datetime(2026, 7, 1, tzinfo=UTC)
    for offset, spread in enumerate(map(Decimal, (2, 3, 1))):
        evaluator.quote(Quote(BTC, now, ONE, ONE + spread, ONE, spread, "", ONE, ONE, 0, offset))
    transitions, _ = evaluator.take()
    assert [each.message for each in transitions] == [
        "BTC-USD (coinbase): spread is 3 (1 / 4)",
        "BTC-USD (coinbase): spread is 1 again",
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("firing", [True, False])
def test_each_kind_has_its_words(kind: str, *, firing: bool) -> None:
    prices = Prices(Decimal(64_870), Decimal(63_372))
    text = message(RULES[kind], BTC, Decimal("1234.5"), prices, firing=firing)
    assert text.startswith("BTC-USD (coinbase): ")
    shown = "1,234" in text or "−2.31 % in 1m (64,870 → 63,372)" in text or "−2.31 % from" in text
    assert shown or text == "BTC-USD (coinbase): ticks arrive again"
    assert condition(RULES[kind]).startswith(kind)
