"""Moments and durations: the epoch, microseconds, ISO 8601, the forms that people type; a timer for loops."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from fractions import Fraction

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Columns count microseconds from here, and windows of any length start at whole multiples after it."""
MICROSECOND = timedelta(microseconds=1)

_SECONDS = {
    "w": Fraction(604_800),
    "d": Fraction(86_400),
    "h": Fraction(3600),
    "m": Fraction(60),
    "s": Fraction(1),
    "ms": Fraction(1, 1000),
}
_NUMBER = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_is_number = re.compile(_NUMBER).fullmatch
_is_duration = re.compile(r"(?:[0-9]{1,9}[smhdw])+").fullmatch
_is_exact_duration = re.compile(rf"(?:{_NUMBER}(?:ms|[smhdw]))+").fullmatch
_is_bare_number = re.compile(r"\s*[+-]?[0-9.,_]+\s*").fullmatch
_parts = re.compile(rf"({_NUMBER})(ms|[smhdw])").findall


def to_microseconds(moment: datetime) -> int:
    """Return the microseconds from the epoch to a moment with a zone."""
    return (moment - EPOCH) // MICROSECOND


def from_microseconds(count: int) -> datetime:
    """Return the moment this many microseconds after the epoch, in UTC."""
    return EPOCH + timedelta(microseconds=count)


def from_seconds(count: float) -> datetime:
    """Return the moment this many seconds after the epoch, in UTC, rounded to the microsecond."""
    return from_microseconds(round(count * 1_000_000))


def iso(moment: datetime, *, timespec: str = "auto") -> str:
    """Return a moment with a zone as ISO 8601 in UTC, ending in Z; timespec as in `datetime.isoformat`."""
    return moment.astimezone(UTC).isoformat(timespec=timespec).removesuffix("+00:00") + "Z"


def parse_duration(text: str) -> timedelta:
    """Read `90s`, `15m`, `2h`, `7d`, `1w` or several together, such as `1h30m`.

    Raises ValueError, with a message for the user, if the text has another form or is longer than a
    timedelta can be.
    """
    if not _is_duration(text):
        raise ValueError(f"{text!r} is not a duration such as 90s, 15m, 2h, 7d or 1h30m")
    try:
        return timedelta(seconds=int(_total(text)))
    except OverflowError:
        raise ValueError(f"{text!r} is longer than any data") from None


def parse_seconds(text: str) -> Fraction:
    """Read a duration that may have milliseconds and fractions as an exact number of seconds.

    A number without a unit is in seconds: `10`, `10ms`, `1.5h`. Raises ValueError, with a message for the
    user.
    """
    with_unit = f"{text}s" if _is_number(text) else text
    if not _is_exact_duration(with_unit):
        raise ValueError(f"{text!r} is not a duration such as 10ms, 10s or 2m")
    return _total(with_unit)


def _total(text: str) -> Fraction:
    return sum((Fraction(number) * _SECONDS[unit] for number, unit in _parts(text)), Fraction())


def format_duration(length: timedelta) -> str:
    """Return a duration in whole seconds as people type it, in days and smaller units: 90s is 1m30s."""
    seconds, text = int(length.total_seconds()), ""
    for unit in "dhms":
        count, seconds = divmod(seconds, int(_SECONDS[unit]))
        text += f"{count}{unit}" if count else ""
    return text


def parse_time(text: str, now: datetime) -> datetime:
    """Read a moment, in UTC: a duration before `now`, or an ISO 8601 date or time.

    A time without a zone is UTC, like all stored times; a date is its first moment. Raises ValueError, with
    a message for the user.
    """
    if _is_duration(text):
        try:
            return now.astimezone(UTC) - parse_duration(text)
        except OverflowError:
            raise ValueError(f"{text!r} ago is before the year 1") from None
    if _is_bare_number(text):
        raise ValueError(
            f"{text!r} is a bare number, not a time: write 15m, 2h or 7d for that long ago, or "
            "2026-07-01T12:00 (UTC)"
        )
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is not a time: write 15m, 2h or 7d for that long ago, or 2026-07-01T12:00 (UTC)"
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
