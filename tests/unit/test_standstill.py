"""A partition that stands still is told from one at its end, and from a worker that did not read."""

from __future__ import annotations

import pytest

from cryptometrics.pipeline import standstill
from cryptometrics.pipeline.standstill import Standstill


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Standstill:
    monkeypatch.setattr(standstill, "EVERY_S", 0.0)
    return Standstill(lambda partition: (0, {0: 10, 1: 20}[partition]))


def test_what_moves_or_is_at_its_end_is_no_standstill(looks: Standstill) -> None:
    assert looks.found({0: 10, 1: 5}) is None  # a first look
    assert looks.found({0: 10, 1: 6}) is None


def test_what_does_not_move_though_there_is_more_is_found(looks: Standstill) -> None:
    assert looks.found({0: 10, 1: 5}) is None
    assert looks.found({0: 10, 1: 5}) == 1


def test_while_nothing_was_read_nothing_could_move(looks: Standstill) -> None:
    assert looks.found({0: 10, 1: 5}) is None
    looks.forget()
    assert looks.found({0: 10, 1: 5}) is None
    assert looks.found({0: 10, 1: 5}) == 1
