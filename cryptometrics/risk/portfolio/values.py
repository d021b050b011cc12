"""Read the values of a file of positions: each reader returns the value, or reports a problem by path.

A value that is wrong is reported once and left out, so that one reading finds everything that is wrong.
"""

from __future__ import annotations

import difflib
import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from cryptometrics.market.ticks import FRACTION_DIGITS, INTEGER_DIGITS
from cryptometrics.risk.portfolio.file_problems import FileProblem, key_of
from cryptometrics.times import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import timedelta

    from cryptometrics.risk.portfolio.file_problems import KeyLines, Path, RowLines

MAX_TEXT_CHARS = 60
"""Of a value that a message repeats."""
matches_asset = re.compile(r"[A-Z0-9]{1,20}").fullmatch
_is_decimal = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?").fullmatch


class ValueReader:
    """Reads values and collects the problems of a file."""

    def __init__(self, lines: KeyLines | RowLines) -> None:
        self.lines = lines
        self.problems: list[FileProblem] = []

    def wrong(self, path: Path, what: str) -> None:
        """Report a problem of the key at a path."""
        self.problems.append(FileProblem(self.lines.of(path), key_of(path), what))

    def unknown_keys(self, table: Mapping[str, Any], path: Path, known: Collection[str]) -> None:
        """Report keys that a table cannot have, each with the known one that is spelled most alike."""
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f": did you mean {near[0]}?" if near else f": the keys are {', '.join(known)}"
                self.wrong((*path, key), f"is not a key here{hint}")

    def table(self, parent: Mapping[str, Any], key: str, path: Path) -> dict[str, Any]:
        """Return a table of key and values, empty if it is missing."""
        value = parent.get(key, {})
        if isinstance(value, dict):
            return value
        self.wrong((*path, key), f"{shown(value)} is not a table: write [{key_of((*path, key))}]")
        return {}

    def tables(self, parent: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
        """Return an array of tables, empty if it is missing."""
        value = parent.get(key, [])
        if isinstance(value, list) and all(isinstance(each, dict) for each in value):
            return value
        self.wrong((key,), f"write [[{key}]], in two brackets")
        return []

    def text(
        self, table: Mapping[str, Any], path: Path, *, matches: Callable[[str], object], like: str
    ) -> str | None:
        """Return a text of a certain form, None if it is missing or wrong."""
        value = table.get(str(path[-1]))
        if value is None:
            return None
        if not isinstance(value, str) or not matches(value):
            self.wrong(path, f"{shown(value)} must be {like}")
            return None
        return value

    def asset(self, value: object, path: Path) -> str | None:
        """Return an asset or a currency."""
        if isinstance(value, str) and matches_asset(value):
            return value
        capitals = value.upper() if isinstance(value, str) and value.isascii() else ""
        hint = f": write {capitals}" if matches_asset(capitals) else ": assets look like BTC"
        self.wrong(path, f"{shown(value)} is not an asset{hint}")
        return None

    def decimal(self, value: object, path: Path) -> Decimal | None:
        """Return an exact number, written with or without quotes."""
        number = _decimal(value)
        if number is None:
            self.wrong(path, f'{shown(value)} is not a decimal number such as "12.5"')
            return None
        _, digits, exponent = number.as_tuple()
        after = max(0, -int(exponent))
        if after > FRACTION_DIGITS or len(digits) + int(exponent) > INTEGER_DIGITS:
            self.wrong(
                path,
                f"{shown(value)} must have at most {INTEGER_DIGITS} digits before and {FRACTION_DIGITS} "
                "after the point",
            )
            return None
        return number

    def positive(self, value: object, path: Path) -> Decimal | None:
        """Return an exact number above 0."""
        number = self.decimal(value, path)
        if number is not None and number <= 0:
            self.wrong(path, f"{shown(value)} must be above 0")
            return None
        return number

    def duration(
        self, table: Mapping[str, Any], path: Path, default: timedelta, *, unit: timedelta, most: timedelta
    ) -> timedelta:
        """Return a duration of whole units, the default if it is missing or wrong."""
        value = table.get(str(path[-1]))
        if value is None:
            return default
        try:
            length = parse_duration(value if isinstance(value, str) else "")
        except ValueError:
            self.wrong(path, f'{shown(value)} is not a duration in quotes such as "60s", "15m" or "24h"')
            return default
        if not unit <= length <= most or length % unit:
            whole = "whole minutes" if unit.total_seconds() == 60 else "seconds"
            self.wrong(path, f"{shown(value)} must be in {whole}, at least one and at most {most.days}d")
            return default
        return length


def shown(value: object) -> str:
    """Return a value as a message repeats it: numbers as they are written, text in quotes, not too long."""
    text = ascii(value) if isinstance(value, str) else str(value)
    if isinstance(value, bool):
        text = text.lower()
    return text if len(text) <= MAX_TEXT_CHARS else f"{text[:MAX_TEXT_CHARS]}…"


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    if isinstance(value, str) and not _is_decimal(value):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
