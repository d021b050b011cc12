"""What the rules see of ticks is the same, whether they were measured one by one or in columns."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from cryptometrics.alerts.evaluator import Evaluator, StoredStates
from cryptometrics.alerts.observed_ticks import TickRun, quote_of
from cryptometrics.alerts.rules import parse
from cryptometrics.market import metrics
from cryptometrics.market.table_metrics import measure
from cryptometrics.market.venues import Market
from cryptometrics.pipeline.alerting import in_topic_order
from tests.tables import decode_messages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptometrics.alerts.observed_ticks import Quote
    from cryptometrics.alerts.rule_state import Transition
    from cryptometrics.market.metrics import Session

START = datetime(2026, 7, 1, 12, tzinfo=UTC)
RULES = parse(
    """
[[rule]]
name = "spread"
kind = "spread_bps"
level = 20
for = "2s"
[[rule]]
name = "move"
kind = "mid_move_pct"
level = 0.5
within = "10s"
cooldown = "1s"
[[rule]]
name = "high"
kind = "session_high_pct"
level = 0.5
resolve_below = 0.2
[[rule]]
name = "low"
kind = "session_low_pct"
level = 0.3
cooldown = "0s"
[[rule]]
name = "gap"
kind = "gap"
"""
)
Raw = tuple[Decimal, Decimal, int]
"""Bid, ask, and the milliseconds since the start."""


class Measuring:
    """Measures ticks of one pair and session in both ways, with a session for each."""

    def __init__(self) -> None:
        self._sessions: tuple[Session, Session] | None = None
        self._offset = 0

    def both(self, ticks: Sequence[Raw]) -> tuple[TickRun, list[Quote]]:
        values: list[bytes] = []
        for bid, ask, at in ticks:
            time = (START + timedelta(milliseconds=at)).isoformat()
            fields = {"type": "ticker", "product_id": "BTC-USD", "time": time}
            values.append(json.dumps(fields | {"best_bid": f"{bid:f}", "best_ask": f"{ask:f}"}).encode())
        messages = [(b"BTC-USD", value) for value in values]
        table, rejected = decode_messages(
            messages, START + timedelta(days=1), partition=3, first=self._offset
        )
        assert not rejected
        if self._sessions is None:
            first = table.tick(0)
            self._sessions = metrics.open_session(first), metrics.open_session(first)
        in_columns, one_by_one = self._sessions
        (whole,) = table.by_pair()
        (of_day,) = whole.by_session("day")
        measured = measure(of_day, in_columns)
        assert measured is not None
        self._offset += len(values)
        singles = []
        for tick, offset in zip(of_day.ticks, of_day.offset.tolist(), strict=True):
            one = metrics.measure(tick, one_by_one)
            singles.append(quote_of(tick, one, "day", one_by_one, (3, offset)))
        return TickRun(measured), singles


prices = st.decimals(Decimal("0.01"), Decimal(99_999), places=6)


@given(st.lists(st.tuples(prices, prices), min_size=1, max_size=40))
def test_columns_and_single_ticks_say_the_same(quotes: list[tuple[Decimal, Decimal]]) -> None:
    run, singles = Measuring().both([(min(both), max(both), n) for n, both in enumerate(quotes)])
    assert run.quotes() == singles
    bids = [quote.bid for quote in singles]
    assert run.highest_bid == pytest.approx(float(max(bids)), rel=1e-12)
    assert run.lowest_ask == pytest.approx(float(min(quote.ask for quote in singles)), rel=1e-12)
    assert run.widest == pytest.approx(float(max(q.spread * 10_000 / q.mid for q in singles)), rel=1e-12)


def evaluated(
    batches: Sequence[Sequence[Raw]], *, in_columns: bool
) -> tuple[list[Transition], dict[tuple[str, Market], tuple[object, ...]], int]:
    """Judge batches, in columns where possible: what fires, what is saved, how many were passed over."""
    evaluator, measuring = Evaluator(RULES), Measuring()
    found: list[Transition] = []
    saved: dict[tuple[str, Market], tuple[object, ...]] = {}
    passed = 0
    evaluator.load(Market("coinbase", "BTC-USD"), 3, StoredStates(None, {}))
    for batch in batches:
        run, singles = measuring.both(batch)
        if in_columns and evaluator.skip(run):
            passed += 1
        else:
            for quote in singles:
                evaluator.quote(quote)
        transitions, changed = evaluator.take()
        found += transitions
        saved |= {
            place: (*each[:3], numbers(json.loads(each.memory or "null"))) for place, each in changed.items()
        }
    return found, saved, passed


def numbers(memory: object) -> object:
    """Return what is remembered, in which a price may be written with more zeros or fewer."""
    if isinstance(memory, list):
        return [numbers(each) for each in memory]
    try:
        return Decimal(str(memory))
    except InvalidOperation:
        return memory


# Two batches of three are calm; what is not is near the levels.
calm = st.tuples(
    st.sampled_from((0, 1, -1, 5, -5)), st.sampled_from((1, 2, 10, 19)), st.sampled_from((0, 40, 700))
)
wild = st.tuples(st.sampled_from((0, 26, -26, 40)), st.sampled_from((2, 21)), st.sampled_from((0, 40, 700)))
batches_of_steps = st.sampled_from((calm, calm, wild)).flatmap(
    lambda step: st.lists(step, min_size=1, max_size=15)
)


@settings(max_examples=200, deadline=None)
@given(st.lists(batches_of_steps, max_size=8), st.integers(0, 80))
def test_ticks_that_are_passed_over_change_nothing(
    drawn: list[list[tuple[int, int, int]]], late: int
) -> None:
    mid, at, number = 10_000, 0, 0
    batches: list[list[Raw]] = []
    for steps_of in drawn:
        batches.append([])
        for move, spread, pause in steps_of:
            mid, at, number = mid + move, at + pause, number + 1
            half = Decimal(mid) * spread / 20_000
            batches[-1].append((mid - half, mid + half, max(at - 900 * (number == late), 0)))
    fired, saved, passed = evaluated(batches, in_columns=True)
    event(f"{passed} of {len(batches)} passed over, {len(fired)} transitions")
    assert (fired, saved) == evaluated(batches, in_columns=False)[:2]


def test_a_calm_market_is_passed_over() -> None:
    chance = random.Random(1)
    calm = [Decimal(chance.randrange(99_990, 100_010)) / 10 for _ in range(2_000)]
    ticks = [(price, price + Decimal("0.5"), 40 * number) for number, price in enumerate(calm)]
    batches = [ticks[at : at + 100] for at in range(0, len(ticks), 100)]
    measuring, evaluator = Measuring(), Evaluator([rule for rule in RULES if rule.name != "low"])
    evaluator.load(Market("coinbase", "BTC-USD"), 3, StoredStates(None, {}))
    first, singles = measuring.both(batches[0])
    assert not evaluator.skip(first), "the session is not known yet"
    for quote in singles:
        evaluator.quote(quote)
    assert all(evaluator.skip(measuring.both(batch)[0]) for batch in batches[1:])
    assert evaluator.take()[0] == []


def test_what_is_seen_day_by_day_is_judged_in_the_order_of_the_topic() -> None:
    measuring = Measuring()
    (early, one), (later, two) = (measuring.both([(Decimal(1), Decimal(2), at)]) for at in (0, 1))
    assert in_topic_order([later, early]) == [*one, *two]
    assert in_topic_order([later, one[0]]) == [*one, *two]
