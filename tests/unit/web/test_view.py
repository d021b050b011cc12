from __future__ import annotations

import dataclasses
from typing import Any

from cryptometrics.web.shapes import PipelineSummary
from cryptometrics.web.view import View

PIPELINE = PipelineSummary(
    lag=0, metrics=1, rejected=0, gaps=0, duplicates=0, holes=0, ticks_per_second=1.0, trouble=None
)


def row(pair: str, **values: Any) -> Any:
    return {"venue": "simulated", "pair": pair, "bid": "1.0", "age_seconds": 0.1} | values


def view(*pairs: Any, **values: Any) -> View:
    known = {"as_of": "now", "group": "g1", "alerts": [], "portfolios": [], "pipeline": PIPELINE}
    return View(pairs=pairs, **(known | values))


def test_nothing_is_sent_while_only_ages_change() -> None:
    before, after = view(row("A-B")), view(row("A-B", age_seconds=0.3), as_of="later")
    assert after.changes_since(before) is None


def test_only_changed_rows_are_sent_and_whole() -> None:
    after = view(row("A-B", bid="1.1"), row("C-D"), as_of="later")
    changes = after.changes_since(view(row("A-B"), row("C-D")))
    assert changes == {"as_of": "later", "pairs": [row("A-B", bid="1.1")]}


def test_other_parts_are_sent_when_they_change() -> None:
    before = view(row("A-B"))
    firing: Any = {"id": 1}
    after = dataclasses.replace(before, alerts=[firing])
    assert after.changes_since(before) == {"as_of": "now", "pairs": [], "alerts": [{"id": 1}]}
    assert before.changes_since(after) == {"as_of": "now", "pairs": [], "alerts": []}


def test_a_market_that_comes_or_goes_is_no_update() -> None:
    assert not view(row("A-B")).has_same_markets(view(row("A-B"), row("C-D")))
    assert view(row("A-B")).has_same_markets(view(row("A-B", bid="9")))


def test_a_snapshot_says_that_nothing_was_resumed() -> None:
    found = view(row("A-B")).snapshot()
    assert found["resumed"] is False
    assert set(found) == {"as_of", "group", "pairs", "alerts", "portfolios", "pipeline", "resumed"}
