"""Each scenario does what its texts say, for as long as they say, and leaves the rest of the stream alone."""

from __future__ import annotations

import itertools
from collections import defaultdict
from datetime import datetime, timedelta
from fractions import Fraction
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pytest

from cryptometrics.errors import UserError
from cryptometrics.feeds.simulator import DEFAULT_PAIRS
from cryptometrics.feeds.simulator.scenarios import SCENARIOS, Scheduled, schedule
from cryptometrics.market import gap_records
from cryptometrics.market.gap_records import GapKind
from cryptometrics.market.tick_decoder import Reason, RejectedError, decode
from tests.unit.feeds.streams import START, by_pair, simulation, stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptometrics.kafka.publisher import Message

FIRST, LAST = DEFAULT_PAIRS[0], DEFAULT_PAIRS[-1]
RATE = 10
"""Ticks per second."""
STEP = Fraction(10**6, RATE)
AT = 300
"""Seconds after the start at which the scenario begins."""
MINUTE = 60
SCENARIO_MINUTES = 20

Fields = dict[str, Any]


def at(name: str, seconds: int = AT) -> Scheduled:
    return schedule(name, Fraction(seconds))


def minutes_of(
    name: str | None, minutes: int = SCENARIO_MINUTES, *, rate: int = RATE, **changes: Any
) -> list[Message]:
    """Return a stream of some minutes, with a scenario from minute 5 on; rate: ticks per second."""
    scenarios = (at(name),) if name else ()
    return stream(minutes * 60 * rate, step=Fraction(10**6, rate), scenarios=scenarios, **changes)


def second_of(fields: Fields) -> float:
    return (datetime.fromisoformat(fields["time"]) - START).total_seconds()


def mean_in(messages: list[Fields], begin: float, end: float, value: Callable[[Fields], float]) -> float:
    return fmean(value(fields) for fields in messages if begin <= second_of(fields) < end)


def middle(fields: Fields) -> float:
    return (float(fields["best_bid"]) + float(fields["best_ask"])) / 2


def spread(fields: Fields) -> float:
    return (float(fields["best_ask"]) - float(fields["best_bid"])) / middle(fields)


def size(fields: Fields) -> float:
    return float(fields["best_bid_size"]) + float(fields["best_ask_size"])


class Compared:
    """A stream with a scenario beside the same stream without it."""

    def __init__(self, name: str, minutes: int = SCENARIO_MINUTES, **changes: Any) -> None:
        self.found = by_pair(minutes_of(name, minutes, **changes))
        self.usual = by_pair(minutes_of(None, minutes, **changes))

    def ratio(self, value: Callable[[Fields], float], begin: float, end: float, pair: str = FIRST) -> float:
        """Return the mean of a value between two seconds of the scenario, relative to the usual."""
        found, usual = (mean_in(each[pair], AT + begin, AT + end, value) for each in (self.found, self.usual))
        return found / usual


def near(expected: float) -> Any:
    return pytest.approx(expected, rel=0.05)


def test_nothing_happens_before_a_scenario() -> None:
    usual = minutes_of(None, 5)
    for name in SCENARIOS:
        assert minutes_of(name, 6)[: len(usual)] == usual


def test_a_flash_crash_falls_and_comes_back_by_four_fifths() -> None:
    compared = Compared("flash-crash")
    price = compared.ratio
    assert price(middle, 60, 90) == pytest.approx(0.90, abs=0.006)
    assert price(middle, 60, 90, LAST) == pytest.approx(0.82, abs=0.01)
    assert price(middle, 700, 900) == pytest.approx(0.98, abs=0.006)
    assert price(spread, 60, 90) == near(8)
    assert price(spread, 700, 900) == near(1)
    assert price(size, 60, 90) < 0.2


def test_a_drought_widens_spreads_and_shrinks_sizes_and_leaves_prices() -> None:
    compared = Compared("liquidity-drought", 25)
    for pair in (FIRST, LAST):
        assert compared.ratio(middle, 0, 1200, pair) == pytest.approx(1, abs=1e-4)
        assert compared.ratio(spread, 60, 660, pair) == pytest.approx(10, rel=0.2)
        assert compared.ratio(size, 60, 660, pair) < 0.1
        assert compared.ratio(spread, 960, 1200, pair) == near(1)
        assert compared.ratio(size, 960, 1200, pair) == near(1)


