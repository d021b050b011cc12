"""Parts come back by market and in order, also from the disk."""

from __future__ import annotations

import contextlib

import pytest

from cryptometrics.verify import market_parts
from cryptometrics.verify.market_parts import MarketParts
from cryptometrics.verify.pair_rows import MarketKey

FIRST, SECOND = MarketKey("a", "BTC-USD"), MarketKey("b", "BTC-USD")


@pytest.mark.parametrize("limit", [100, 10**6])
def test_parts_come_back_by_market(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(market_parts, "MAX_IN_MEMORY", limit)
    with contextlib.closing(MarketParts[list[int]]()) as parts:
        assert parts.markets == []
        assert parts.of(FIRST) == []
        for number in range(20):
            parts.add(SECOND if number % 3 else FIRST, [number] * 20)
            assert parts.of(FIRST)[0] == [0] * 20  # reading in between does no harm
        assert parts.markets == [FIRST, SECOND]
        assert [part[0] for part in parts.of(FIRST)] == list(range(0, 20, 3))
        assert sorted(part[0] for part in parts) == list(range(20))
