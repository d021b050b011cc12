"""Minutes put together from parts are those of all rows at once, and exact for numbers of any size."""

from __future__ import annotations

import contextlib
from decimal import Decimal, localcontext
from typing import NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.verify.findings import TopicPartition
from cryptometrics.verify.minute_sums import MINUTE_US, MinuteSums, spread_bps
from cryptometrics.verify.pair_rows import MarketKey, PairRows

MARKET = MarketKey("simulated", "BTC-USD")


class Row(NamedTuple):
    """A stored row: bid and spread in units of 10,000 ** -1."""

    time: int
    partition: int
    bid: int
    spread: int
    size: int | None


rows_of_some_minutes = st.lists(
    st.builds(
        Row,
        time=st.integers(0, 4 * MINUTE_US),
        partition=st.integers(0, 1),
        bid=st.integers(1, 10**9) | st.integers(1, 10**22),
        spread=st.integers(0, 100).map(lambda half: 2 * half),
        size=st.none() | st.integers(0, 10**6),
    ),
    min_size=1,
    max_size=40,
)


def pair_rows(rows: list[Row], first_offset: int, places: int) -> PairRows:
    """Return rows of one partition, with prices in units of 10,000 ** -places."""

    def exact(numbers: list[int]) -> np.ndarray:
        scaled = [number * 10_000 ** (places - 1) for number in numbers]
        return np.array(scaled, np.int64 if max(scaled) < 2**60 else object)

    count = len(rows)
    bid, ask = exact([row.bid for row in rows]), exact([row.bid + row.spread for row in rows])
    middle = exact([row.bid + row.spread // 2 for row in rows])
    has_size = np.array([row.size is not None for row in rows])
    size = np.array([row.size or 0 for row in rows], np.int64)
    none = np.full(count, -(2**63))
    return PairRows(
        market=MARKET,
        partition=TopicPartition("t", rows[0].partition),
        era=1,
        offsets=np.arange(first_offset, first_offset + count),
        times=np.array([row.time for row in rows]),
        recorded=none,
        series=none,
        names=[],
        trade_ids=none,
        highest_before=none,
        sessions=[("day", slice(None))],
        is_before_sizes=np.zeros(count, np.bool_),
        places=places,
        bid=bid,
        ask=ask,
        mid_price=middle,
        spread=ask - bid,
        highest_bid=bid,
        lowest_ask=ask,
        max_spread=ask - bid,
        size_places=1,
        bid_size=size,
        ask_size=size,
        has_bid_size=has_size,
        has_ask_size=has_size,
    )


@given(rows_of_some_minutes, st.integers(1, 10))
def test_parts_of_minutes_are_put_together(rows: list[Row], length: int) -> None:
    rows.sort(key=lambda row: row.partition)
    true: dict[int, list[tuple[int, int, int, Row]]] = {}
    with contextlib.closing(MinuteSums()) as sums:
        for number, begin in enumerate(range(0, len(rows), length)):
            for partition in (0, 1):
                part = [row for row in rows[begin : begin + length] if row.partition == partition]
                if part:
                    sums.add(pair_rows(part, 100 * number, places=1 + number % 2))
                for at, row in enumerate(part):
                    start = row.time // MINUTE_US * MINUTE_US
                    true.setdefault(start, []).append((row.time, partition, 100 * number + at, row))
        found = sums.of(MARKET)
    assert found is not None
    unit = 10_000 ** (found.places - 1)
    assert found.starts.tolist() == sorted(true)
    for at, start in enumerate(sorted(true)):
        of_minute = sorted(true[start], key=lambda each: each[:3])
        quotes = [row for *_, row in of_minute]
        middle = [(row.bid + row.spread // 2) * unit for row in quotes]
        sizes = [row.size for row in quotes if row.size is not None]
        assert (found.ticks[at], found.sized_ticks[at]) == (len(quotes), len(sizes))
        assert (found.open[at], found.close[at]) == (middle[0], middle[-1])
        assert (found.open_at[at], found.open_partition[at], found.open_offset[at]) == of_minute[0][:3]
        assert (found.close_at[at], found.close_partition[at], found.close_offset[at]) == of_minute[-1][:3]
        assert (found.high[at], found.low[at]) == (max(middle), min(middle))
        assert found.highest_bid[at] == max(row.bid for row in quotes) * unit
        assert found.lowest_ask[at] == min(row.bid + row.spread for row in quotes) * unit
        assert found.max_spread[at] == max(row.spread for row in quotes) * unit
        assert found.spread_sum[at] == sum(row.spread for row in quotes) * unit
        assert (found.bid_size_sum[at], found.ask_size_sum[at]) == (sum(sizes), sum(sizes))
        assert found.is_sized[at]


whole = st.integers(1, 10**6) | st.integers(1, 10**15) | st.integers(1, 10**30)


@given(st.lists(st.tuples(whole, whole), min_size=1, max_size=10))
def test_spreads_in_basis_points_are_rounded_half_up(quotes: list[tuple[int, int]]) -> None:
    bids, asks = [min(quote) for quote in quotes], [max(quote) for quote in quotes]
    kind = np.int64 if max(asks) < 2**60 else object
    found = spread_bps(np.array(bids, kind), np.array(asks, kind)).tolist()
    with localcontext(prec=100):
        for bid, ask, bps in zip(bids, asks, found, strict=True):
            true = Decimal(ask - bid) / (Decimal(ask + bid) / 2) * 10_000
            assert bps == int((true * 10**8).to_integral_value("ROUND_HALF_UP"))


def test_a_spread_of_damaged_prices_has_a_value() -> None:
    assert spread_bps(np.array([0, -5]), np.array([0, 3])).tolist()[0] == 0
