"""The places of problems in a file: where each line begins to count, and what is named."""

from __future__ import annotations

import pytest

from cryptometrics.risk.portfolio.file_problems import KeyLines, RowLines, unreadable


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("position", 0), 2),
        (("position", 1), 5),
        (("position", 1, "asset"), 5),
        (("position",), 1),
        (("cash", "USD"), 1),
        ((), 1),
    ],
)
def test_a_row_has_its_line_and_anything_else_the_first(path: tuple[str | int, ...], line: int) -> None:
    assert RowLines([2, 5]).of(path) == line


TOML = """\
# [cash]
note = '''
[cash] # within a text
'''
"treat_as"  . USDT = "USD"

[[position]]
asset = "BTC"
"cost" = 5
[[position]]
asset = "ETH"
[[position.lots]]
size = 1
[[position.lots]]
size = 2
[limits.of.'BTC']
gross = 5
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("note",), 2),
        (("treat_as", "USDT"), 5),
        (("cash",), 1),
        (("position",), 1),
        (("position", 0), 7),
        (("position", 0, "asset"), 8),
        (("position", 0, "cost"), 9),
        (("position", 0, "quantity"), 7),
        (("position", 1), 10),
        (("position", 1, "asset"), 11),
        (("position", 1, "lots", 0, "size"), 13),
        (("position", 1, "lots", 1), 14),
        (("position", 1, "lots", 1, "size"), 15),
        (("limits", "of", "BTC"), 16),
        (("limits", "of", "BTC", "gross"), 17),
        (("limits", "of", "BTC", "of", "gross"), 16),
        ((), 1),
    ],
)
def test_a_key_has_its_line_or_that_of_its_table(path: tuple[str | int, ...], line: int) -> None:
    assert KeyLines(TOML).of(path) == line


@pytest.mark.parametrize(
    ("text", "message", "problem"),
    [
        ("a = 1\nb =\n", "Invalid value (at line 2, column 4)", "line 2: b: this is not TOML: invalid value"),
        ("a = 1\n]\n", "Invalid statement (at line 2, column 1)", "line 2: this is not TOML: invalid stat"),
        (
            "a = 1\nb = [",
            "Unclosed array (at end of document)",
            "line 2: b: this is not TOML: unclosed array",
        ),
        ("", "Unclosed array (at end of document)", "line 1: this is not TOML: unclosed array"),
        ("a = [\n", "Unclosed array (at line 2, column 1)", "line 2: this is not TOML: unclosed array"),
    ],
)
def test_an_error_of_toml_names_the_line_and_the_key_on_it(text: str, message: str, problem: str) -> None:
    assert str(unreadable(text, message)).startswith(problem)
