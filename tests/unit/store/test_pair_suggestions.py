"""Which stored pair was meant: one whose base currency is spelled alike, not any in the same currency."""

from __future__ import annotations

import pytest

from cryptometrics.store.pair_suggestions import did_you_mean

STORED = ["AR-USDC", "BTC-EUR", "BTC-USDC", "DOGE-USDC", "ETH-USDC", "SHIB-USDC", "SOL-USDC"]


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        (["BTX-USDC"], " (did you mean BTC-USDC?)"),
        (["SHB-USDC"], " (did you mean SHIB-USDC?)"),
        (["BTC-USDT"], " (did you mean BTC-USDC, BTC-EUR?)"),
        (["SHB-USDC", "DOG-USDC"], " (did you mean SHIB-USDC, DOGE-USDC?)"),
        (["ZZZ-USDC"], ""),
        (["OP-USDC"], ""),
        (["XYZ-JPY"], ""),
    ],
)
def test_only_a_pair_that_is_spelled_alike_is_suggested(typed: list[str], hint: str) -> None:
    assert did_you_mean(typed, STORED) == hint
