"""The continuity of a pair's trades: whatever is dropped, repeated or late, each missed one is told once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.feeds.coinbase.continuity import GRACE_S, MAX_HOLES, SILENCE_S, Continuity
from cryptometrics.feeds.quality import Quality
from cryptometrics.market.gap_records import Gap, GapKind

if TYPE_CHECKING:
    from collections.abc import Iterable

T0 = 1_800_000_000.0


class Watched:
    """A pair with what it has told."""

    def __init__(self) -> None:
        self.told: list[Gap] = []
        self.watch = Continuity("BTC-USD", self.told.append)

    def trades(self, ids: Iterable[int], at: float = T0, *, stored: bool = True) -> None:
        for trade_id in ids:
            self.watch.trade(trade_id, at, stored=stored)
            self.watch.quality.heard(at)

    def kinds(self) -> list[GapKind]:
        return [gap.kind for gap in self.told]

    def missed(self) -> list[int]:
        found: list[int] = []
        for gap in self.told[1:]:
            if gap.first_trade_id is not None and gap.last_trade_id is not None:
                found += range(gap.first_trade_id, gap.last_trade_id + 1)
        return found


@given(
    st.lists(st.sampled_from(["heard", "heard", "dropped", "twice", "late", "cut", "wait"]), max_size=60),
    st.booleans(),
)
def test_each_trade_is_heard_or_told_to_be_missed(fates: list[str], by_heartbeat: bool) -> None:
    watched, trade, at = Watched(), 100, T0
    watched.trades([trade])
    heard, late, up = {trade}, list[int](), True
    for fate in fates:
        trade, at = trade + 1, at + 0.01
        if fate == "cut":
            watched.watch.lost(GapKind.DOWN, at)
            late.clear()  # what has not come by now will not
            up = False
        elif fate == "late":
            if up:  # what comes first after a loss is what it counts from
                late.append(trade)
                continue
        elif fate == "wait":
            at += 0.5
        elif fate != "dropped":
            watched.trades([trade] * (1 + (fate == "twice")), at)
            watched.trades(late, at)
            heard |= {trade, *late}
            late.clear()
            up = True
        if by_heartbeat:
            watched.watch.heartbeat(trade, at)
    end = trade + 1
    watched.trades([end], at)
    watched.watch.end(at)
    told = watched.missed()
    assert sorted(told) == sorted(set(range(100, end)) - heard) or by_heartbeat
    assert len(told) == len(set(told))
    assert set(told) | heard | {end} == set(range(100, end + 1))
    assert watched.watch.quality.trades_missed == len(told)


def test_a_late_trade_is_waited_for_and_no_longer() -> None:
    watched = Watched()
    watched.trades([1, 2, 5])
    watched.watch.settle(T0 + GRACE_S - 0.1)
    watched.trades([3], T0 + GRACE_S - 0.1)
    assert watched.kinds() == [GapKind.START]
    watched.watch.settle(T0 + GRACE_S)
    assert watched.missed() == [4]
    watched.watch.end(T0 + 60)
    assert watched.missed() == [4]


def test_the_heartbeat_tells_of_trades_that_never_came() -> None:
    watched = Watched()
    watched.trades([1, 2])
    watched.watch.heartbeat(4, T0 + 1)
    watched.trades([3], T0 + 1.5)
    watched.watch.heartbeat(4, T0 + 2)
    assert watched.missed() == []
    watched.watch.heartbeat(5, T0 + 1 + GRACE_S)
    assert watched.missed() == [4]
    watched.trades([5, 6], T0 + 4)
    watched.watch.settle(T0 + 60)
    assert watched.missed() == [4]


def test_what_comes_after_the_last_trade_is_left_to_the_next_start() -> None:
    watched = Watched()
    watched.trades([1, 2])
    watched.watch.heartbeat(9, T0 + 1)
    watched.watch.end(T0 + 1.5)
    assert watched.missed() == []


def test_a_start_waits_for_a_trade_before_it_believes_a_heartbeat() -> None:
    watched = Watched()
    watched.watch.heartbeat(50, T0)
    watched.watch.heartbeat(50, T0 + 1)
    assert watched.told == []
    watched.trades([50], T0 + 1.1)
    assert [(gap.kind, gap.last_trade_id) for gap in watched.told] == [(GapKind.START, 49)]
    quiet = Watched()
    quiet.watch.heartbeat(50, T0)
    quiet.watch.heartbeat(50, T0 + GRACE_S)
    assert [(gap.kind, gap.last_trade_id) for gap in quiet.told] == [(GapKind.START, 50)]
    quiet.trades([51, 52], T0 + 9)
    quiet.watch.settle(T0 + 60)
    assert quiet.missed() == []


def test_a_lost_pair_tells_what_was_between() -> None:
    watched = Watched()
    watched.trades([10, 11], T0)
    watched.watch.lost(GapKind.DOWN, T0 + 1)
    watched.watch.lost(GapKind.SILENCE, T0 + 2)  # it is lost already
    watched.trades([15], T0 + 5)
    gap = watched.told[-1]
    assert (gap.kind, gap.first_trade_id, gap.last_trade_id, gap.seconds) == (GapKind.DOWN, 12, 14, 5.0)
    watched.watch.lost(GapKind.OVERFLOW, T0 + 6)
    watched.trades([15], T0 + 7)  # the first ticker after a subscription may be an old one
    gap = watched.told[-1]
    assert (gap.kind, gap.trades_missed, gap.seconds) == (GapKind.OVERFLOW, 0, 2.0)
    assert watched.watch.quality.reconnects == 2
    assert watched.watch.quality.gaps == 2


def test_silence_needs_heartbeats_that_stopped() -> None:
    watched = Watched()
    watched.trades([1])
    assert not watched.watch.silent(T0 + 1000)
    watched.watch.heartbeat(1, T0)
    assert not watched.watch.silent(T0 + SILENCE_S)
    assert watched.watch.silent(T0 + SILENCE_S + 1)


def test_holes_are_bounded() -> None:
    watched = Watched()
    watched.trades(range(0, 4 * MAX_HOLES, 2))
    assert len(watched.missed()) == MAX_HOLES - 1
    assert len(watched.watch._holes) == MAX_HOLES


def test_the_quality_of_tickers() -> None:
    quality = Quality()
    for number, (trade_id, event) in enumerate([(5, 90), (7, 101), (7, 101), (6, 100.5), (None, None)]):
        quality.ticker(trade_id, None if event is None else T0 + event, T0 + 101 + number)
    assert (quality.ticks, quality.duplicates, quality.late) == (5, 1, 1)
    assert quality.least_skew == 1  # the first ticker may be old and says nothing
    assert quality.most_skew == 3.5
    assert quality.quote_age == 12


def test_a_heartbeat_before_any_trade_says_nothing_of_missed_trades() -> None:
    pair = Watched()
    pair.watch.present(T0)  # a quote of the order book: no trade is known
    pair.watch.heartbeat(654_321_000, T0 + 1)
    pair.watch.settle(T0 + 10)
    assert pair.kinds() == [GapKind.START]
    pair.watch.heartbeat(654_321_002, T0 + 11)
    pair.watch.settle(T0 + 20)
    assert pair.missed() == [654_321_001, 654_321_002]


def test_a_trade_whose_ticker_did_not_come_before_the_end_of_a_connection_is_missed() -> None:
    pair = Watched()
    pair.trades([7])
    pair.trades([8], stored=False)  # its match came, its ticker was still to come
    pair.watch.lost(GapKind.DOWN, T0 + 1)
    pair.trades([9], T0 + 5)
    assert pair.kinds() == [GapKind.START, GapKind.DOWN]
    assert pair.missed() == [8]


def test_a_pair_that_is_down_at_the_end_has_its_gap() -> None:
    pair = Watched()
    pair.trades([7])
    pair.watch.lost(GapKind.UNREADABLE, T0 + 1)
    pair.watch.end(T0 + 9)
    assert pair.kinds() == [GapKind.START, GapKind.UNREADABLE, GapKind.END]
    assert pair.told[-1].time.timestamp() == T0  # until then it was heard


def test_an_end_says_until_when_the_pair_was_heard() -> None:
    pair, never = Watched(), Watched()
    pair.trades([7], T0 + 3)
    for each in (pair, never):
        each.watch.end(T0 + 9)
    assert pair.kinds() == [GapKind.START, GapKind.END]
    assert (pair.told[-1].time.timestamp(), pair.told[-1].begins) == (T0 + 3, None)
    assert pair.watch.quality.gaps == 0
    assert never.kinds() == []
