"""Silences: which alerts are not sent for a while. Pure."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


class ActiveSilence(NamedTuple):
    """A silence that has not ended."""

    id: int
    rule: str
    """Pattern of the names of rules, such as `limit.*`."""
    pair: str
    """Pattern of pairs, or of what an alert names instead of one, such as `BTC-*`."""
    ends_at: datetime

    def covers(self, rule: str, pair: str) -> bool:
        """Return whether alerts of this rule and pair are silenced.

        Nobody should miss a pair because they wrote it in small letters; names of rules can differ by case.
        """
        return fnmatch.fnmatchcase(rule, self.rule) and fnmatch.fnmatchcase(pair.upper(), self.pair.upper())


def longest(silences: Iterable[ActiveSilence], rule: str, pair: str) -> int | None:
    """Return the id of the silence that covers an alert until the latest moment, or None."""
    covering = [silence for silence in silences if silence.covers(rule, pair)]
    return max(covering, key=lambda silence: silence.ends_at).id if covering else None
