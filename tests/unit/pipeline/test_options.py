"""The options of a worker."""

from __future__ import annotations

from cryptometrics.pipeline.options import WorkerOptions


def test_a_tick_may_wait_for_company() -> None:
    assert WorkerOptions("g").budget == 0.025
    assert WorkerOptions("g", latency=0.0).budget == 0
    assert WorkerOptions("g", latency=0.1).budget == 0.1


def test_the_end_of_a_backlog_does_not_wait() -> None:
    assert WorkerOptions("g", until_caught_up=True, latency=0.1).budget == 0
