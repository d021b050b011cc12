"""Times as a person types them."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.times import (
    EPOCH,
    format_duration,
    from_microseconds,
    from_seconds,
    iso,
    parse_duration,
    parse_seconds,
    parse_time,
    to_microseconds,
)

NOW = datetime(2024, 7, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("2h", timedelta(hours=2)),
        ("7d", timedelta(days=7)),
        ("1w", timedelta(weeks=1)),
        ("1h30m", timedelta(minutes=90)),
    ],
)
def test_durations(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected
    assert parse_time(text, NOW) == NOW - expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-07-01", datetime(2024, 7, 1, tzinfo=UTC)),
        ("2024-07-01T09:30", datetime(2024, 7, 1, 9, 30, tzinfo=UTC)),
        ("2024-07-01 09:30:00.5", datetime(2024, 7, 1, 9, 30, 0, 500_000, tzinfo=UTC)),
        ("2024-07-01T09:30:00Z", datetime(2024, 7, 1, 9, 30, tzinfo=UTC)),
        ("2024-07-01T09:30:00+02:00", datetime(2024, 7, 1, 7, 30, tzinfo=UTC)),
    ],
)
def test_iso_times_are_utc_unless_they_say_otherwise(text: str, expected: datetime) -> None:
    moment = parse_time(text, NOW)
    assert moment == expected
    assert moment.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    ["", "15", "m", "15 m", "-15m", "1.5h", "15M", "yesterday", "2024-13-01", "٣m", "0001-01-01T00:00+01:00"],
)
def test_what_is_no_time_says_what_one_looks_like(text: str) -> None:
    with pytest.raises(ValueError, match="write 15m"):
        parse_time(text, NOW)


@pytest.mark.parametrize("text", ["999999999w", "999999999d", "3000w" * 60])
def test_a_time_before_all_times_is_an_error_of_the_user(text: str) -> None:
    with pytest.raises(ValueError, match=r"longer than any data|before the year 1"):
        parse_time(text, NOW)


@given(st.timedeltas(timedelta(days=-20_000), timedelta(days=20_000)), st.integers(-14 * 60, 14 * 60))
def test_any_iso_time_is_read_back(apart: timedelta, minutes: int) -> None:
    moment = (NOW + apart).astimezone(timezone(timedelta(minutes=minutes)))
    assert parse_time(moment.isoformat(), NOW) == moment


@given(st.text(max_size=30))
def test_any_other_text_is_an_error_of_the_user(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_time(text, NOW).tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10", "10"),
        ("10s", "10"),
        ("10ms", "0.01"),
        ("1.5h", "5400"),
        ("2m", "120"),
        ("0.000001ms", "1e-9"),
        ("1m0.5s", "60.5"),
    ],
)
def test_exact_seconds_have_fractions_and_milliseconds(text: str, expected: str) -> None:
    assert parse_seconds(text) == Fraction(expected)


@pytest.mark.parametrize("text", ["", "s", "1h30", "-1", "1e3", ".5", "nan", "١s"])
def test_what_is_no_exact_duration_says_what_one_looks_like(text: str) -> None:
    with pytest.raises(ValueError, match="10ms, 10s or 2m"):
        parse_seconds(text)


@given(st.integers(1, 10**9))
def test_a_formatted_duration_is_read_back(seconds: int) -> None:
    length = timedelta(seconds=seconds)
    assert parse_duration(format_duration(length)) == length


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001
def test_microseconds_and_iso_are_the_same_moment_in_utc(local: datetime, minutes: int) -> None:
    moment = local.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert from_microseconds(to_microseconds(moment)) == moment
    assert iso(moment).endswith("Z")
    assert datetime.fromisoformat(iso(moment, timespec="microseconds")) == moment


def test_seconds_are_rounded_to_the_microsecond() -> None:
    assert iso(from_seconds(0.1234567)) == "1970-01-01T00:00:00.123457Z"
    assert iso(EPOCH) == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "text", ["1712010512345", "1712010512", "20260701", "2026", "1712010512.5", "-5", " 12 "]
)
def test_a_bare_number_is_not_a_time(text: str) -> None:
    with pytest.raises(ValueError, match="is a bare number"):
        parse_time(text, datetime(2026, 7, 1, tzinfo=UTC))
