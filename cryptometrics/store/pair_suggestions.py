"""Suggest the stored pairs that somebody may have meant who named one that is not stored. Pure."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from cryptometrics.text import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST = 3
"""Suggestions for one pair."""
ALIKE = 0.5
"""Likeness of two base currencies, as difflib measures it, from which on one may be meant by the other."""


def did_you_mean(unknown: Iterable[str], stored: Sequence[str]) -> str:
    """Return ` (did you mean BTC-USD?)` to add to an error, or nothing where no stored pair is like them."""
    close = [
        near
        for pair in unknown
        for near in difflib.get_close_matches(pair, stored, n=MOST)
        if _bases_are_alike(pair, near)
    ]
    return f" (did you mean {listed(dict.fromkeys(close))}?)" if close else ""


def _bases_are_alike(one: str, other: str) -> bool:
    """Return whether more than the quote currency is alike: all pairs in USDC share five letters."""
    base, other_base = one.partition("-")[0], other.partition("-")[0]
    return difflib.SequenceMatcher(None, base, other_base).ratio() >= ALIKE
