"""Columns of a binary COPY against Python's own numbers."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.types.numeric import DecimalBinaryDumper

from cryptometrics.verify.copy_blocks import CopyBlock
from cryptometrics.verify.exact_numbers import as_decimal, read_numbers, rescaled, sums
from cryptometrics.verify.text_codes import TextCodes

dumper = DecimalBinaryDumper(Decimal)
prices = st.decimals(0, 10**6, places=8, allow_nan=False)
any_numbers = st.decimals(-(10**22), 10**22, allow_nan=False, allow_infinity=False)


def block(*columns: list[bytes | None]) -> CopyBlock:
    """Return rows of these fields, as PostgreSQL sends them."""
    rows = []
    for fields in zip(*columns, strict=True):
        row = len(fields).to_bytes(2, "big")
        for field in fields:
            row += b"\xff\xff\xff\xff" if field is None else len(field).to_bytes(4, "big") + field
        rows.append(memoryview(row))
    return CopyBlock(rows)


def numeric(number: Decimal | None) -> bytes | None:
    """Return a number in PostgreSQL's binary form."""
    return None if number is None else bytes(dumper.dump(number) or b"")


@given(st.lists(st.none() | prices | any_numbers, min_size=1, max_size=30))
def test_numbers_are_exact(numbers: list[Decimal | None]) -> None:
    column = read_numbers(block([numeric(number) for number in numbers], [b"next"] * len(numbers)))
    places = column.places()
    for at, number in zip(range(len(numbers)), numbers, strict=True):
        assert bool(column.is_null[at]) == (number is None)
    for finer in (places, places + 1, places + 7):
        whole = column.scaled(finer).tolist()
        assert whole == [Fraction(number or 0) * 10_000**finer for number in numbers]
    half = len(numbers) // 2
    assert column[half:].scaled(places).tolist() == column.scaled(places).tolist()[half:]
    for number, scaled in zip(numbers, column.scaled(places).tolist(), strict=True):
        assert as_decimal(scaled, places) == (number or 0)


@given(st.lists(prices, min_size=1, max_size=30))
def test_prices_fit_into_64_bits(numbers: list[Decimal]) -> None:
    column = read_numbers(block([numeric(number) for number in numbers]))
    assert column.scaled(column.places()).dtype == np.int64


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_keeps_its_place_among_numbers(number: str) -> None:
    column = read_numbers(block([numeric(Decimal(number)), numeric(Decimal(10) ** 30)]))
    special, large = column.scaled(column.places())
    assert (special > large) == (number != "-Infinity")
    assert str(as_decimal(special, 0)) == number


def test_sums_and_smaller_units_do_not_overflow() -> None:
    large = np.array([2**60, 2**60, 2**60, -1], np.int64)
    assert sums(large, np.array([0, 3])).tolist() == [3 * 2**60, -1]
    assert sums(large, np.array([0, 1, 2, 3])).tolist() == large.tolist()
    assert rescaled(large, 2).tolist() == [number * 10**8 for number in large.tolist()]
    assert rescaled(np.array([3, -4]), 1).tolist() == [30_000, -40_000]


@given(
    st.lists(st.tuples(st.text(max_size=20), st.text(max_size=3)), min_size=1, max_size=40),
    st.integers(1, 40),
)
def test_texts_have_the_same_code_if_they_are_equal(texts: list[tuple[str, str]], size: int) -> None:
    codes = TextCodes(fields=2)
    found: list[int] = []
    for begin in range(0, len(texts), size):
        part = texts[begin : begin + size]
        read = codes.read(block([a.encode() for a, _ in part], [b.encode() for _, b in part]))
        found += read.tolist()
    assert [codes.texts[code] for code in found] == texts
    assert len(set(found)) == len(set(texts)) == len(codes.texts)
