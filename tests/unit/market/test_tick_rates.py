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
    assert rates((0, "a", 5), (0, "a", 6), (2, "a", 9)).rate(BTC) == 2.0


def test_only_the_last_seconds_count() -> None:
    assert RATE_S == 5
    assert rates((0, "a", 0), (10, "a", 1000), (15, "a", 1000)).rate(BTC) == 0
    assert rates((0, "a", 0), (10, "a", 1000), (14.9, "a", 1000)).rate(BTC) == 1000 / 14.9


def test_one_moment_at_least_as_old_as_the_period_is_kept() -> None:
    found = rates((0, "a", 0), (5, "a", 50), (6, "a", 60), (10, "a", 200))
    assert list(found._counts[BTC]) == [(5, "a", 50), (6, "a", 60), (10, "a", 200)]
    assert found.rate(BTC) == 30


def test_a_copy_counts_by_itself() -> None:
    found = rates((0, "a", 0), (2, "a", 10))
    other = found.copy()
    other.add(4, BTC, "a", 40)
    assert (found.rate(BTC), other.rate(BTC)) == (5, 10)


def test_a_new_session_begins_anew() -> None:
    assert rates((0, "a", 500), (1, "b", 3)).rate(BTC) is None
    assert rates((0, "a", 500), (1, "b", 3), (2, "b", 5)).rate(BTC) == 2


def test_old_counts_are_dropped() -> None:
    found = rates(*((float(n), "a", n) for n in range(2000)))
    assert len(found._counts[BTC]) <= RATE_S + 3
    assert found.rate(BTC) == 1
