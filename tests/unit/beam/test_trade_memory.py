"""What a reader remembers of trades, and that it stays as small as it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.beam.trade_memory import MAX_TRADE_TIMES, TradeMemory, Trades
from cryptometrics.market.trade_ids import TradeIds
from cryptometrics.market.venues import Market

MARKETS = [Market("simulated", "BTC-USD"), Market("coinbase", "BTC-USD"), Market("coinbase", "ETH-EUR")]


def keep(memory: TradeMemory, market: Market, trades: list[tuple[int, int]]) -> None:
    ids = TradeIds(str(memory.known(market).ids), memory.known(market).ids.floor)
    for trade_id, _ in trades:
        ids.add(trade_id)
    memory.keep(market, Trades(ids, trades))


@given(
    st.lists(
        st.tuples(st.sampled_from(MARKETS), st.lists(st.tuples(st.integers(0, 50), st.integers(-5, 2**62)))),
        max_size=5,
    )
)
def test_what_is_packed_is_remembered(news: list[tuple[Market, list[tuple[int, int]]]]) -> None:
    memory = TradeMemory()
    for market, trades in news:
        keep(memory, market, trades)
        restored = TradeMemory(memory.packed())
        for each in MARKETS:
            known, again = memory.known(each), restored.known(each)
            assert (str(again.ids), again.times) == (str(known.ids), known.times)
        assert sorted(restored.packed()) == sorted(memory.packed())


def test_its_size_does_not_grow_with_what_was_read() -> None:
    memory = TradeMemory()
    sizes = []
    for first in range(10**9, 10**9 + 20 * MAX_TRADE_TIMES, MAX_TRADE_TIMES):
        keep(memory, MARKETS[0], [(trade_id, trade_id * 1_000) for trade_id in range(first, first + 1_000)])
        sizes.append(sum(map(len, memory.packed())))
    assert set(sizes) == {sizes[0]}
    assert sizes[0] < 17_000
    assert 10**9 in memory.known(MARKETS[0]).ids
    assert 10**9 not in memory.known(MARKETS[0]).times
