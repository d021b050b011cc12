"""When rules fire: by plain recomputation, and however the ticks are cut into batches and workers die."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptometrics.alerts import evaluator
from cryptometrics.alerts.evaluator import (
    CLOCK,
    MAX_BEHIND,
    Evaluator,
    ObservedGap,
    ObservedRecord,
    StoredStates,
    subject_of,
)
from cryptometrics.alerts.observed_ticks import Quote
from cryptometrics.alerts.rule_state import SavedState
from cryptometrics.alerts.rules import Rule, parse
from cryptometrics.market.venues import Market
from tests.unit.alerts.tick_runs import run_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptometrics.alerts.rule_state import Transition

START = datetime(2026, 6, 30, 23, 59, tzinfo=UTC)
PAIRS = ("BTC-USD", "ETH-USD")
BTC, ETH = MARKETS = [Market("coinbase", pair) for pair in PAIRS]

RULES = parse(
    """
[[rule]]
name = "wide"
kind = "spread_bps"
level = 25
resolve_below = 15
for = "5s"
cooldown = "20s"
[[rule]]
name = "wide at once"
kind = "spread_bps"
pairs = ["BTC-*"]
level = 40
cooldown = "0s"
[[rule]]
name = "move"
kind = "mid_move_pct"
level = 2
resolve_below = 1
within = "20s"
cooldown = "5s"
[[rule]]
name = "high"
kind = "session_high_pct"
level = 1
cooldown = "0s"
[[rule]]
name = "low"
kind = "session_low_pct"
level = 1
cooldown = "0s"
[[rule]]
name = "bad"
kind = "rejected_pct"
level = 20
within = "20s"
ticks = 5
cooldown = "0s"
[[rule]]
name = "gap"
kind = "gap"
level = 3
cooldown = "10s"
""".replace("wide at once", "wide-at-once")
)
Event = Quote | ObservedGap | ObservedRecord


@dataclass
class Store:
    """What a database would give back: standings, and each pair's newest tick."""

    saved: dict[tuple[str, Market], SavedState] = field(default_factory=dict)
    newest: dict[Market, datetime] = field(default_factory=dict)

    def past(self, market: Market) -> StoredStates:
        mine = {rule: saved for (rule, of), saved in self.saved.items() if of == market}
        return StoredStates(self.newest.get(market), mine)


class Session:
    """Makes quotes, with the extremes that the session has then."""

    def __init__(self) -> None:
        self._extremes: dict[tuple[str, str], tuple[Decimal, Decimal]] = {}
        self.offset = 0

    def quote(self, pair: str, second: float, bid: str | Decimal, ask: str | Decimal) -> Quote:
        time = START + timedelta(seconds=second)
        bid, ask, name = Decimal(bid), Decimal(ask), time.date().isoformat()
        high, low = self._extremes.get((pair, name), (bid, ask))
        high, low = self._extremes[pair, name] = max(high, bid), min(low, ask)
        self.offset += 1
        mid, market = (bid + ask) / 2, Market("coinbase", pair)
        return Quote(market, time, bid, ask, mid, ask - bid, name, high, low, PAIRS.index(pair), self.offset)


def run(events: Sequence[Event], cuts: Mapping[int, bool], rules: Sequence[Rule] = RULES) -> list[Transition]:
    """Judge events; cuts: after how many events a batch ends → whether its worker dies then."""
    store, evaluator, found = Store(), Evaluator(rules), []
    for number, event in enumerate(events, start=1):
        names = (
            {subject_of(event.partition): event.partition}
            if isinstance(event, ObservedRecord)
            else {event.market: event.partition}
        )
        for market in evaluator.unknown(names):
            evaluator.load(market, names[market], store.past(market))
        match event:
            case Quote():
                evaluator.quote(event)
                store.newest[event.market] = max(event.time, store.newest.get(event.market, event.time))
            case ObservedGap():
                evaluator.gap(event)
            case ObservedRecord():
                evaluator.record(event)
        if number in cuts or number == len(events):
            transitions, saved = evaluator.take()
            found += transitions
            store.saved |= saved
            if cuts.get(number):
                evaluator.drop_all()
    return found


def told(transitions: Sequence[Transition]) -> list[tuple[str, bool, float]]:
    """Return which rule fires or has resolved, and the second."""
    return [(t.rule.name, t.firing, (t.at - START).total_seconds()) for t in transitions]


