"""The overview of several portfolios: a line each, with the limit in the worst state."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from cryptometrics.cli.portfolio_table import show_overview, worst_limit
from cryptometrics.risk.portfolio.definition import Limit
from cryptometrics.risk.portfolio.limits import LimitState, LimitUse
from cryptometrics.risk.portfolio.valuation import MarketData, value_portfolio
from tests.unit.risk.portfolio.holdings import AS_OF, portfolio, quote

if TYPE_CHECKING:
    from collections.abc import Sequence


def use(figure: str, share: float | None, state: LimitState) -> LimitUse:
    return LimitUse(Limit(f"limit.{figure}", figure, Decimal(100)), share, share, state)


@pytest.mark.parametrize(
    ("uses", "worst"),
    [
        ([], None),
        ([use("gross", 0.2, "ok"), use("drawdown_pct", 0.5, "ok")], "drawdown_pct"),
        ([use("gross", 0.85, "warn"), use("drawdown_pct", None, "unknown")], "drawdown_pct"),
        ([use("gross", 1.1, "breach"), use("drawdown_pct", None, "unknown")], "gross"),
        ([use("gross", 1.1, "breach"), use("drawdown_pct", 1.4, "breach")], "drawdown_pct"),
    ],
)
def test_the_worst_limit_is_breached_before_unknown_and_then_the_most_used(
    uses: Sequence[LimitUse], worst: str | None
) -> None:
    found = worst_limit(uses)
    assert (found.limit.figure if found else None) == worst


def test_each_portfolio_has_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    held = portfolio(("BTC", "2", "90"), limits=(Limit("limit.gross", "gross", Decimal(100)),))
    marked = MarketData({"BTC-USD": quote("100", "102")}, {}, {})
    unmarked = MarketData({}, {}, {})
    show_overview(
        [
            value_portfolio(held, 1, AS_OF, marked),
            value_portfolio(replace(held, name="other", limits=()), 1, AS_OF, unmarked),
        ]
    )
    head, book, other = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["portfolio", "value", "in", "P&L"]
    assert book.split() == ["book", "200.00", "USD", "20.00", "–", "–", "–", "gross", "202", "%", "breach"]
    assert other.split() == ["other", "–", "USD", "–", "–", "–", "–", "–", "–", "–"]
