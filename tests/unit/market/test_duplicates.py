"""Duplicates and late ticks: the rule, told one tick at a time, gives what the columns say."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.market.duplicates import TradeKey, keys, keys_in, mark
from cryptometrics.market.trade_ids import MAX_RANGES, TradeIds
from cryptometrics.market.venues import Market
from tests.tables import decode_messages

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cryptometrics.market.table import TickTable

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
Sent = tuple[str, int | None, int]
"""Pair, trade id, and second."""


def table_of(stream: Sequence[Sent]) -> TickTable:
    messages = []
    for pair, trade_id, second in stream:
        fields = {"type": "ticker", "product_id": pair, "best_bid": "1", "best_ask": "2"}
        at = (NOW + timedelta(seconds=second)).isoformat()
        messages.append((pair.encode(), json.dumps(fields | {"time": at, "trade_id": trade_id}).encode()))
    table, rejected = decode_messages(messages, NOW)
    assert not rejected
    return table


class Reader:
    """Marks one table after the other, as a worker does, and keeps what it has seen."""

    def __init__(self) -> None:
        self.trades: dict[Market, TradeIds] = {}
        self.seen: set[TradeKey] = set()
        self.asked: list[set[TradeKey]] = []

    def read(self, *stream: Sent) -> tuple[list[bool], list[bool]]:
        """Return which of these ticks are duplicates, and which are late."""
        table = table_of(stream)
        mark(table.by_pair(), lambda ticks: self.trades.setdefault(ticks.market, TradeIds()), self._before)
        self.seen |= {key for ticks in table.by_pair() for key in keys(ticks)}
        return table.duplicate.tolist(), table.late.tolist()

    def _before(self, wanted: Collection[TradeKey]) -> set[TradeKey]:
        self.asked.append(set(wanted))
        return self.seen & set(wanted)


def expected(stream: Sequence[Sent]) -> tuple[list[bool], list[bool]]:
    """Return the same, tick by tick."""
    seen: set[Sent] = set()
    highest: dict[str, int] = {}
    duplicate, late = [], []
    for sent in stream:
        pair, trade_id, _ = sent
        known = trade_id is not None and sent in seen
        duplicate.append(known)
        late.append(trade_id is not None and not known and trade_id < highest.get(pair, -1))
        seen.add(sent)
        highest[pair] = max(highest.get(pair, -1), -1 if trade_id is None else trade_id)
    return duplicate, late


ticks = st.tuples(st.sampled_from(["BTC-USD", "ETH-USD"]), st.none() | st.integers(0, 12), st.integers(0, 2))


@given(st.lists(st.lists(ticks, max_size=8), max_size=4))
def test_each_tick_is_marked_as_if_it_came_alone(batches: list[list[Sent]]) -> None:
    reader = Reader()
    found = [reader.read(*batch) for batch in batches]
    duplicate, late = expected([sent for batch in batches for sent in batch])
    assert [each for marks, _ in found for each in marks] == duplicate
    assert [each for _, marks in found for each in marks] == late


def test_the_same_trade_at_another_time_is_no_duplicate_and_not_late() -> None:
    reader = Reader()
    assert reader.read(("BTC-USD", 7, 0)) == ([False], [False])
    assert reader.read(("BTC-USD", 7, 1), ("BTC-USD", 7, 0)) == ([False, True], [False, False])


def test_a_repetition_of_a_suspect_that_was_none_is_a_duplicate() -> None:
    reader = Reader()
    reader.read(("BTC-USD", 7, 0))
    stream = [("BTC-USD", 7, 1), ("BTC-USD", 7, 1), ("BTC-USD", 7, 2), ("BTC-USD", 7, 1)]
    assert reader.read(*stream) == ([False, True, False, True], [False] * 4)


def test_ticks_in_their_order_are_compared_with_nothing() -> None:
    reader = Reader()
    reader.read(("BTC-USD", 3, 0), ("BTC-USD", 4, 0), ("BTC-USD", 8, 0), ("ETH-USD", None, 0))
    assert str(reader.trades[Market("coinbase", "BTC-USD")]) == "{[3,5),[8,9)}"
    reader.read(("BTC-USD", 9, 0), ("BTC-USD", 10, 0))
    assert str(reader.trades[Market("coinbase", "BTC-USD")]) == "{[3,5),[8,11)}"
    assert reader.asked == []


def test_only_suspects_are_looked_up_and_only_if_this_table_does_not_hold_them() -> None:
    reader = Reader()
    reader.read(("BTC-USD", 3, 0), ("ETH-USD", 3, 0))
    assert reader.read(
        ("BTC-USD", 5, 0), ("BTC-USD", 5, 0), ("BTC-USD", 4, 0), ("BTC-USD", 3, 0), ("ETH-USD", 4, 0)
    ) == ([False, True, False, True, False], [False, False, True, False, False])
    btc = Market("coinbase", "BTC-USD")
    (asked,) = reader.asked
    assert {(market, trade_id) for market, trade_id, _ in asked} == {(btc, 3)}


def test_consecutive_trades_are_one_range_however_many_they_are() -> None:
    reader = Reader()
    reader.read(*(("BTC-USD", number, 0) for number in (1, *range(3, 3 * MAX_RANGES), 10 * MAX_RANGES)))
    trades = reader.trades[Market("coinbase", "BTC-USD")]
    assert (str(trades), trades.floor) == ("{[1,2),[3,192),[640,641)}", 0)


def test_a_market_in_two_partitions_is_compared_across_them() -> None:
    """As after partitions were added: what came in one of them is repeated in the other."""
    table = table_of([("BTC-USD", 5, 0), ("BTC-USD", 6, 0), ("BTC-USD", 5, 0), ("BTC-USD", 4, 0)])
    table.partition[:] = [0, 0, 1, 1]
    known = TradeIds()
    mark(table.by_pair(), lambda _: known, lambda _: set())
    assert table.duplicate.tolist() == [False, False, True, False]
    assert table.late.tolist() == [False, False, False, True]


def test_more_gaps_than_are_kept_leave_the_highest_ranges() -> None:
    reader = Reader()
    reader.read(*(("BTC-USD", 2 * number, 0) for number in range(MAX_RANGES + 9)))
    trades = reader.trades[Market("coinbase", "BTC-USD")]
    assert str(trades).count("[") == MAX_RANGES
    assert (trades.floor, trades.highest) == (2 * 8 + 1, 2 * (MAX_RANGES + 8))
    assert reader.read(("BTC-USD", 0, 0)) == ([True], [False]), "what is unknown is looked up"


def test_keys_are_found_in_the_tables_that_hold_them() -> None:
    tables = [table_of([("BTC-USD", 1, 0), ("ETH-USD", 2, 0)]), table_of([("BTC-USD", None, 0)])]
    held = {key for ticks in tables[0].by_pair() for key in keys(ticks)}
    assert len(held) == 2
    (btc,) = [key for key in held if key[0].pair == "BTC-USD"]
    assert keys_in(tables, held) == held
    assert keys_in(tables, {btc, (btc[0], 9, btc[2])}) == {btc}
