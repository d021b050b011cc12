"""Which rows of portfolios are computed first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptometrics.store.portfolio_progress import PortfolioPlace, next_job

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(minutes: int) -> datetime:
    return NOON + timedelta(minutes=minutes)


def place(name: str, complete: int, again: tuple[int, int] | None = None) -> PortfolioPlace:
    since, until = (at(again[0]), at(again[1])) if again else (None, None)
    return PortfolioPlace(name, at(-999), at(complete), since, until, EPOCH, EPOCH)


def test_portfolios_that_lack_the_fewest_rows_come_first_and_together() -> None:
    job = next_job([place("new", -500), place("a", -1), place("b", -1), place("done", 0)], NOON)
    assert job is not None
    assert (job.portfolios, job.begin, job.end, job.again) == (["a", "b"], at(-1), NOON, False)


def test_stale_rows_come_after_missing_ones() -> None:
    stale = place("stale", 0, (-50, -20))
    assert next_job([stale, place("new", -500)], NOON).portfolios == ["new"]  # type: ignore[union-attr]
    job = next_job([stale, place("other", 0, (-50, -30)), place("later", 0, (-40, 0))], NOON)
    assert job is not None
    assert (job.portfolios, job.begin, job.end, job.again) == (["stale", "other"], at(-50), at(-30), True)


def test_a_restatement_leaves_missing_rows_to_a_follower() -> None:
    job = next_job([place("p", -500, (-900, -800)), place("new", -500)], None)
    assert job is not None
    assert (job.portfolios, job.begin, job.end, job.again) == (["p"], at(-900), at(-800), True)
    assert next_job([place("new", -500)], None) is None


def test_nothing_is_left_to_do() -> None:
    assert next_job([], NOON) is None
    assert next_job([place("done", 0)], NOON) is None


def test_rows_that_prune_dropped_do_not_come_back() -> None:
    found = PortfolioPlace("p", at(-600), at(0), None, None, kept_from=at(-300), thinned_until=at(-90))
    kept = [at(minute) for minute in range(-600, 1) if found.keeps(at(minute))]
    assert kept == [at(-300), at(-240), at(-180), at(-120), *(at(minute) for minute in range(-90, 1))]
