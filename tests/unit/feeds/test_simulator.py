"""The simulator: repeatable, plausible, and bad in every way the decoder knows."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptometrics.errors import UserError
from cryptometrics.feeds.simulator import DEFAULT_PAIRS, MAX_PAIRS, Simulation
from cryptometrics.feeds.simulator.bad_ticks import KINDS
from cryptometrics.feeds.simulator.currencies import levels_of
from cryptometrics.feeds.simulator.stream import BLOCK
from cryptometrics.feeds.simulator.tickers import decimal_text
from cryptometrics.market.tick_decoder import Reason, RejectedError, decode
from tests.unit.feeds.streams import START, STEP, by_pair, stream

if TYPE_CHECKING:
    from cryptometrics.market.ticks import Tick

NOW = START + timedelta(days=1)


def test_the_same_parameters_make_the_same_bytes_and_others_do_not() -> None:
    one = stream(5_000, bad=0.1)
    assert stream(5_000, bad=0.1) == one
    assert stream(5_000, bad=0.1, seed=8) != one


def test_another_process_makes_the_same_bytes() -> None:
    program = (
        "import hashlib; from datetime import UTC, datetime; from fractions import Fraction\n"
        "from cryptometrics.feeds.simulator import Simulation\n"
        "pairs = ('BTC-USD', 'RENDER-USDC', 'SHIB-EUR')\n"
        "start = datetime(2026, 7, 1, tzinfo=UTC)\n"
        "blocks = Simulation(pairs, start, Fraction(10_000), seed=7, bad=0.1, count=5_000).blocks()\n"
        "print(hashlib.sha256(repr(list(blocks)).encode()).hexdigest())"
    )
    digests = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            timeout=60,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert digests[0] == digests[1] != b""


def test_a_longer_stream_begins_like_a_shorter_one() -> None:
    longest = stream(2 * BLOCK + 1)
    for count in (1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK):
        assert stream(count) == longest[:count]


def test_a_stream_without_count_goes_on() -> None:
    endless = Simulation(DEFAULT_PAIRS, START, STEP, seed=7).blocks()
    blocks = list(itertools.islice(endless, 3))
    assert list(itertools.chain.from_iterable(blocks)) == stream(3 * BLOCK)


def test_every_message_is_a_tick_with_the_fields_of_coinbase() -> None:
    fields = (
        *("type", "sequence", "product_id", "price", "open_24h", "volume_24h", "low_24h", "high_24h"),
        *("volume_30d", "best_bid", "best_bid_size", "best_ask", "best_ask_size", "side", "time"),
        *("trade_id", "last_size", "venue"),
    )
    for key, value in stream(20_000):
        tick = decode(key, value, NOW)
        assert tick.bid < tick.ask
        assert value is not None
        message = json.loads(value)
        assert tuple(message) == fields
        assert message["price"] == message["best_ask" if message["side"] == "buy" else "best_bid"]
        assert Decimal(message["low_24h"]) <= Decimal(message["price"]) <= Decimal(message["high_24h"])
        assert Decimal(message["last_size"]) > 0


def test_trade_ids_count_up_by_one_from_the_start_and_sequences_jump() -> None:
    markets = by_pair(stream(10_000))
    assert set(markets) == set(DEFAULT_PAIRS)
    first = int(START.timestamp()) * 1_000_000
    for messages in markets.values():
        assert [message["trade_id"] for message in messages] == list(range(first, first + len(messages)))
        jumps = {later["sequence"] - earlier["sequence"] for earlier, later in itertools.pairwise(messages)}
        assert min(jumps) >= 1
        assert len(jumps) > 10


def test_prices_keep_to_the_pairs_own_ticks_and_volumes_only_grow() -> None:
    pairs = ("BTC-USD", "DOGE-USD", "RENDER-USDC", "SHIB-EUR")
    for pair, messages in by_pair(stream(10_000, pairs=pairs)).items():
        decimals = levels_of([pair], {})[pair].decimals
        for name in ("price", "best_bid", "best_ask", "open_24h", "low_24h", "high_24h"):
            assert {len(message[name].partition(".")[2]) for message in messages} == {decimals}
        volumes = [Decimal(message["volume_24h"]) for message in messages]
        assert volumes == sorted(volumes)
        assert volumes[0] < volumes[-1]


def test_prices_begin_at_the_pairs_level() -> None:
    pairs = ("BTC-USD", "ETH-BTC", "SOL-EUR", "USDC-USD", "SHIB-EUR", "USD-BTC")
    levels = levels_of(pairs, {})
    for pair, messages in by_pair(stream(1_000, pairs=pairs)).items():
        level = Decimal(decimal_text(levels[pair].ticks, levels[pair].decimals))
        assert all(abs(Decimal(message["best_bid"]) / level - 1) < Decimal("0.01") for message in messages)


def test_each_pair_has_its_ticks_at_even_intervals() -> None:
    """So that a slow stream has a tick of the first pair in nearly every minute."""
    pairs = [json.loads(value or b"")["product_id"] for _, value in stream(20_000)]
    places = [place for place, pair in enumerate(pairs) if pair == DEFAULT_PAIRS[0]]
    distances = Counter(later - earlier for earlier, later in itertools.pairwise(places))
    assert distances.keys() <= set(range(1, 9))
    assert sum(distances[distance] for distance in (1, 2, 3)) > 0.8 * distances.total()


@pytest.mark.parametrize("step", [STEP, Fraction(1_000_000), Fraction(1_000_000, 3), Fraction(1, 10)])
def test_event_time_advances_by_the_step_without_drift(step: Fraction) -> None:
    times = [decode(key, value, NOW).time for key, value in stream(3_000, step=step)]
    # The n-th tick is n steps after the start, cut to microseconds.
    assert times == [START + timedelta(microseconds=number * step // 1) for number in range(3_000)]


def test_bad_ticks_are_of_every_kind_and_leave_the_good_ones_whole() -> None:
    reasons: Counter[Reason] = Counter()
    good: defaultdict[str, list[int | None]] = defaultdict(list)
    messages = stream(10_000, bad=0.05)
    for key, value in messages:
        try:
            tick: Tick = decode(key, value, NOW)
        except RejectedError as error:
            reasons[error.reason] += 1
        else:
            good[tick.pair].append(tick.trade_id)
    assert set(reasons) == set(Reason) - {Reason.REFUSED, Reason.BAD_GAP}
    assert 300 < reasons.total() < 700
    for trade_ids in good.values():
        first = trade_ids[0]
        assert first is not None
        assert trade_ids == list(range(first, first + len(trade_ids)))


@pytest.mark.parametrize("turn", range(len(KINDS)), ids=lambda turn: f"{turn}-{KINDS[turn][0]}")
def test_a_bad_tick_has_the_reason_it_is_made_for(turn: int) -> None:
    expected, spoil = KINDS[turn]
    for key, value in stream(20):
        assert key is not None
        assert value is not None
        with pytest.raises(RejectedError) as caught:
            decode(*spoil(key, value), NOW)
        assert caught.value.reason == expected


def test_all_ticks_may_be_bad_but_the_first() -> None:
    messages = stream(200, bad=1)
    decode(*messages[0], NOW)
    for message in messages[1:]:
        with pytest.raises(RejectedError):
            decode(*message, NOW)


def test_more_pairs_than_there_are_shares_are_refused() -> None:
    pairs = tuple(f"P{number}-USD" for number in range(MAX_PAIRS + 1))
    with pytest.raises(UserError, match="at most 128 pairs"):
        stream(1, pairs=pairs)
    assert set(by_pair(stream(20_000, pairs=pairs[:-1]))) == set(pairs[:-1])


def test_time_beyond_the_calendar_is_an_error_of_the_user() -> None:
    with pytest.raises(UserError, match="year 9999"):
        stream(BLOCK, start=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    with pytest.raises(UserError, match="year 9999"):
        stream(2, step=Fraction(10**18))


@settings(max_examples=50)
@given(st.from_regex(r"[A-Z0-9]{1,20}-[A-Z0-9]{1,20}", fullmatch=True), st.integers(0, 2**64))
def test_any_pair_and_seed_make_ticks(pair: str, seed: int) -> None:
    for key, value in stream(50, pairs=(pair,), seed=seed):
        assert decode(key, value, NOW).pair == pair


@given(st.integers(0, 10**30), st.integers(1, 18))
def test_the_text_of_a_decimal_is_exact(units: int, decimals: int) -> None:
    whole, _, fraction = decimal_text(units, decimals).partition(".")
    assert (int(whole + fraction), len(fraction)) == (units, decimals)
    assert whole == "0" or not whole.startswith("0")
