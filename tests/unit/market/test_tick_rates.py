from __future__ import annotations

from cryptometrics.market.tick_rates import RATE_S, TickRates
from cryptometrics.market.venues import Market

BTC = Market("simulated", "BTC-USD")


def rates(*counts: tuple[float, str, int]) -> TickRates:
    found = TickRates()
    for at, session, ticks in counts:
        found.add(at, BTC, session, ticks)
    return found


def test_a_rate_needs_two_moments() -> None:
    assert TickRates().rate(BTC) is None
    assert rates((0, "a", 5)).rate(BTC) is None
    assert rates((0, "a", 5), (0, "a", 9)).rate(BTC) is None
    assert rates((0, "a", 5), (2, "a", 9)).rate(BTC) == 2.0


def test_only_the_last_seconds_count() -> None:
    assert rates((0, "a", 0), (10, "a", 1000), (10 + RATE_S, "a", 1000)).rate(BTC) == 0


def test_a_new_session_begins_anew() -> None:
    assert rates((0, "a", 500), (1, "b", 3)).rate(BTC) is None
    assert rates((0, "a", 500), (1, "b", 3), (2, "b", 5)).rate(BTC) == 2


def test_old_counts_are_dropped() -> None:
    found = rates(*((float(n), "a", n) for n in range(2000)))
    assert len(found._counts[BTC]) <= RATE_S + 3
    assert found.rate(BTC) == 1
