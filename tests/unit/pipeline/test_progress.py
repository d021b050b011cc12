"""A stalled partition differs from one at its end, and from one that the worker did not read."""

from __future__ import annotations

import pytest

from cryptometrics.pipeline import progress
from cryptometrics.pipeline.progress import StallDetector

ENDS = {0: 10, 1: 20}


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> StallDetector:
    monkeypatch.setattr(progress, "STALL_CHECK_S", 0.0)
    return StallDetector(lambda partition: (0, ENDS[partition]))


def look(looks: StallDetector, *positions: int, drained: bool = True) -> int | None:
    return looks.find_stalled(dict(enumerate(positions)), drained=drained)


def test_what_moves_or_is_at_its_end_is_not_stalled(looks: StallDetector) -> None:
    assert [look(looks, 10, at) for at in (5, 6, 7, 20, 20, 20)] == [None] * 6


def test_what_does_not_move_though_there_is_more_is_found(looks: StallDetector) -> None:
    assert [look(looks, 10, 5) for _ in range(3)] == [None, None, 1]


def test_what_arrives_after_a_look_is_not_stalled(looks: StallDetector) -> None:
    # A message a while, each of which is on its way at the moment of a look.
    assert [look(looks, 10, at) for at in (5, 5, 6, 6, 7, 7, 8)] == [None] * 7


def test_what_waits_behind_others_is_not_stalled(looks: StallDetector) -> None:
    assert [look(looks, at, 5, drained=False) for at in (1, 2, 3, 4, 5)] == [None] * 5
    assert look(looks, 6, 5) == 1


def test_while_nothing_was_read_nothing_could_move(looks: StallDetector) -> None:
    assert [look(looks, 10, 5), look(looks, 10, 5)] == [None, None]
    looks.reset()
    assert [look(looks, 10, 5) for _ in range(3)] == [None, None, 1]