def only(*names: str) -> list[Rule]:
    return [rule for rule in RULES if rule.name in names]


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    """Draw quotes of two pairs that walk, jump, widen and come late, with gaps and rejected ticks between."""
    session, second = Session(), 0.0
    events: list[Event] = []
    mids = dict.fromkeys(PAIRS, 10000)
    for step in draw(
        st.lists(
            st.tuples(
                st.sampled_from((*PAIRS, *PAIRS, "gap", "bad", "good")),
                st.sampled_from((0.0, 0.5, 1.0, 3.0, 9.0)),
                st.sampled_from((0, 0, 30, -30, 250, -250)),
                st.sampled_from((2, 10, 20, 30, 50)),
                st.sampled_from((0.0, 0.0, 0.0, 2.0, 40.0)),
            ),
            max_size=80,
        )
    ):
        what, pause, move, spread, late = step
        second += pause
        if what in PAIRS:
            mids[what] = max(mids[what] + move, 5_000)
            half = Decimal(mids[what]) * spread / 20_000
            events.append(session.quote(what, second - late, mids[what] - half, mids[what] + half))
        elif what == "gap":
            at = START + timedelta(seconds=second)
            events.append(ObservedGap(BTC, at, None if move == 0 else abs(move), 0, session.offset))
        else:
            at = START + timedelta(seconds=second - late)
            events.append(ObservedRecord(1, session.offset, at, what == "bad"))
    return events


@settings(max_examples=300, deadline=None)
@given(streams(), st.dictionaries(st.integers(1, 80), st.booleans()), st.sampled_from((2, MAX_BEHIND)))
def test_neither_batches_nor_deaths_change_what_fires(
    events: list[Event], cuts: dict[int, bool], max_behind: int
) -> None:
    with patch.object(evaluator, "MAX_BEHIND", max_behind):
        assert run(events, cuts) == run(events, {})


@settings(max_examples=100, deadline=None)
@given(streams(), st.dictionaries(st.integers(1, 80), st.booleans()))
def test_of_each_rule_and_pair_firing_and_resolved_take_turns(
    events: list[Event], cuts: dict[int, bool]
) -> None:
    fires: dict[tuple[str, Market], bool] = {}
    for news in run(events, cuts):
        assert news.firing != fires.get((news.rule.name, news.market), False)
        fires[news.rule.name, news.market] = news.firing
        assert news.since <= news.at


def recomputed(rule: Rule, market: Market, events: Sequence[Event]) -> list[tuple[Any, ...]]:
    """Return, in the plainest way, when a rule on spreads fires: number, rule, market, firing, since, at."""
    found: list[tuple[Any, ...]] = []
    newest = since = cooled = None
    firing = False
    for number, quote in enumerate(events):
        if not isinstance(quote, Quote) or quote.market != market or (newest and quote.time < newest):
            continue
        newest = quote.time
        bps = quote.spread / quote.mid * 10_000
        if firing:
            if bps <= rule.resolve_below:
                found.append((number, rule.name, market, False, since, newest))
                firing, since, cooled = False, None, newest
        elif bps <= rule.level:
            since = None
        else:
            since = since or newest
            if newest - since >= rule.hold and (cooled is None or newest - cooled >= rule.cooldown):
                firing = True
                found.append((number, rule.name, market, True, since, newest))
    return found


@settings(max_examples=200, deadline=None)
@given(streams())
def test_spreads_fire_as_a_plain_recomputation_says(events: list[Event]) -> None:
    rules = only("wide", "wide-at-once")
    plain = [
        news
        for rule in rules
        for market in MARKETS
        if rule.covers(market)
        for news in recomputed(rule, market, events)
    ]
    found = [(t.rule.name, t.market, t.firing, t.since, t.at) for t in run(events, {}, rules)]
    assert found == [each[1:] for each in sorted(plain, key=lambda each: each[0])]


def spreads(*values: tuple[float, int], pair: str = "BTC-USD") -> list[Quote]:
    """Return quotes at these seconds with these spreads, in bps."""
    session = Session()
    mid = Decimal(10_000)
    return [session.quote(pair, at, mid - Decimal(bps) / 2, mid + Decimal(bps) / 2) for at, bps in values]


