"""Price bars of one minute from elsewhere: the fields of a file's row, and why one is refused. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.errors import UserError
from cryptometrics.market.ticks import EARLIEST, FRACTION_DIGITS, INTEGER_DIGITS, is_price
from cryptometrics.market.windows import MINUTE
from cryptometrics.times import from_seconds, iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PRICES = ("open", "high", "low", "close")
REQUIRED = ("time", *PRICES)
COLUMNS = (*REQUIRED, "volume")
"""The columns of a file that are read; `volume` may be missing."""

A_TIME = "a time with its zone such as 2026-07-01T12:00Z, or whole seconds since 1970"
_DECIMAL = f"decimal of at most {INTEGER_DIGITS} digits before and {FRACTION_DIGITS} after the point"
_MAX_SHOWN = 40
_MAX_SECONDS_DIGITS = 11


class PriceBar(NamedTuple):
    """The prices of one minute, in the quote currency, as somebody else summed them up."""

    start: datetime
    """The start of the minute, UTC."""
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None
    """In the base currency; None if it is not known."""


class BarError(UserError):
    """A row of a file is no bar; the message names the line and the value."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")


def read_bars(rows: Iterable[tuple[int, Sequence[str]]], now: datetime) -> list[PriceBar]:
    """Return the bars of rows, sorted by time; each row has a line number and the fields of COLUMNS.

    An empty `volume` is not known. Raises BarError for the first row that is no bar of a whole minute before
    `now`, or that has the time of an earlier row.
    """
    bars: list[PriceBar] = []
    lines: dict[datetime, int] = {}
    newest = now - MINUTE
    for line, fields in rows:
        bar = _bar(line, fields, newest)
        if (earlier := lines.setdefault(bar.start, line)) != line:
            raise BarError(line, f"time {_shown(fields[0])} is also in line {earlier}: a minute has one row")
        bars.append(bar)
    return sorted(bars)


def _bar(line: int, fields: Sequence[str], newest: datetime) -> PriceBar:
    text, *numbers = fields
    start = _start(line, text)
    if start > newest:
        raise BarError(line, f"time {_shown(text)} is of a minute that has not ended yet")
    opened, high, low, close = (
        _number(line, name, number) for name, number in zip(PRICES, numbers[:4], strict=True)
    )
    if not low <= min(opened, close) <= max(opened, close) <= high:
        _refuse_order(line, dict(zip(PRICES, numbers, strict=False)), opened, high, low)
    return PriceBar(start, opened, high, low, close, _volume(line, numbers[4]))


def _start(line: int, text: str) -> datetime:
    try:
        if text.isascii() and text.isdigit() and len(text) <= _MAX_SECONDS_DIGITS:
            moment = from_seconds(int(text))
        else:
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                raise BarError(line, f"time {_shown(text)} has no zone: write {A_TIME}")
            moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BarError(line, f"time {_shown(text)} is not {A_TIME}") from None
    if moment.second or moment.microsecond:
        raise BarError(line, f"time {_shown(text)} is not the start of a minute")
    if moment < EARLIEST:
        raise BarError(line, f"time {_shown(text)} is before {iso(EARLIEST)}, the first crypto market")
    return moment


def _number(line: int, name: str, text: str) -> Decimal:
    if not is_price(text) or not (number := Decimal(text)):
        raise BarError(line, f"{name} {_shown(text)} is not a positive {_DECIMAL}")
    return number


def _volume(line: int, text: str) -> Decimal | None:
    if not text:
        return None
    if not is_price(text):
        raise BarError(line, f"volume {_shown(text)} is not a {_DECIMAL}")
    return Decimal(text)


def _refuse_order(line: int, texts: dict[str, str], opened: Decimal, high: Decimal, low: Decimal) -> None:
    high_text, low_text = _shown(texts["high"]), _shown(texts["low"])
    if high < low:
        raise BarError(line, f"high {high_text} is below low {low_text}")
    name = "close" if low <= opened <= high else "open"
    raise BarError(line, f"{name} {_shown(texts[name])} is not between low {low_text} and high {high_text}")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…")
