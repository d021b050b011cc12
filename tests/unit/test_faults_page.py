"""The table of faults in docs/guarantees.md is written by the run that measured it."""

from __future__ import annotations

import re

import pytest

from tests.faults.outcome import Outcome
from tests.faults.page import BEGIN, END, ROOT, circumstances, replaced


def test_the_results_go_between_the_marks_and_nothing_else_changes() -> None:
    before = (ROOT / "docs/guarantees.md").read_text()
    after = replaced(before, [Outcome("kill -9 of a cat", 9)], "1 May 2030, commit abc", 35, 22.4)
    assert "Measured in full on 1 May 2030, commit abc: 35 tests passed in 22 minutes.\n\n| fault " in after
    assert re.search(r"\| kill -9 of a cat +\| +9 \|", after)
    outside = [re.sub(f"{BEGIN}.*{END}", "", page, flags=re.DOTALL) for page in (before, after)]
    assert outside[0] == outside[1] != before


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks the marks"):
        replaced("# Guarantees\n", [], "", 0, 0)


def test_the_circumstances_name_the_day_the_commit_and_the_machine() -> None:
    assert re.fullmatch(
        r"\d+ [A-Z][a-z]+ 20\d\d, commit (\w{10}( with changes)?|unknown), \d+ cores \(.+\), "
        r"\d+ GiB of memory, \w+, Python 3\.\d+\.\d+\S*",
        circumstances(),
    )