def test_a_spread_fires_after_its_time_and_resolves_below_the_lower_level() -> None:
    events = spreads((0, 10), (1, 26), (5.9, 30), (6, 26), (7, 20), (8, 16), (9, 15), (10, 10))
    assert told(run(events, {}, only("wide"))) == [("wide", True, 6), ("wide", False, 9)]
    firing, resolved = run(events, {}, only("wide"))
    assert (firing.since, firing.value) == (START + timedelta(seconds=1), Decimal(26))
    assert firing.message == "BTC-USD (coinbase): spread 26 bps (9,987 / 10,013), above 25 bps for 5s"
    assert resolved.message == "BTC-USD (coinbase): spread 15 bps (9,992.5 / 10,007.5), not above 15 bps"


def test_the_level_itself_is_not_above_it() -> None:
    assert run(spreads(*((second, 25) for second in range(20))), {}, only("wide")) == []


def test_a_break_begins_the_time_anew() -> None:
    events = spreads((0, 30), (4, 30), (4.5, 25), (5, 30), (9, 30), (10, 30))
    assert told(run(events, {}, only("wide"))) == [("wide", True, 10)]


def test_within_the_cooldown_nothing_fires_and_after_it_what_lasted_does() -> None:
    events = spreads((0, 30), (5, 30), (6, 10), (10, 30), (16, 30), (25.9, 30), (26, 30))
    assert told(run(events, {}, only("wide"))) == [("wide", True, 5), ("wide", False, 6), ("wide", True, 26)]


def test_a_late_tick_is_not_judged() -> None:
    assert run(spreads((10, 10), (9, 99)), {}, only("wide-at-once")) == []
    assert told(run(spreads((10, 10), (10, 99)), {}, only("wide-at-once"))) == [("wide-at-once", True, 10)]


@pytest.mark.parametrize("cut", range(0, MAX_BEHIND + 5, 7))
def test_a_time_in_the_future_does_not_silence_a_pair_for_long(cut: int) -> None:
    late = [(second, 99) for second in range(1, MAX_BEHIND + 3)]
    events = spreads((0, 10), (80_000, 10), *late)
    assert told(run(events, {cut: True}, only("wide-at-once"))) == [("wide-at-once", True, MAX_BEHIND)]


def test_ninety_nine_older_ticks_are_not_judged_and_the_hundredth_sets_the_clock_back() -> None:
    evaluator = Evaluator(only("wide-at-once"))
    evaluator.load(BTC, 0, StoredStates(START + timedelta(seconds=80_000), {}))
    (*late, hundredth, next_one) = spreads(*((second, 99) for second in range(101)))
    for quote in late:
        evaluator.quote(quote)
    assert evaluator.take() == ([], {(CLOCK, BTC): SavedState("inactive", None, None, "99")})
    evaluator.quote(hundredth)
    transitions, saved = evaluator.take()
    assert told(transitions) == [("wide-at-once", True, 99)]
    assert saved[CLOCK, BTC] == SavedState("inactive", hundredth.time, None, "0")
    evaluator.quote(next_one)
    assert evaluator.take() == ([], {(CLOCK, BTC): SavedState("inactive", next_one.time, None, "0")})
    assert evaluator.take() == ([], {})


def test_what_was_pending_in_the_future_is_pending_from_now_on() -> None:
    late = [(second, 99) for second in range(1, MAX_BEHIND + 9)]
    events = spreads((0, 10), (80_000, 99), *late)
    assert told(run(events, {}, only("wide"))) == [("wide", True, MAX_BEHIND + 5)]


def test_a_price_in_the_future_is_forgotten_with_its_time() -> None:
    late = [(float(second), "100", "100") for second in range(1, MAX_BEHIND + 9)]
    assert run(quotes((80_000, "200", "200"), *late), {}, only("move")) == []


def quotes(*values: tuple[float, str, str]) -> list[Quote]:
    session = Session()
    return [session.quote("BTC-USD", *value) for value in values]


@pytest.mark.parametrize(("end", "fires"), [(102.1, True), (101.9, False), (97.9, True), (98.1, False)])
def test_a_move_is_measured_from_the_lowest_or_highest_within_the_time(end: float, fires: bool) -> None:
    price = str(Decimal(str(end)))
    events = quotes((0, "100", "100"), (10, "100", "100"), (18, price, price))
    assert told(run(events, {}, only("move"))) == ([("move", True, 18)] if fires else [])


