"""Text from outside, on its way to a terminal or into the database."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.text import check_name, escape, percent


@given(st.text())
def test_an_escaped_text_prints_and_a_printable_one_is_unchanged(text: str) -> None:
    escaped = escape(text)
    assert escaped.isprintable()
    assert escaped == text or not text.isprintable()


def test_kept_characters_are_not_escaped() -> None:
    assert escape("a\n\x1b[1m\t\x9b\u202e", keep="\n") == "a\n\\x1b[1m\\t\\x9b\\u202e"


@pytest.mark.parametrize("name", ["g", "group 1", "größe", "x" * 100])
def test_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "x" * 101, "a\x00", "a\x9b", "\u202eb", "a\tb"])
def test_a_name_that_is_not_valid_is_refused_in_one_printable_line(name: str) -> None:
    with pytest.raises(ValueError, match="names have 1 to 100 printable characters") as refused:
        check_name(name)
    assert str(refused.value).isprintable()


def test_percentages_have_three_digits_at_most_and_a_space_before_the_sign() -> None:
    assert [percent(value) for value in (0.0028, 0.0231, 0.456789, 0.9994, 1.0, 12.345)] == [
        *("0.28 %", "2.31 %", "45.7 %", "99.9 %", "100 %", "1,234 %")
    ]  # fmt: skip
    assert [percent(value, signed=True) for value in (-0.0231, 0.01)] == ["-2.31 %", "+1.00 %"]
    assert (percent(None), percent(None, nothing="-")) == ("–", "-")
