"""Venues: the names that one may have, and what a message says of its venue."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.market.venues import (
    DEFAULT_VENUE,
    MAX_VENUE_CHARS,
    SIMULATED,
    VENUE_PATTERN,
    Market,
    is_simulated,
    is_venue,
    replayed,
    venue_label,
    with_venue,
)

venues = st.from_regex(VENUE_PATTERN, fullmatch=True)


@given(venues)
def test_a_replay_has_a_venue_of_its_own(venue: str) -> None:
    assert is_venue(replayed(venue))
    assert replayed(venue).endswith("-replay")
    assert replayed("a" * MAX_VENUE_CHARS) == "a" * 25 + "-replay"


@pytest.mark.parametrize("venue", [DEFAULT_VENUE, SIMULATED, "coinbase-replay"])
def test_our_own_names_are_valid(venue: str) -> None:
    assert is_venue(venue)


@given(venues)
def test_simulated_quotes_are_known_however_often_they_are_replayed(venue: str) -> None:
    assert is_simulated(SIMULATED)
    assert is_simulated(replayed(SIMULATED))
    assert is_simulated(replayed(replayed(SIMULATED)))
    assert is_simulated(venue) == is_simulated(replayed(venue)) or len(venue) > 25


@pytest.mark.parametrize(
    ("venue", "label"),
    [
        ("coinbase", "coinbase"),
        ("coinbase-replay", "coinbase-replay"),
        ("simulated", "SIMULATED"),
        ("simulated-replay", "SIMULATED-replay"),
        ("simulated2", "simulated2"),
    ],
)
def test_people_read_that_quotes_are_simulated(venue: str, label: str) -> None:
    assert venue_label(venue) == label
    assert is_simulated(venue) == ("SIMULATED" in label)


@given(venues)
def test_a_market_is_one_text_and_comes_back(venue: str) -> None:
    market = Market(venue, "BTC-USD")
    assert Market.parse(str(market)) == market
    assert len(str(market).split()) == 2


def test_a_message_gets_the_venue_unless_that_is_the_default() -> None:
    message = b'{"type":"ticker","price":"1"}\n'
    assert with_venue(message, DEFAULT_VENUE) is message
    named = with_venue(message, "coinbase-replay")
    assert json.loads(named) == {"type": "ticker", "price": "1", "venue": "coinbase-replay"}