@pytest.mark.parametrize(("second", "fires"), [(19.5, True), (20, False)])
def test_a_move_has_its_time_and_no_more(second: float, fires: bool) -> None:
    events = quotes((0, "100", "100"), (second, "103", "103"))
    assert bool(run(events, {}, only("move"))) is fires


def test_a_move_that_takes_longer_does_not_fire() -> None:
    steps = [(2.0 * n, str(100 + Decimal(n) / 10), str(100 + Decimal(n) / 10)) for n in range(100)]
    assert run(quotes(*steps), {}, only("move")) == []


def test_a_move_resolves_when_it_is_out_of_the_time() -> None:
    events = quotes((0, "100", "100"), (1, "103", "103"), (15, "103", "103"), (22, "103", "103"))
    assert told(run(events, {}, only("move"))) == [("move", True, 1), ("move", False, 22)]


def test_a_bid_beyond_the_sessions_high_fires_and_then_the_new_high_counts() -> None:
    events = quotes(
        (0, "100", "101"),
        (1, "100.9", "101"),
        (2, "101.1", "102"),
        (3, "105", "106"),
        (4, "101", "102"),
        (5, "105", "106"),
        (6, "106.1", "107"),
    )
    assert told(run(events, {}, only("high"))) == [("high", True, 2), ("high", False, 4), ("high", True, 6)]


def test_an_ask_below_the_sessions_low_fires_and_a_new_session_begins_anew() -> None:
    events = quotes((58, "100", "101"), (59, "90", "91"), (60, "80", "81"), (61, "79.5", "80.5"))
    assert told(run(events, {}, only("low"))) == [("low", True, 59), ("low", False, 60)]


def test_a_share_of_rejected_ticks_needs_ticks_and_passes_with_time() -> None:
    def records(*kinds: tuple[float, bool]) -> list[Event]:
        return [ObservedRecord(3, n, START + timedelta(seconds=s), bad) for n, (s, bad) in enumerate(kinds)]

    assert run(records((0, True), (1, True), (2, True), (3, True)), {}, only("bad")) == []
    events = records((0, False), (1, False), (2, False), (3, False), (4, True), (5, True), (27, False))
    events += records(*((28 + n, False) for n in range(5)))
    found = run(events, {}, only("bad"))
    assert told(found) == [("bad", True, 5), ("bad", False, 27)]
    assert found[0].market == ("", "partition 3")
    assert found[0].message == "partition 3: 33.3 % of the ticks rejected in 20s, above 20 %"


def test_a_record_without_a_time_counts_at_the_time_before() -> None:
    untimed: list[Any] = [ObservedRecord(0, n, None, True) for n in range(9)]
    assert run(untimed, {}, only("bad")) == []
    assert told(run([ObservedRecord(0, 0, START, False), *untimed], {}, only("bad"))) == [("bad", True, 0)]


def test_the_clock_of_a_partition_is_stored_with_its_state() -> None:
    evaluator, partition = Evaluator(RULES), subject_of(2)
    evaluator.load(partition, 2, StoredStates(None, {}))
    for second in (0, 1):
        evaluator.record(ObservedRecord(2, second, START + timedelta(seconds=second), rejected=True))
        _, saved = evaluator.take()
        at = START + timedelta(seconds=second)
        assert saved.pop((CLOCK, partition)) == SavedState("inactive", at, None, "0")
        assert list(saved) == [("bad", partition)]


@pytest.mark.parametrize(("trades", "fires"), [(None, True), (3, False), (4, True)])
def test_a_gap_fires_and_resolves_with_the_next_tick(trades: int | None, fires: bool) -> None:
    (tick,) = spreads((9, 10))
    found = run([ObservedGap(BTC, START, trades, 0, 1), tick], {1: True}, only("gap"))
    assert told(found) == ([("gap", True, 0), ("gap", False, 9)] if fires else [])


def test_a_rule_that_became_another_one_forgets_what_it_remembered() -> None:
    (tick,) = quotes((0, "100", "100"))
    evaluator = Evaluator(only("move"))
    evaluator.load(BTC, 0, StoredStates(None, {}))
    evaluator.quote(tick)
    saved = {rule: saved for (rule, _), saved in evaluator.take()[1].items()}
    (other,) = parse('[[rule]]\nname = "move"\nkind = "session_high_pct"\nlevel = 1')
    evaluator = Evaluator([other])
    evaluator.load(BTC, 0, StoredStates(tick.time, saved))
    for quote in quotes((0, "100", "100"), (1, "102", "102")):
        evaluator.quote(quote)
    assert told(evaluator.take()[0]) == [("move", True, 1)]


