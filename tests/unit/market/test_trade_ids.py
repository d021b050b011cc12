"""Which trades are known: the ranges say the same as a plain set, above what they had to give up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.market.trade_ids import MAX_RANGES, TradeIds

# Dense, so that ranges meet; sparse, so that there are too many of them; the ends of the type.
dense = st.integers(0, 60)
sparse = st.integers(0, 400).map(lambda number: number * 2)
edges = st.sampled_from([0, 1, 2**63 - 3, 2**63 - 2, 2**63 - 1])
adds = st.lists(dense | sparse | edges, max_size=100) | st.lists(
    sparse, min_size=70, max_size=120, unique=True
)


def filled(ids: list[int]) -> TradeIds:
    known = TradeIds()
    for trade_id in ids:
        known.add(trade_id)
    return known


def ranges(known: TradeIds) -> int:
    return str(known).count("[")


@given(adds)
def test_above_its_floor_it_is_a_plain_set(ids: list[int]) -> None:
    known, plain = TradeIds(), set[int]()
    for trade_id in ids:
        known.add(trade_id)
        plain.add(trade_id)
        assert known.highest == max(plain)
        assert ranges(known) <= MAX_RANGES
    for probe in {near for trade_id in plain for near in (trade_id - 1, trade_id, trade_id + 1)}:
        if not known.unknown(probe):
            assert (probe in known) == (probe in plain), probe


@given(adds)
def test_what_it_does_not_tell_is_only_what_it_gave_up(ids: list[int]) -> None:
    known = filled(ids)
    assert [n for n in ids if n not in known] == [n for n in ids if known.unknown(n)]
    if ids:
        assert known.highest in known
        assert not known.unknown(known.highest)
    if known.floor:
        assert len(set(ids)) > MAX_RANGES


@given(adds, adds)
def test_its_text_and_floor_bring_it_back(before: list[int], later: list[int]) -> None:
    known = filled(before)
    again = TradeIds(str(known), known.floor)
    for trade_id in later:
        known.add(trade_id)
        again.add(trade_id)
        assert (str(again), again.floor, again.highest) == (str(known), known.floor, known.highest)


def test_an_empty_one_knows_that_nothing_was_there() -> None:
    known = TradeIds()
    assert (str(known), known.highest, known.floor) == ("{}", -1, 0)
    assert 0 not in known
    assert not known.unknown(0)


def test_consecutive_trades_are_one_range_in_any_order() -> None:
    assert str(filled(list(range(100)))) == "{[0,100)}"
    assert str(filled(list(reversed(range(100))))) == "{[0,100)}"
    assert str(filled([*range(0, 100, 2), *range(1, 100, 2)])) == "{[0,100)}"


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([5, 9, 6], "{[5,7),[9,10)}"),  # joins the range before it, which is not the last
        ([5, 9, 10], "{[5,6),[9,11)}"),
        ([5, 9, 8], "{[5,6),[8,10)}"),
        ([5, 9, 4], "{[4,6),[9,10)}"),
        ([5, 9, 7], "{[5,6),[7,8),[9,10)}"),
        ([5, 9, 3], "{[3,4),[5,6),[9,10)}"),
        ([5, 7, 6], "{[5,8)}"),
        ([5, 7, 9, 6], "{[5,8),[9,10)}"),
        ([5, 6, 9, 5, 6, 9], "{[5,7),[9,10)}"),
        ([0, 1, 0], "{[0,2)}"),
    ],
)
def test_an_id_joins_the_ranges_that_it_touches(ids: list[int], text: str) -> None:
    known = filled(ids)
    assert str(known) == text
    assert (known.highest, known.next) == (max(ids), max(ids) + 1)
    again = TradeIds(text)
    assert (str(again), again.next, again.floor) == (text, known.next, 0)


def test_ranges_are_added_above_the_others() -> None:
    known = TradeIds()
    known.extend(0, 3)
    known.extend(3, 5)
    known.extend(7, 8)
    known.extend(8, 9)
    assert (str(known), known.next) == ("{[0,5),[7,9)}", 9)
    for number in range(1, MAX_RANGES):
        known.extend(10 * number, 10 * number + 2)
    assert (ranges(known), known.floor, known.next) == (MAX_RANGES, 5, 10 * (MAX_RANGES - 1) + 2)
    known.add(4)
    assert 4 not in known
    assert known.unknown(4)
    assert not known.unknown(5)


def test_at_most_sixty_four_ranges_are_kept() -> None:
    assert (ranges(filled([2 * n for n in range(64)])), ranges(filled([2 * n for n in range(65)]))) == (
        64,
        64,
    )


def test_one_too_many_gives_up_the_lowest_range() -> None:
    known = filled([10 * n for n in range(MAX_RANGES)])
    assert (ranges(known), known.floor) == (MAX_RANGES, 0)
    known.add(10 * MAX_RANGES)
    assert (ranges(known), known.floor) == (MAX_RANGES, 1)
    assert known.unknown(0)
    assert 1 not in known
    assert not known.unknown(1)
    known.add(0)
    assert 0 not in known
