"""Stale feeds: judged by the clock that is given, from when the last tick of each pair was stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptometrics.alerts.rule_state import SavedState
from cryptometrics.alerts.rules import parse
from cryptometrics.alerts.stale_feed import LastTicks, evaluate
from cryptometrics.market.venues import Market

START = datetime(2026, 7, 1, 12, tzinfo=UTC)
RULES = parse(
    '[[rule]]\nname = "stale"\nkind = "stale"\npairs = ["BTC-USD", "ETH-*"]\nfor = "30s"\ncooldown = "2m"'
)


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def named(market: Market) -> str:
    return market.pair if market.venue == "coinbase" else str(market)


class Watch:
    """Judges as the sender does: again and again, from what it wrote the last time."""

    def __init__(self, since: float = 0) -> None:
        self.since = at(since)
        self.last: dict[Market, datetime] = {}
        self.saved: dict[tuple[str, Market], SavedState] = {}

    def look(self, second: float, venue: str = "coinbase", **ticks: float) -> list[tuple[str, bool, float]]:
        """Return pair, firing and second of what is new.

        ticks: when the last one of a base in USD came from the venue. The pair stands with its venue, unless
        that is coinbase.
        """
        self.last |= {Market(venue, f"{base}-USD"): at(stored) for base, stored in ticks.items()}
        news, saved = evaluate(RULES, LastTicks(at(second), self.last, self.saved), self.since)
        self.saved |= saved
        return [(named(t.market), t.firing, (t.at - START).total_seconds()) for t in news]


def test_silence_fires_once_and_ends_with_a_tick() -> None:
    watch = Watch()
    assert watch.look(29, BTC=0, ETH=10) == []
    assert watch.look(31) == [("BTC-USD", True, 31)]
    assert watch.look(32, ETH=32) == []
    assert watch.look(40, BTC=39.5, ETH=39) == [("BTC-USD", False, 40)]


def test_a_pair_that_is_named_is_missed_even_if_it_never_came() -> None:
    watch = Watch()
    assert watch.look(29.9, ETH=29) == []
    assert watch.look(30, ETH=29) == [("BTC-USD", True, 30)]


def test_only_a_tick_that_is_younger_than_the_time_ends_the_silence() -> None:
    watch = Watch()
    assert watch.look(30) == [("BTC-USD", True, 30)]
    assert watch.look(60, BTC=30) == []
    assert watch.look(60, BTC=30.1) == [("BTC-USD", False, 60)]


def test_silence_from_before_the_watch_does_not_count() -> None:
    watch = Watch(since=1000)
    assert watch.look(1001, BTC=0, ETH=0) == []
    assert watch.look(1030) == [("BTC-USD", True, 1030), ("ETH-USD", True, 1030)]


def test_a_new_watch_ends_what_an_earlier_one_began() -> None:
    watch = Watch()
    watch.look(30)
    watch.since = at(50)
    assert watch.look(51) == []
    assert watch.look(52, BTC=51) == [("BTC-USD", False, 52)]


def test_within_the_cooldown_silence_does_not_fire_again() -> None:
    watch = Watch()
    watch.look(30)
    watch.look(40, BTC=39)
    assert watch.look(159.9) == []
    assert watch.look(160) == [("BTC-USD", True, 160)]


def test_a_pair_that_is_forgotten_goes_on_firing() -> None:
    watch = Watch()
    assert watch.look(30, BTC=30, ETH=0) == [("ETH-USD", True, 30)]
    del watch.last[Market("coinbase", "ETH-USD")]
    assert watch.look(59) == []
    assert watch.saved["stale", Market("coinbase", "ETH-USD")].state == "firing"


def test_each_venue_of_a_pair_is_missed_by_itself() -> None:
    watch = Watch()
    assert watch.look(20, BTC=20) == []
    assert watch.look(20, venue="simulated", BTC=5) == []
    assert watch.look(36) == [("simulated BTC-USD", True, 36)]
    assert watch.look(50) == [("BTC-USD", True, 50)]


def test_a_pair_that_is_named_without_a_venue_may_come_from_any() -> None:
    watch = Watch()
    assert watch.look(40, venue="simulated", BTC=39) == []
    watch = Watch()
    assert watch.look(30) == [("BTC-USD", True, 30)]
    assert watch.look(41, venue="simulated", BTC=40) == [("BTC-USD", False, 41)]


def test_a_pair_that_is_silent_elsewhere_is_not_missed_at_the_default_venue_too() -> None:
    assert Watch().look(70, venue="simulated", BTC=39) == [("simulated BTC-USD", True, 70)]


def test_neither_what_another_rule_tells_nor_what_is_long_resolved_is_missed() -> None:
    watch = Watch()
    watch.saved["other", Market("coinbase", "SOL-USD")] = SavedState("firing", at(0), None, None)
    watch.saved["other", Market("coinbase", "ETH-USD")] = SavedState("firing", at(0), None, None)
    watch.saved["stale", Market("coinbase", "ETH-EUR")] = SavedState("inactive", None, at(0), None)
    assert watch.look(500, BTC=499) == []


def test_it_says_how_long() -> None:
    news, _ = evaluate(RULES, LastTicks(at(45), {}, {}), at(0))
    assert [each.message for each in news] == ["BTC-USD (coinbase): no tick for 45 s"]
    assert news[0].since == START
