"""Numbers and times read many at once are what Python reads one by one, or are left to the decoder."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cryptometrics.times import to_microseconds
from cryptometrics.verify.byte_words import ByteWords
from cryptometrics.verify.written_numbers import read_integers, read_numbers
from cryptometrics.verify.written_times import read_times

if TYPE_CHECKING:
    from cryptometrics.verify.byte_words import Integers

PADDING = bytes(32)

number = st.from_regex(r"[0-9]{1,12}(\.[0-9]{1,9})?", fullmatch=True)
odd_number = st.text("0123456789.-+eE: ", max_size=24)
time = st.datetimes(datetime(1600, 1, 1), datetime(9999, 12, 31)).flatmap(  # noqa: DTZ001  (the text says Z)
    lambda moment: st.integers(0, 6).map(lambda places: _written(moment, places))
)
odd_time = st.from_regex(
    r"[0-9]{4}-[0-2][0-9]-[0-3][0-9]T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{0,8})?Z?", fullmatch=True
)


def _written(moment: datetime, places: int) -> str:
    text = moment.isoformat(timespec="microseconds")
    return (text[: 20 + places] if places else text[:19]) + "Z"


def joined(texts: list[str]) -> tuple[ByteWords, Integers, Integers]:
    """Return texts side by side, and where each begins and ends."""
    lengths = np.array([len(text) for text in texts], np.int64)
    ends = np.cumsum(lengths) + len(PADDING)
    return ByteWords(PADDING + "".join(texts).encode() + PADDING), ends - lengths, ends


@given(st.lists(number | odd_number, min_size=1, max_size=12))
@example(
    ["0", "0.0", "999999999999999999", "9999999999.99999999", "1" * 19, "1" * 18 + ".1", "0." + "1" * 18]
)
@example(["1.", ".1", "1..2", "1.2.3", "", "." * 30, "9" * 40])
def test_numbers(texts: list[str]) -> None:
    read = read_numbers(*joined(texts))
    for row, text in enumerate(texts):
        is_number = re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) and len(text.replace(".", "")) <= 18
        assert read.is_there[row] == bool(is_number), text
        found = Decimal(int(read.digits[row])).scaleb(-int(read.decimals[row]))
        assert found == (Decimal(text) if is_number else 0)


@given(st.lists(number | odd_number, min_size=1, max_size=12))
@example(["0", "00", "01", "10", "9" * 18, "1" * 19, "1.0", "-1"])
def test_integers(texts: list[str]) -> None:
    read = read_integers(*joined(texts))
    for row, text in enumerate(texts):
        is_integer = re.fullmatch("0|[1-9][0-9]{0,17}", text)
        assert read.is_there[row] == bool(is_integer), text
        if is_integer:
            assert read.digits[row] == int(text)


@given(st.lists(time | odd_time, min_size=1, max_size=12))
@example(["2024-02-29T00:00:00Z", "2023-02-29T00:00:00Z", "2026-00-01T00:00:00Z", "2026-13-01T00:00:00Z"])
@example(["0000-01-01T00:00:00Z", "2026-01-32T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T23:60:00Z"])
@example(
    ["2026-01-01T00:00:60Z", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00.1234567Z", "Z", "", "2026-01-0"]
)
@example(["2026-01-01 00:00:00Z", "2026-01-01T00:00:00.1x", "2026-01-01T00:00:00x1Z", "2026/01/01T00:00:00Z"])
def test_times(texts: list[str]) -> None:
    times, is_time = read_times(*joined(texts))
    for row, text in enumerate(texts):
        true = None
        if re.fullmatch(r"....-..-..T..:..:..(\.[0-9]{1,6})?Z", text):
            try:
                true = to_microseconds(datetime.fromisoformat(text))
            except ValueError:
                true = None
        assert is_time[row] == (true is not None), text
        assert times[row] == (true or 0)


def test_nothing_is_read_from_no_text() -> None:
    words, begins, ends = joined([])
    assert len(read_numbers(words, begins, ends).digits) == 0
    assert len(read_times(words, begins, ends)[0]) == 0


@pytest.mark.parametrize("text", ["1é", "1\x00", "é.é", "\x00"])
def test_bytes_beyond_ascii_are_no_number(text: str) -> None:
    data = text.encode()
    words = ByteWords(PADDING + data + PADDING)
    read = read_numbers(words, np.array([len(PADDING)]), np.array([len(PADDING) + len(data)]))
    assert not read.is_there[0]
