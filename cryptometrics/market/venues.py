"""Venues: where a quote comes from. Every series belongs to one venue and pair, a `Market`. Pure.

A venue is an exchange's feed, such as `coinbase`, or a source that only resembles one, such as `simulated`.
Prices of different venues never mix: not in a session, a minute, an alert or a chart.
"""

from __future__ import annotations

import re
from typing import NamedTuple

DEFAULT_VENUE = "coinbase"
"""The venue of a message that names none, and of everything stored before messages could name one."""
SIMULATED = "simulated"
"""The venue of `cryptometrics simulate`."""

MAX_VENUE_CHARS = 32
VENUE_PATTERN = rf"[a-z0-9-]{{1,{MAX_VENUE_CHARS}}}"
is_venue = re.compile(VENUE_PATTERN).fullmatch

_REPLAY_SUFFIX = "-replay"


class Market(NamedTuple):
    """A pair at a venue: what sessions, minutes, trade ids, gaps and alerts are kept for."""

    venue: str
    pair: str

    def __str__(self) -> str:
        """Return the market as one text, such as `coinbase BTC-USD`; `parse` reads it."""
        return f"{self.venue} {self.pair}"

    @classmethod
    def parse(cls, text: str) -> Market:
        """Return the market that `str` wrote."""
        venue, _, pair = text.partition(" ")
        return cls(venue, pair)


def replayed(venue: str) -> str:
    """Return the venue of recorded quotes whose times were moved: they are no history of their venue."""
    return venue[: MAX_VENUE_CHARS - len(_REPLAY_SUFFIX)] + _REPLAY_SUFFIX


def is_simulated(venue: str) -> bool:
    """Return whether the quotes of a venue are simulated: directly, or replayed."""
    return venue == SIMULATED or venue.startswith(SIMULATED + _REPLAY_SUFFIX)


def venue_label(venue: str) -> str:
    """Return a venue for people: its name, which says SIMULATED in capitals if its quotes are simulated."""
    return SIMULATED.upper() + venue.removeprefix(SIMULATED) if is_simulated(venue) else venue


def with_venue(message: bytes, venue: str) -> bytes:
    """Return a message, a JSON object with at least one field, that names this venue.

    The default venue needs no name, so an exchange's own message stays as it came.
    """
    if venue == DEFAULT_VENUE:
        return message
    return message.rstrip()[:-1] + f',"venue":"{venue}"}}'.encode()
