"""Times and durations as a person types them (`15m`, `2026-07-01T12:00`), and a timer for loops."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_is_duration = re.compile(r"(?:[0-9]{1,9}[smhdw])+", re.ASCII).fullmatch
_parts = re.compile(r"([0-9]+)([smhdw])", re.ASCII).findall


def parse_duration(text: str) -> timedelta:
    """Return the length of `90s`, `15m`, `2h`, `7d`, `1w` or several together, `1h30m`.

    Raises ValueError, whose text is for the user, where it is none or longer than a timedelta can be.
    """
    if not _is_duration(text):
        raise ValueError(f"{text!r} is no duration such as 90s, 15m, 2h, 7d or 1h30m")
    try:
        return sum((timedelta(**{_UNITS[unit]: int(number)}) for number, unit in _parts(text)), timedelta())
    except OverflowError:
        raise ValueError(f"{text!r} is longer than any data") from None


def parse_time(text: str, now: datetime) -> datetime:
    """Return the moment in UTC that `text` names: a duration before `now`, or an ISO 8601 date or time.

    A time without zone is UTC, as everything stored is; a date is its first moment. Raises ValueError,
    whose text is for the user.
    """
    if _is_duration(text):
        try:
            return now.astimezone(UTC) - parse_duration(text)
        except OverflowError:
            raise ValueError(f"{text!r} ago is before the year 1") from None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no time: write 15m, 2h or 7d for that long ago, or 2026-07-01T12:00 (UTC)"
        ) from None


class Interval:
    """A timer for a busy loop: `if interval.elapsed(): …` runs its body once per interval."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = time.monotonic() + seconds

    def elapsed(self) -> bool:
        """Return whether the interval has passed, and begin the next one if it has."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True