def test_a_stablecoin_loses_its_peg_against_all_and_regains_it() -> None:
    pairs = ("BTC-USD", "USDC-USD", "BTC-USDC")
    compared = Compared("depeg", 70, rate=2, pairs=pairs)
    for pair, expected in zip(pairs, (1, 0.92, 1 / 0.92), strict=True):
        assert compared.ratio(middle, 600, 1800, pair) == pytest.approx(expected, abs=1e-3)
        assert compared.ratio(middle, 3600, 3900, pair) == pytest.approx(1, abs=1e-3)


def test_without_a_stablecoin_the_last_pair_loses_its_peg() -> None:
    compared = Compared("depeg")
    assert compared.ratio(middle, 600, 900, LAST) == pytest.approx(0.92, abs=1e-3)
    assert compared.ratio(middle, 600, 900) == 1


def test_frozen_quotes_have_new_times_only() -> None:
    compared = Compared("frozen-quotes")
    for pair, messages in compared.found.items():
        frozen = [fields for fields in messages if AT <= second_of(fields) < AT + 5 * MINUTE]
        assert len(frozen) > 100
        names = ("price", "best_bid", "best_ask", "best_bid_size", "best_ask_size", "last_size", "side")
        assert len({tuple(fields[name] for name in names) for fields in frozen}) == 1
        ids = [fields["trade_id"] for fields in frozen]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        times = [fields["time"] for fields in frozen]
        assert times == sorted(set(times))
        assert compared.ratio(middle, 5 * MINUTE, 6 * MINUTE, pair) == 1


def test_silence_leaves_one_pair_out_without_a_hole() -> None:
    compared = Compared("silence")
    first = compared.found[FIRST]
    assert not [fields for fields in first if AT <= second_of(fields) < AT + 3 * MINUTE]
    ids = [fields["trade_id"] for fields in first]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    for pair in DEFAULT_PAIRS[1:]:
        assert compared.found[pair] == compared.usual[pair]
    slots = list(
        itertools.chain.from_iterable(simulation(12_000, step=STEP, scenarios=(at("silence"),)).slots())
    )
    assert len(slots) == 12_000  # so that it takes its time at a rate
    assert slots.count(None) == 12_000 - sum(map(len, compared.found.values()))


@pytest.mark.parametrize("bad", [0, 0.05])
def test_an_outage_has_gap_records_like_the_live_feed(bad: float) -> None:
    now = START + timedelta(days=1)
    ids: dict[str, list[range]] = defaultdict(list)
    for key, value in minutes_of("outage", bad=bad):
        try:
            tick = decode(key, value, now)
        except RejectedError as error:
            try:
                gap = gap_records.decode(key, value, now, error)
            except RejectedError:
                continue  # a bad tick
            assert gap.kind == GapKind.DOWN
            assert gap.begins == START + timedelta(seconds=AT)
            assert gap.time >= gap.begins + timedelta(minutes=2)
            assert gap.first_trade_id is not None
            assert gap.last_trade_id is not None
            assert gap.last_trade_id - gap.first_trade_id > 50
            ids[gap.pair].append(range(gap.first_trade_id, gap.last_trade_id + 1))
        else:
            assert not AT <= (tick.time - START).total_seconds() < AT + 2 * MINUTE
            assert tick.trade_id is not None
            ids[tick.pair].append(range(tick.trade_id, tick.trade_id + 1))
    assert ids.keys() == set(DEFAULT_PAIRS)
    for ranges in ids.values():
        assert all(before.stop == after.start for before, after in itertools.pairwise(ranges))
        assert sum(len(each) > 1 for each in ranges) == 1


def test_each_outage_of_a_slow_stream_has_its_gap_record() -> None:
    two = (at("outage"), at("outage", 3600))
    messages = stream(400, step=Fraction(20_000_000), scenarios=two)
    gaps = [value for _, value in messages if value is not None and b'"gap"' in value]
    assert len(gaps) == 2 * len(DEFAULT_PAIRS)


