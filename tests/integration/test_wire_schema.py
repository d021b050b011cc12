"""What both feeds make of a live exchange, its faults included, agrees with the published schemas."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from cryptometrics.feeds.coinbase.advanced.feed import AdvancedFeed
from cryptometrics.feeds.coinbase.exchange.feed import ExchangeFeed
from cryptometrics.market.gap_records import GapKind
from tests.fakes.advanced import FakeAdvanced
from tests.fakes.coinbase import FakeCoinbase, Faults
from tests.integration.test_fake_coinbase import LIMIT_S, listen
from tests.wire_contract import check

if TYPE_CHECKING:
    from cryptometrics.feeds.coinbase.feed import CoinbaseFeed

PAIRS = ["BTC-USD", "ETH-USD"]
FAULTS = Faults(drop=0.02, duplicate=0.02, reorder=0.02, unknown=0.02)


@pytest.mark.parametrize("book", [False, True], ids=["tickers", "book"])
@pytest.mark.parametrize(
    ("fake", "feed_type"),
    [(FakeCoinbase, ExchangeFeed), (FakeAdvanced, AdvancedFeed)],
    ids=["exchange", "advanced"],
)
def test_the_schemas_agree_on_what_a_feed_makes(
    fake: type[FakeCoinbase], feed_type: type[CoinbaseFeed], book: bool
) -> None:
    feed = feed_type(PAIRS, book=book)
    outcomes: Counter[str] = Counter()
    with fake(PAIRS, rate=500, faults=FAULTS, never_traded=["ETH-USD"]) as server, listen(server) as client:
        for request in feed.subscriptions(PAIRS):
            client.send(request)
        while outcomes["tick"] < 200:
            frame = client.recv(LIMIT_S, decode=False)
            for message in feed.take(frame, time.time()):
                outcomes[check(*message, datetime.now(UTC))] += 1
    now = time.time()
    messages = [*feed.lost(PAIRS, GapKind.DOWN, now), *feed.end(now)]
    outcomes.update(check(*message, datetime.now(UTC)) for message in messages)
    assert outcomes["gap"] >= 3  # start, what was missed, end