def test_partitions_that_are_dropped_are_read_again() -> None:
    evaluator = Evaluator(RULES)
    evaluator.load(BTC, 0, StoredStates(None, {}))
    evaluator.load(subject_of(1), 1, StoredStates(None, {}))
    evaluator.drop([1])
    assert evaluator.unknown([BTC, subject_of(1)]) == {subject_of(1)}


def test_what_is_dropped_at_once_leaves_nothing_behind() -> None:
    evaluator = Evaluator(RULES)
    for market in (BTC, subject_of(1)):
        evaluator.load(market, 1, StoredStates(None, {}))
    evaluator.gap(ObservedGap(BTC, START, None, 1, 0))
    evaluator.drop_all()
    assert evaluator.unknown([BTC, subject_of(1)]) == {BTC, subject_of(1)}
    assert evaluator.take() == ([], {})


@pytest.mark.parametrize(
    ("names", "of_pairs", "of_records"),
    [(["wide", "bad"], True, True), (["gap"], True, False), (["bad"], False, True), ([], False, False)],
)
def test_it_knows_what_its_rules_are_about(names: list[str], *, of_pairs: bool, of_records: bool) -> None:
    evaluator = Evaluator(only(*names))
    assert (evaluator.has_pair_rules, evaluator.has_record_rules) == (of_pairs, of_records)


SEEN = [(10, "9999", "10001"), (11, "9999", "10001")]


@pytest.mark.parametrize(
    ("names", "ticks", "passes"),
    [
        (["wide", "move", "gap"], [(11, "9999", "10001"), (12, "9999", "10001")], True),
        (["wide"], [(12, "9999", "10001"), (12, "9999", "10001")], True),
        (["wide"], [(10.9, "9999", "10001")], False),
        (["wide"], [(12, "9999", "10001"), (11.999999, "9999", "10001")], False),
        (["wide"], [(10.9, "9999", "10001"), (12, "9999", "10001")], False),
        (["wide"], [(12, "9970", "10001")], False),
        (["wide", "move"], [(12, "10250", "10251")], False),
        (["bad"], [(10.9, "9970", "10001")], True),
    ],
)
def test_only_ticks_in_order_that_cause_nothing_pass_unseen(
    names: list[str], ticks: list[tuple[float, str, str]], *, passes: bool
) -> None:
    evaluator = Evaluator(only(*names))
    evaluator.load(BTC, 3, StoredStates(None, {}))
    for quote in run_of(*SEEN).quotes():
        evaluator.quote(quote)
    assert evaluator.skip(run_of(*ticks)) is passes


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("wide", (11, "9950", "10001")),
        ("wide-at-once", (11, "9950", "10001")),
        ("gap", ObservedGap(BTC, START, None, 3, 0)),
    ],
)
def test_while_a_rule_is_pending_or_fires_no_tick_passes_unseen(
    name: str, event: tuple[float, str, str] | ObservedGap
) -> None:
    evaluator = Evaluator(only(name))
    evaluator.load(BTC, 3, StoredStates(None, {}))
    if isinstance(event, ObservedGap):
        evaluator.gap(event)
    else:
        evaluator.quote(*run_of(event).quotes())
    assert evaluator.skip(run_of((12, "9999", "10001"))) is False


def test_ticks_that_pass_unseen_are_remembered_and_set_the_clock() -> None:
    evaluator = Evaluator(only("wide-at-once", "move"))
    evaluator.load(BTC, 3, StoredStates(None, {}))
    assert evaluator.skip(run_of(*SEEN))
    transitions, saved = evaluator.take()
    assert (transitions, list(saved)) == ([], [("move", BTC)])
    late, risen = run_of((10.9, "9000", "11000"), (11.5, "10249", "10251")).quotes()
    evaluator.quote(late)
    evaluator.quote(risen)
    assert [(each.rule.name, each.at) for each in evaluator.take()[0]] == [("move", risen.time)]


def test_a_quiet_rule_writes_nothing() -> None:
    evaluator = Evaluator(only("wide", "wide-at-once"))
    evaluator.load(BTC, 0, StoredStates(None, {}))
    for quote in spreads(*((second, 10) for second in range(50))):
        evaluator.quote(quote)
    assert evaluator.take() == ([], {})
    assert CLOCK == ""
