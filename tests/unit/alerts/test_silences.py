"""Which alerts a silence covers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cryptometrics.alerts.silences import ActiveSilence, longest

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def silence(rule: str = "*", pair: str = "*", number: int = 1, minutes: int = 60) -> ActiveSilence:
    return ActiveSilence(number, rule, pair, NOW + timedelta(minutes=minutes))


@pytest.mark.parametrize(
    ("rule", "pair", "covered"),
    [
        ("*", "*", True),
        ("limit.*", "*", True),
        ("limit.gross", "treasury", True),
        ("limit.gros", "*", False),
        ("gross", "*", False),
        ("limit.?ross", "*", True),
        ("limit[.]gross", "*", True),
        ("limit.[!a-f]*", "*", True),
        ("Limit.*", "*", False),
        ("*", "TREAS*", True),
        ("*", "BTC-*", False),
    ],
)
def test_patterns_cover_a_rule_and_a_pair(rule: str, pair: str, covered: bool) -> None:
    assert silence(rule, pair).covers("limit.gross", "treasury") is covered


def test_a_point_in_a_pattern_is_a_point() -> None:
    assert not silence("limit.gross").covers("limitXgross", "BTC-USD")


def test_pairs_are_the_same_in_small_letters() -> None:
    assert silence(pair="btc-*").covers("wide", "BTC-USD")


def test_the_silence_that_lasts_longest_counts() -> None:
    silences = [silence(number=1), silence(number=2, minutes=90), silence("x", number=3, minutes=99)]
    assert longest(silences, "wide", "BTC-USD") == 2
    assert longest(silences[2:], "wide", "BTC-USD") is None
    assert longest([], "wide", "BTC-USD") is None
