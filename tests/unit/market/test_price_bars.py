"""Rows of price bars: exact values, and one line for each way in which a row is wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from cryptometrics.market.price_bars import BarError, PriceBar, read_bars

NOW = datetime(2026, 7, 2, tzinfo=UTC)
GOOD = ("2026-07-01T12:00Z", "10", "12", "9", "11", "3.5")


def row(**changes: str) -> tuple[str, ...]:
    names = ("time", "open", "high", "low", "close", "volume")
    return tuple(changes.get(name, value) for name, value in zip(names, GOOD, strict=True))


def test_rows_are_read_exactly_and_sorted() -> None:
    rows = [
        (2, row(time="2026-07-01T14:01:00+02:00", volume="")),
        (3, row(time="1782907200", high="12.123456789012345678")),
    ]
    noon, opened, low, close = datetime(2026, 7, 1, 12, tzinfo=UTC), Decimal(10), Decimal(9), Decimal(11)
    assert read_bars(rows, NOW) == [
        PriceBar(noon, opened, Decimal("12.123456789012345678"), low, close, Decimal("3.5")),
        PriceBar(noon.replace(minute=1), opened, Decimal(12), low, close, None),
    ]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"time": "2026-07-01T12:00"}, "time '2026-07-01T12:00' has no zone"),
        ({"time": "2026-07-01T12:00:01Z"}, "'2026-07-01T12:00:01Z' is not the start of a minute"),
        ({"time": "1782907201"}, "'1782907201' is not the start of a minute"),
        ({"time": "noon"}, "time 'noon' is not a time with its zone"),
        ({"time": "1782907200000"}, "time '1782907200000' is not a time with its zone"),
        ({"time": "0001-01-01T00:00+23:00"}, "is not a time with its zone"),
        ({"time": "2008-07-01T12:00Z"}, "is before 2009"),
        ({"time": "2026-07-02T00:00Z"}, "'2026-07-02T00:00Z' is of a minute that has not ended"),
        ({"open": "1e1"}, "open '1e1' is not a positive decimal"),
        ({"close": "-1"}, "close '-1' is not a positive decimal"),
        ({"low": "0"}, "low '0' is not a positive decimal"),
        ({"high": ""}, "high '' is not a positive decimal"),
        ({"high": "1." + "1" * 99}, "…' is not a positive decimal"),
        ({"volume": "NaN"}, "volume 'NaN' is not a decimal"),
        ({"high": "8"}, "high '8' is below low '9'"),
        ({"high": "9"}, "open '10' is not between low '9' and high '9'"),
        ({"open": "13"}, "open '13' is not between low '9' and high '12'"),
        ({"close": "8.9"}, "close '8.9' is not between low '9' and high '12'"),
        ({"open": "9", "close": "8.9"}, "close '8.9' is not between low '9' and high '12'"),
        ({"open": "12", "close": "12.1"}, "close '12.1' is not between low '9' and high '12'"),
    ],
)
def test_a_wrong_row_is_refused_with_its_line_and_value(changes: dict[str, str], problem: str) -> None:
    with pytest.raises(BarError) as error:
        read_bars([(2, GOOD), (7, row(**changes))], NOW)
    assert str(error.value).startswith("line 7: ")
    assert problem in str(error.value)
    assert len(str(error.value)) < 200


def refusal(**changes: str) -> str:
    with pytest.raises(BarError) as error:
        read_bars([(7, row(**changes))], NOW)
    return str(error.value)


def test_seconds_have_at_most_eleven_digits() -> None:
    assert "is of a minute that has not ended" in refusal(time="99999999960")
    assert "is not a time with its zone" in refusal(time="099999999960")


def test_a_long_value_is_cut_after_forty_characters() -> None:
    assert repr("x" * 40) in refusal(open="x" * 40)
    assert repr("x" * 40 + "…") in refusal(open="x" * 41)


def test_a_bar_at_the_edge_of_the_order_is_one() -> None:
    edges = [row(open="9", close="12"), row(time="2026-07-01T12:01Z", open="12", close="9")]
    assert [(int(bar.open), int(bar.close)) for bar in read_bars(enumerate(edges, 2), NOW)] == [
        (9, 12),
        (12, 9),
    ]
    assert read_bars([(2, ("2026-07-01T12:00Z", "1", "1", "1", "1", "0"))], NOW)[0].volume == 0
    assert "open '8' is not between low '9' and high '12'" in refusal(open="8", close="8")
    assert read_bars([(2, row(time="2009-01-01T00:00Z"))], NOW)[0].start.year == 2009
    assert "is not the start of a minute" in refusal(time="2026-07-01T12:00:00.000001Z")


def test_a_minute_has_one_row() -> None:
    with pytest.raises(BarError, match=r"line 3: time '1782907200' is also in line 2"):
        read_bars([(2, GOOD), (3, row(time="1782907200"))], NOW)


def test_the_minute_that_has_just_ended_is_read() -> None:
    assert len(read_bars([(2, row(time="2026-07-01T23:59Z"))], NOW)) == 1
