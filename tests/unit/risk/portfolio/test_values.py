"""Values of a file of positions, read one by one."""

from __future__ import annotations

from datetime import timedelta

from cryptometrics.risk.portfolio.definition import MINUTE
from cryptometrics.risk.portfolio.file_problems import KeyLines
from cryptometrics.risk.portfolio.values import ValueReader


def test_a_text_is_the_value_of_the_last_key_of_its_path() -> None:
    read = ValueReader(KeyLines(""))
    table = {"name": "x", "stress": "y"}
    assert read.text(table, ("stress", 0, "name"), matches=str.isascii, like="a name") == "x"
    assert read.text(table, ("stress", 0, "shocks"), matches=str.isascii, like="a name") is None
    assert read.problems == []


def test_a_duration_is_the_value_of_the_last_key_of_its_path() -> None:
    read = ValueReader(KeyLines(""))
    path = ("stress", 0, "range")
    found = read.duration({"range": "2h"}, path, MINUTE, unit=MINUTE, most=timedelta(days=1))
    assert (found, read.problems) == (timedelta(hours=2), [])
