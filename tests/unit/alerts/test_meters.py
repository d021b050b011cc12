"""What each meter measures and remembers, and which runs of ticks it lets pass unseen."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from cryptometrics.alerts.meters import MidMove, Prices, RejectedShare, SessionExtreme, Spread
from cryptometrics.times import EPOCH
from tests.unit.alerts.tick_runs import START, run_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptometrics.alerts.meters import Meter
    from cryptometrics.alerts.observed_ticks import Quote

WITHIN = timedelta(seconds=20)  # so that a bucket is a second
FIRST = (START - EPOCH) // timedelta(seconds=1)
"""Number of the bucket that begins at START."""


def quotes(*mids: tuple[float, str]) -> list[Quote]:
    """Return ticks without a spread: second after START, and price."""
    return run_of(*((second, mid, mid) for second, mid in mids)).quotes()


def of_session(bid: str, ask: str, high: str, low: str, session: str = "day") -> Quote:
    """Return a tick of a session with these extremes."""
    (quote,) = run_of((0, bid, ask)).quotes()
    return quote._replace(session=session, highest_bid=Decimal(high), lowest_ask=Decimal(low))


def session_extreme(*, high: bool, reference: str = "100") -> SessionExtreme:
    meter = SessionExtreme(high=high)
    meter.measure(of_session("99", "101", reference, reference))
    return meter


def buckets(meter: MidMove) -> list[tuple[int, float, float]]:
    """Return second, lowest and highest price of the buckets that it remembers."""
    return [(number - FIRST, float(low), float(high)) for number, low, high in meter.state() or ()]


BELOW_BY_A_BILLIONTH, ABOVE_BY_HALF_OF_ONE = 1 - 1e-9, 1 + 5e-10


@pytest.mark.parametrize(
    ("meter", "ticks", "value"),
    [
        (Spread(), [(0, "100", "100.1"), (1, "99", "101")], 200),
        (Spread(), [(0, "99.99", "100.01")], 2),
        (MidMove(WITHIN), [(0.2, "101", "101"), (0.5, "100", "100"), (0.7, "100.5", "100.5")], 1),
        (MidMove(WITHIN), [(0, "100", "100"), (1, "102.5", "102.5")], 2.5),
        (MidMove(WITHIN), [(0, "10000000000", "10000000000"), (1, "10000000001", "10000000001")], 1e-8),
        (session_extreme(high=True), [(0, "100.5", "120"), (1, "102", "120"), (2, "90", "120")], 2),
        (session_extreme(high=False), [(0, "80", "99.5"), (1, "80", "98"), (2, "80", "120")], 2),
        (session_extreme(high=True, reference="1e10"), [(0, "10000000001", "10000000001")], 1e-8),
        (session_extreme(high=False, reference="1e10"), [(0, "9999999999", "9999999999")], 1e-8),
    ],
)
def test_ticks_pass_unseen_only_if_they_stay_surely_below_the_level(
    meter: Meter, ticks: Sequence[tuple[float, str, str]], value: float
) -> None:
    run = run_of(*ticks)
    margin = 1 + 1e-6 if value > 1e-3 else 1.02  # of a tiny move, a float knows little
    assert meter.stays_below(run, value * margin)
    for level in (value, value * ABOVE_BY_HALF_OF_ONE, value * BELOW_BY_A_BILLIONTH, value * 0.995):
        assert meter.stays_below(run, level) is False


def test_a_spread_is_known_to_twenty_eight_digits() -> None:
    (quote,) = run_of((0, "1", "2")).quotes()
    assert Spread().measure(quote) == Decimal("6666.666666666666666666666667")


@pytest.mark.parametrize("high", [True, False])
def test_a_session_that_is_not_known_does_not_pass_unseen(*, high: bool) -> None:
    run = run_of((0, "100", "100"))
    assert SessionExtreme(high=high).stays_below(run, 50) is False
    assert session_extreme(high=high).stays_below(run, 50)


TICKS = (
    ((0, "100"), (0.5, "99"), (1, "90"), (2, "110"), (3, "100"), (3.25, "104"), (3.5, "102")),
    ((3.75, "101"), (3.8, "103")),
    ((3.9, "98"), (4, "97"), (4.5, "105"), (4.9, "97.5")),
    ((22, "100"), (23, "101"), (23.5, "101")),
)
REMEMBERED = (
    [(0, 99, 100), (1, 90, 90), (2, 110, 110), (3, 100, 104)],
    [(0, 99, 100), (1, 90, 90), (2, 110, 110), (3, 100, 104)],
    [(0, 99, 100), (1, 90, 90), (2, 110, 110), (3, 98, 104), (4, 97, 105)],
    [(4, 97, 105), (22, 100, 100), (23, 101, 101)],
)


@pytest.mark.parametrize("how", ["one by one", "unseen", "restarted"])
def test_a_move_remembers_the_extremes_of_its_last_twenty_buckets(how: str) -> None:
    meter = MidMove(WITHIN)
    assert meter.state() is None
    for ticks, remembered in zip(TICKS, REMEMBERED, strict=True):
        if how == "unseen":
            meter.skip(run_of(*((second, mid, mid) for second, mid in ticks)))
        else:
            for quote in quotes(*ticks):
                meter.measure(quote)
                if how == "restarted":
                    memory, meter = meter.state(), MidMove(WITHIN)
                    meter.restore(memory)
        assert buckets(meter) == remembered
    (fallen, risen) = quotes((23.6, "94.5"), (23.7, "105.84"))
    assert meter.measure(fallen) == 10
    assert meter.prices(fallen) == (Decimal(105), Decimal("94.5"))
    assert meter.measure(risen) == 12
    assert meter.prices(risen) == (Decimal("94.5"), Decimal("105.84"))


def test_a_move_remembers_prices_that_are_larger_than_the_number_of_their_bucket() -> None:
    meter = MidMove(timedelta(days=7))
    for quote in quotes((0, "100000"), (1, "99000"), (2, "101000"), (3, "100500")):
        meter.measure(quote)
    assert [(float(low), float(high)) for _, low, high in meter.state() or ()] == [(99000, 101000)]


def test_of_an_equal_rise_and_fall_the_fall_is_told() -> None:
    meter = MidMove(WITHIN)
    values = [meter.measure(quote) for quote in quotes((0, "100"), (1, "300"), (2, "150"))]
    assert values == [0, 200, 50]
    assert meter.prices(quotes((2, "150"))[0]) == (Decimal(300), Decimal(150))
    assert Prices(Decimal(300), Decimal(150)).change == -50


def test_a_move_that_is_set_back_forgets_the_bucket_of_that_time_and_later_ones() -> None:
    meter = MidMove(WITHIN)
    for quote in quotes(*TICKS[0]):
        meter.measure(quote)
    meter.rewind(START + timedelta(seconds=2.5))
    assert buckets(meter) == REMEMBERED[0][:2]
    (tick,) = quotes((1.5, "99"))
    assert meter.measure(tick) == 10
    assert buckets(meter) == [(0, 99, 100), (1, 90, 99)]
    meter.rewind(START - timedelta(days=1))
    assert meter.state() is None
    assert meter.measure(tick._replace(time=START - timedelta(hours=1))) == 0


def test_an_extreme_is_measured_from_the_one_that_was_known_when_it_began() -> None:
    high, low = session_extreme(high=True), session_extreme(high=False)
    for bid, ask, above, below in [
        ("100", "100", 0, 0),
        ("99.5", "100.5", 0, 0),
        ("100.5", "100.75", 0.5, 0),
        ("98", "99.5", 0, 0.5),
        ("104", "104", 4, 0),
    ]:
        quote = of_session(bid, ask, "104", "98")
        assert (high.measure(quote), low.measure(quote)) == (Decimal(str(above)), Decimal(str(below)))
        assert high.prices(quote) == (Decimal(100), Decimal(bid))
        assert low.prices(quote) == (Decimal(100), Decimal(ask))
    high.resolved(quote)
    low.resolved(quote)
    assert high.state() == ["day", "104"]
    assert low.state() == ["day", "98"]
    assert high.measure(of_session("130", "131", "130", "90", "next")) == 0
    assert high.state() == ["next", "130"]


def test_an_extreme_without_a_session_has_no_state_and_continues_from_none() -> None:
    meter = SessionExtreme(high=True)
    assert meter.state() is None
    meter.restore(None)
    meter.restore(["day", "100"])
    assert meter.measure(of_session("103", "104", "103", "104")) == 3


def shares(meter: RejectedShare, *records: tuple[float, bool]) -> list[float]:
    return [
        round(float(meter.count(START + timedelta(seconds=second), rejected=rejected)), 1)
        for second, rejected in records
    ]


def counts(meter: RejectedShare) -> list[list[int]]:
    return [[number - FIRST, *of_bucket] for number, *of_bucket in meter.state() or ()]


def test_a_share_counts_the_records_of_its_last_twenty_buckets() -> None:
    meter = RejectedShare(WITHIN, 4)
    assert meter.state() is None
    assert shares(meter, (0, True), (0.5, False), (1, True), (2, False)) == [0, 0, 0, 50]
    assert shares(meter, (3, False), (3.9, True), (4, False)) == [40, 50, 42.9]
    assert counts(meter) == [[0, 2, 1], [1, 1, 1], [2, 1, 0], [3, 2, 1], [4, 1, 0]]
    assert shares(meter, (19.9, False), (20, False), (21, False)) == [37.5, 28.6, 14.3]
    assert counts(meter) == [[2, 1, 0], [3, 2, 1], [4, 1, 0], [19, 1, 0], [20, 1, 0], [21, 1, 0]]
    assert shares(meter, (41, True), (41.5, True), (41.6, True), (41.7, False)) == [0, 0, 0, 75]


@pytest.mark.parametrize(("at", "kept"), [(2, 2), (2.9, 2), (3, 3), (-1, 0)])
def test_a_share_that_is_set_back_or_restarted_counts_on(at: float, kept: int) -> None:
    meter = RejectedShare(WITHIN, 1)
    shares(meter, (0, True), (1, True), (1, False), (2, False), (3, False))
    before: Any = counts(meter)
    meter.rewind(START + timedelta(seconds=at))
    assert counts(meter) == before[:kept]
    (memory, meter) = meter.state(), RejectedShare(WITHIN, 1)
    meter.restore(memory)
    found = shares(meter, (kept - 1, False), (kept - 1, True), (kept, False))
    records, rejected = 2 + sum(each[1] for each in before[:kept]), 1 + sum(each[2] for each in before[:kept])
    assert found[1:] == [round(100 * rejected / records, 1), round(100 * rejected / (records + 1), 1)]
    assert [number for number, *_ in counts(meter)] == list(range(min(kept - 1, 0), kept + 1))
