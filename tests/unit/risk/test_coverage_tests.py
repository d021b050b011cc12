from __future__ import annotations

import math

import pytest

from cryptometrics import risk


def test_without_forecasts_the_tests_are_unknown() -> None:
    assert risk.kupiec(0, 0, 0.99) is None
    assert risk.traffic_light(0, 0, 0.99) is None
    assert risk.christoffersen([], 0.99) is None
    assert risk.christoffersen([True], 0.99) is None
    assert risk.conditional_coverage([True], 0.99) is None


def test_two_forecasts_are_enough_to_look_for_dependence() -> None:
    assert risk.christoffersen([False, True], 0.95) is not None
    assert risk.conditional_coverage([False, True], 0.95) is not None


def test_an_unknown_outcome_makes_the_tests_unknown() -> None:
    assert risk.christoffersen([False, None, True], 0.99) is None
    assert risk.conditional_coverage([False, math.nan, True], 0.99) is None


def test_just_as_many_failures_as_promised_have_a_statistic_of_zero() -> None:
    test = risk.kupiec(100, 5, 0.95)
    assert test is not None
    assert test.statistic == pytest.approx(0, abs=1e-12)
    assert test.p_value == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("failures", [0, 100])
def test_no_failures_and_nothing_but_failures_have_a_likelihood(failures: int) -> None:
    test = risk.kupiec(100, failures, 0.95)
    assert test is not None
    share = 0.05 if failures else 0.95
    assert test.statistic == pytest.approx(-2 * 100 * math.log(share))


@pytest.mark.parametrize("failed", [[False] * 10, [True] * 10])
def test_failures_that_never_change_are_no_sign_of_dependence(failed: list[bool]) -> None:
    assert risk.christoffersen(failed, 0.95) == risk.CoverageTest(0.0, 1.0)


def test_rounding_makes_no_statistic_negative() -> None:
    """One failure in three, whether or not after a failure: the two likelihoods differ by rounding only."""
    failed = [False, False, False, False, False, True, True, False, True, False]
    assert risk.christoffersen(failed, 0.95) == risk.CoverageTest(0.0, 1.0)


@pytest.mark.parametrize(
    ("failures", "zone"),
    [(0, "green"), (4, "green"), (5, "yellow"), (9, "yellow"), (10, "red"), (250, "red")],
)
def test_the_zones_of_a_year_are_those_of_the_committee(failures: int, zone: str) -> None:
    light = risk.traffic_light(250, failures, 0.99)
    assert light is not None
    assert light.zone == zone
    assert light.probability == pytest.approx(
        math.fsum(math.comb(250, x) * 0.01**x * 0.99 ** (250 - x) for x in range(failures + 1))
    )


def test_a_cluster_of_failures_is_found() -> None:
    spread, cluster = [False] * 200, [False] * 200
    spread[10::20] = [True] * 10
    cluster[100:110] = [True] * 10
    one, other = risk.christoffersen(spread, 0.95), risk.christoffersen(cluster, 0.95)
    assert one is not None
    assert other is not None
    assert one.p_value > 0.2
    assert other.p_value < 1e-6


@pytest.mark.parametrize(
    ("observations", "failures", "confidence", "message"),
    [
        (-1, 0, 0.95, "observations must be a whole number of at least 0"),
        (10, -1, 0.95, "failures must be a whole number of at least 0"),
        (10.5, 1, 0.95, "observations must be a whole number"),
        (10, True, 0.95, "failures must be a whole number"),
        (10, 11, 0.95, "cannot be more failures"),
        (10, 1, 1.0, "confidence must be between 0 and 1"),
    ],
)
def test_wrong_counts_are_refused(observations: int, failures: int, confidence: float, message: str) -> None:
    for test in (risk.kupiec, risk.traffic_light):
        with pytest.raises(ValueError, match=message):
            test(observations, failures, confidence)


def test_outcomes_other_than_true_and_false_are_refused() -> None:
    with pytest.raises(ValueError, match="failed must be True or False"):
        risk.christoffersen([0, 1, 2], 0.95)
    with pytest.raises(ValueError, match="confidence must be between 0 and 1"):
        risk.christoffersen([0, 1], 0)


@pytest.mark.parametrize(("confidence", "zone"), [(0.94, "green"), (0.95, "yellow"), (0.9999, "red")])
def test_a_zone_begins_at_its_probability(confidence: float, zone: str) -> None:
    """Of one forecast without a failure, the probability is the confidence itself."""
    light = risk.traffic_light(1, 0, confidence)
    assert light is not None
    assert light.zone == zone
    assert light.probability == pytest.approx(confidence, rel=1e-12)


LN = math.log


@pytest.mark.parametrize(
    ("failed", "statistic"),
    [
        # Never two without a failure: 2 of 2 fail after none, 1 of 3 after one, 3 of 5 in all.
        ("101011", 2 * (LN(1 / 3) + 2 * LN(2 / 3) - 3 * LN(3 / 5) - 2 * LN(2 / 5))),
        # Never two failures: 2 of 3 fail after none, 0 of 2 after one, 2 of 5 in all.
        ("010010", 2 * (2 * LN(2 / 3) + LN(1 / 3) - 2 * LN(2 / 5) - 3 * LN(3 / 5))),
        # No failure at once after another one, but always after none: 3 of 3, 0 of 2.
        ("010101", 2 * (-3 * LN(3 / 5) - 2 * LN(2 / 5))),
    ],
)
def test_a_transition_that_never_comes_has_a_likelihood_of_one(failed: str, statistic: float) -> None:
    found = risk.christoffersen([state == "1" for state in failed], 0.95)
    assert found is not None
    assert found.statistic == pytest.approx(statistic, rel=1e-12)