def test_a_crossed_book_is_rejected_for_a_minute() -> None:
    found = set()
    for key, value in minutes_of("crossed-book"):
        try:
            decode(key, value, START + timedelta(days=1))
        except RejectedError as error:
            found.add((error.reason, key, value))
    assert {place[:2] for place in found} == {(Reason.CROSSED_QUOTE, FIRST.encode())}
    seconds = [second_of(fields) for fields in by_pair([(key, value) for _, key, value in found])[FIRST]]
    assert AT <= min(seconds) < AT + 5
    assert AT + 55 < max(seconds) < AT + 60


def test_the_clock_is_ahead_and_comes_back() -> None:
    compared = Compared("clock-skew")
    for pair in DEFAULT_PAIRS:
        for found, usual in zip(compared.found[pair], compared.usual[pair], strict=True):
            ahead = 90 if AT <= second_of(usual) < AT + 5 * MINUTE else 0
            assert second_of(found) - second_of(usual) == pytest.approx(ahead)
            assert found | {"time": ""} == usual | {"time": ""}


@pytest.mark.parametrize("step", [STEP, Fraction(90_000_000)])
def test_a_fat_finger_moves_one_tick(step: Fraction) -> None:
    found, usual = (
        by_pair(stream(3_100, step=step, scenarios=scenarios))[FIRST]
        for scenarios in ((at("fat-finger"),), ())
    )
    different = [
        (one, other) for one, other in zip(found, usual, strict=True) if one["best_bid"] != other["best_bid"]
    ]
    [(tick, without)] = different
    assert tick == next(fields for fields in found if second_of(fields) >= AT)
    assert float(tick["best_bid"]) == pytest.approx(0.8 * float(without["best_bid"]))
    assert (tick["best_ask"], tick["side"], tick["price"]) == (without["best_ask"], "sell", tick["best_bid"])
    assert float(tick["last_size"]) == max(float(fields["last_size"]) for fields in found)


def test_a_trend_stays() -> None:
    compared = Compared("trend", 130, rate=2, pairs=("BTC-USD", "ETH-USD"))
    assert compared.ratio(middle, 3590, 3610) == pytest.approx(1.06**0.5, abs=1e-3)
    assert compared.ratio(middle, 7200, 7500) == pytest.approx(1.06, abs=1e-3)


def test_a_quiet_market_hardly_moves() -> None:
    compared = Compared("quiet", 45)

    def moved(streams: dict[str, list[Fields]], begin: float, end: float) -> float:
        prices = [middle(fields) for fields in streams[FIRST] if AT + begin <= second_of(fields) < AT + end]
        return sum(abs(after - before) for before, after in itertools.pairwise(prices[::100]))

    assert moved(compared.found, 60, 1860) == pytest.approx(moved(compared.usual, 60, 1860) / 8, rel=0.2)
    assert compared.ratio(spread, 60, 1860) == near(1 / 8)
    assert moved(compared.found, 2160, 2400) == near(moved(compared.usual, 2160, 2400))


def test_scenarios_combine() -> None:
    scenarios = (at("flash-crash"), at("trend"), at("silence", 10), at("silence", 400), at("clock-skew", 600))
    messages = by_pair(stream(12_000, step=STEP, scenarios=scenarios))
    silent = [(10, 190), (400, 580)]
    assert not [m for m in messages[FIRST] for begin, end in silent if begin <= second_of(m) < end]
    both = mean_in(messages["ETH-USD"], AT + 70, AT + 90, middle)
    usual = mean_in(by_pair(minutes_of(None))["ETH-USD"], AT + 70, AT + 90, middle)
    assert both / usual == pytest.approx(0.9 ** (68 / 57), abs=0.01)


def test_the_same_scenarios_make_the_same_bytes() -> None:
    scenarios = tuple(at(name, 60 * number) for number, name in enumerate(SCENARIOS))
    one = stream(12_000, step=STEP, scenarios=scenarios, bad=0.01)
    assert stream(12_000, step=STEP, scenarios=scenarios, bad=0.01) == one


def test_an_unknown_scenario_is_an_error_that_names_the_others() -> None:
    with pytest.raises(UserError, match="'flash': choose one of flash-crash, liquidity-drought,"):
        at("flash")
