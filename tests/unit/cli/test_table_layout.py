"""Widths of columns: what is folded first, what last, and what never."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.cli.output import print_table
from cryptometrics.cli.table_layout import EDGES, Layout, joined, layout, natural_width, wrapped

TIME = joined("2026-07-01 12:00:01")


@pytest.mark.parametrize("text", ["07-01 12:00:01", "2026-07-01 12:00", "2026-07-01 12:00 UTC", "+1.23 %"])
def test_the_spaces_of_a_value_are_joined_and_no_others(text: str) -> None:
    found = joined(f"from {text} on")
    assert found.split() == ["from", joined(text), "on"]
    assert len(found) == len(f"from {text} on")


def test_a_wrapped_text_has_whole_times() -> None:
    text = "the quote of 2026-07-01 12:00:01 is stale"
    assert wrapped(text, 24, indent="  ") == "the quote of\n  2026-07-01 12:00:01 is\n  stale"
    assert wrapped(text, 21, indent="  ") == "the quote of\n  2026-07-01 12:00:01\n  is stale"


def test_a_table_that_fits_is_not_changed() -> None:
    columns = [["pair", "BTC-USD"], ["at", TIME]]
    assert layout(columns, (), 7 + 19 + 3 + EDGES) == Layout(2, [7, 19])
    assert layout(columns, (), 7 + 19 + 2 + EDGES) == Layout(1, [7, 19])
    assert layout(columns, (), 7 + 19 + 1 + EDGES) == Layout(0, [7, 19])


def test_words_are_broken_after_lines_and_times_never() -> None:
    columns = [["a sentence of words"], [TIME], ["acknowledged", f"by her {TIME}"]]
    whole = natural_width(columns, 0)
    assert layout(columns, (), whole - 7) == Layout(0, [19, 19, 19])
    assert layout(columns, (), whole - 8) == Layout(0, [18, 19, 19])
    assert layout(columns, (), whole - 7 - 13) == Layout(0, [6, 19, 19])
    assert layout(columns, (), EDGES + 2 + 2 * 19) is None
    assert layout(columns, {0}, whole - 7) == Layout(0, [19, 19, 19])


def test_columns_that_are_folded_last_stay_whole_while_words_do() -> None:
    columns = [["two words"], ["two words"]]
    assert layout(columns, {1}, natural_width(columns, 0) - 3) == Layout(0, [6, 9])
    assert layout(columns, {1}, natural_width(columns, 0) - 6) == Layout(0, [6, 6])


def test_without_times_everything_folds_as_far_as_it_must() -> None:
    columns = [["x" * 40], ["y" * 40]]
    assert layout(columns, (), EDGES + 1 + 2) == Layout(0, [1, 1])
    assert layout(columns, (), EDGES + 1 + 1) is None
    assert layout([["2026-07-01"], ["12:00:00"]], (), EDGES + 1 + 17) is None


texts = st.lists(st.sampled_from(["a", "word", "a longer one", "x" * 30, TIME]), min_size=1).map(" ".join)


@given(st.lists(st.lists(texts, min_size=2, max_size=2), min_size=1, max_size=5), st.integers(1, 150))
def test_a_layout_fits_and_leaves_room_for_every_time(columns: list[list[str]], width: int) -> None:
    found = layout(columns, (), width)
    if found is None:
        assert natural_width(columns, 0) > width
        return
    assert sum(found.widths) + (len(columns) - 1) * (found.gap + 1) + EDGES <= width
    for column, room in zip(columns, found.widths, strict=True):
        assert room >= max(len(TIME) * (TIME in text) for text in column)


@pytest.mark.parametrize("gap", [0, 1, 2])
def test_the_printed_table_is_as_wide_as_it_is_computed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, gap: int
) -> None:
    heads, rows = ("pair", "a long head"), [["BTC-USD", "x" * 30], ["e", "y"]]
    width = natural_width([*zip(heads, *rows, strict=True)], gap)
    monkeypatch.setenv("COLUMNS", str(width))
    print_table(heads, rows)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) == width
    assert any("x" * 30 in line for line in lines)
