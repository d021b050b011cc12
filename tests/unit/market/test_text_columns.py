"""Columns of text at their limits: which texts are plain, and the numbers and moments that they say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from cryptometrics.market.text_columns import NOTHING, optional, prices, times
from cryptometrics.times import EPOCH

PLAIN = {
    "7": (7, 0), "10": (10, 0), "0.5": (5, 1), "64441.10": (6444110, 2), "007.10": (710, 2),
    "9" * 18: (10**18 - 1, 0), "9" * 8 + "." + "1" * 9: (int("9" * 8 + "1" * 9), 9),
    "0." + "0" * 15 + "1": (1, 16), "123456789.0": (1234567890, 1),
}  # fmt: skip
"""The digits and the decimal places of a text."""
ZEROS = {"0": (0, 0), "0.00": (0, 2), "0" * 18: (0, 0)}
ODD = [
    *(
        "1" * 19,
        "0." + "0" * 16 + "1",
        "1" * 9 + "." + "1" * 9,
        ".5",
        "5.",
        ".",
        "1.2.3",
        "1..2",
        "12.",
        ".12",
    ),
    *("-1", "+1", "1e3", " 1", "1 ", "1/", "1:", "/", ":", "1,5", "1_0", "٣", "NaN", "x.5", "1.x"),
]


OTHERS = [{}, {"1.5": 15}, {"1.5": 15, "2.5": 25}, {"3": 3}, {"": NOTHING, "1.25": 125, "8": 8}]
"""Columns beside a text, with their digits: one point in each, no point, some with a point."""


@pytest.mark.parametrize("others", OTHERS)
@pytest.mark.parametrize(("text", "expected"), (PLAIN | ZEROS).items())
def test_a_plain_decimal_is_read_whatever_stands_beside_it(
    text: str, expected: tuple[int, int], others: dict[str, int]
) -> None:
    for column, place in (([text, *others], 0), ([*others, text], -1)):
        digits, places, odd = prices(column)
        assert (digits[place], places[place], odd[place]) == (*expected, text in ZEROS)
        digits, places, odd = optional(column)
        assert (digits[place], places[place], odd[place]) == (*expected, False)


@pytest.mark.parametrize("others", OTHERS)
@pytest.mark.parametrize("text", ODD)
def test_an_odd_decimal_is_told_and_leaves_its_neighbours_right(text: str, others: dict[str, int]) -> None:
    for column, place in (([text, *others], 0), ([*others, text], len(others))):
        assert prices(column)[2].tolist() == [not each or each == text for each in column]
        digits, _, odd = optional(column)
        assert odd.tolist() == [each == text for each in column]
        assert np.delete(digits, place).tolist() == list(others.values())


def test_a_column_with_a_line_break_in_a_text_is_odd_as_a_whole() -> None:
    for column in (["1\n2", "3"], ["3", "1.5\n"], ["\n"], ["1.5\n1.5"]):
        digits, places, odd = prices(column)
        assert odd.all()
        assert len(digits) == len(places) == len(odd) == len(column)


def test_an_empty_optional_number_is_nothing_and_not_odd() -> None:
    assert NOTHING == -1
    for column, digits, places in (
        (["", ""], [-1, -1], [0, 0]),
        (["", "0", "1.50", ""], [-1, 0, 150, -1], [0, 0, 2, 0]),
    ):
        found = optional(column)
        assert [each.tolist() for each in found] == [digits, places, [False] * len(column)]
        assert [each.dtype for each in found] == [np.int64, np.int64, np.bool_]
    for reader in (prices, optional):
        assert [each.tolist() for each in reader([])] == [[], [], []]
    assert prices(["", ""])[2].tolist() == [True, True]


MOMENTS = [
    "1970-01-01T00:00:00.000000Z", "1969-12-31T23:59:59.999999Z", "1970-01-02T00:00:00.000001Z",
    "2026-07-01T11:58:57.061769Z", "2024-02-29T01:02:03.456789Z", "2000-02-29T10:20:30.405060Z",
    "0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z", "2026-10-31T20:00:00.100000Z",
]  # fmt: skip
WRONG_TIMES = [
    *("2026-02-29T00:00:00.000000Z", "1900-02-29T00:00:00.000000Z", "2026-13-01T00:00:00.000000Z"),
    *("2026-00-01T00:00:00.000000Z", "2026-01-00T00:00:00.000000Z", "2026-01-32T00:00:00.000000Z"),
    *("0000-01-01T00:00:00.000000Z", "2026-07-01T24:00:00.000000Z", "2026-07-01T00:60:00.000000Z"),
    *("2026-07-01T00:00:60.000000Z", "2026-07-01 00:00:00.000000Z", "2026-07-01T00:00:00,000000Z"),
    *("2026-07-01T00:00:00.000000z", "2026/07-01T00:00:00.000000Z", "2026-07-01T00:00:00.00000:Z"),
    *("2026-07-01T00:00:00.00000/Z", "2026-07-01T00:00:00.00000Z", "2026-07-01T00:00:00.0000000Z"),
    *("2026-07-01T00:00:00.00000\nZ", "2026-07-01T00:00:00.000000\n", "2026-07-01T00:00:00.0000٣Z", ""),
    *("٣026-07-01T00:00:00.000000Z", "2026-07-01T00:00:00Z", "2026-07-01\n00:00:00.000000Z"),
]


@pytest.mark.parametrize("others", [(), (MOMENTS[3],), (MOMENTS[3], MOMENTS[6], MOMENTS[3])])
def test_a_plain_time_is_its_moment_and_a_wrong_one_is_told(others: tuple[str, ...]) -> None:
    microsecond = timedelta(microseconds=1)
    for text in MOMENTS:
        found, odd = times([*others, text])
        assert not odd.any()
        assert found.tolist() == [
            (datetime.fromisoformat(each).astimezone(UTC) - EPOCH) // microsecond for each in (*others, text)
        ]
    before = times(others)[0].tolist()
    for text in WRONG_TIMES:
        found, odd = times([*others, text])
        assert odd.tolist() == [False] * len(others) + [True], text
        assert found[:-1].tolist() == before
        found, odd = times([text, *others])
        assert odd.tolist() == [True] + [False] * len(others), text
        assert found[1:].tolist() == before


def test_wrong_lengths_that_add_up_to_right_ones_are_told() -> None:
    short, long = "2026-07-01T00:00:00.00000Z", "2026-07-01T00:00:00.0000000Z"
    for column in ([short, long], [long, short]):
        assert times(column)[1].tolist() == [True, True]
    assert times([short, MOMENTS[3], long])[1].tolist() == [True, False, True]
    assert times([MOMENTS[0] + "\n" + MOMENTS[0]])[1].tolist() == [True]
    assert times([MOMENTS[0] + "\n" + MOMENTS[0], MOMENTS[3]])[1].tolist() == [True, False]
    assert [each.tolist() for each in times([])] == [[], []]
