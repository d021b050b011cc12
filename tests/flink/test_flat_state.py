"""Whether the state of a job grows: part of `make test-flink`.

Six hours of ticks pass in a few minutes, at 20,000 ticks/s. Once all are read, a checkpoint must be as large
after the sixth hour as after the first, and hardly any may fail on the way.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from cryptometrics.feeds.simulator import DEFAULT_PAIRS
from cryptometrics.market.windows import MINUTE
from tests.flink.checkpoints import Checkpoint, checkpoints_of
from tests.flink.following import (
    BY_MAKE,
    LATENESS,
    LIMIT_S,
    end,
    feed,
    follow,
    processed,
    start_of,
    windows,
    written,
)
from tests.true_windows import differing_minutes
from tests.waiting import wait_until

if TYPE_CHECKING:
    import psycopg

    from cryptometrics.config import Settings
    from tests.conftest import Cli
    from tests.flink.cluster import Cluster

HOURS = 6
RATE = int(os.environ.get("RATE", "20000"))
MAX_GROWTH = 0.10
MAX_FAILED = 0.10

pytestmark = BY_MAKE


@pytest.mark.parametrize(
    ("pairs", "window", "hour"),
    [
        (DEFAULT_PAIRS, MINUTE, 30 * RATE),
        # So many that within an hour each pair has as many trades as a reader remembers.
        (tuple(f"P{number:03}-USD" for number in range(500)), 10 * MINUTE, 60 * RATE),
    ],
    ids=["6 pairs", "500 pairs"],
)
def test_a_checkpoint_is_as_large_after_six_hours_as_after_one(
    cli: Cli,
    settings: Settings,
    cluster: Cluster,
    connection: psycopg.Connection,
    pairs: tuple[str, ...],
    window: timedelta,
    hour: int,
) -> None:
    """hour: the number of its ticks."""
    # Each of three partitions has ticks of the six pairs; a fourth would have none.
    cli("init-db", "--partitions", "3")
    step = timedelta(hours=1) / hour
    step -= timedelta(microseconds=step.microseconds % 4)
    start = start_of(HOURS * hour, step)
    # No partition counts as idle: the watermark must wait at the newest tick while a checkpoint is taken.
    length = f"{window // MINUTE}m"
    job = follow(cli, [*windows(length, idle="1d"), "--readers", "2"], cluster.beam_options())
    # Of each pair: those within the lateness, the current one, and one for the watermark's delay.
    most_open = len(pairs) * (LATENESS // window + 2)
    sizes: list[int] = []
    stored = 0
    begun = time.monotonic()
    for first, last in ((0, 1), (1, HOURS)):
        publishing = feed(
            settings, (last - first) * hour, start + first * hour * step, step, rate=RATE, pairs=pairs
        )
        publishing.join()
        stored += processed(cli)
        wait_until_caught_up(connection, stored, most_open)
        sizes.append(next_checkpoint(cluster).size)
    seconds = time.monotonic() - begun
    checkpoints = checkpoints_of(cluster)
    end(cli, job)
    print(  # noqa: T201
        f"\n{len(pairs)} pairs, windows of {length}, {HOURS * hour:,} ticks at {RATE:,}/s: {seconds:.0f} s\n"
        f"checkpoint after hour 1: {sizes[0]:,} bytes; after hour {HOURS}: {sizes[1]:,} bytes\n{checkpoints}"
    )
    assert abs(sizes[1] - sizes[0]) < MAX_GROWTH * sizes[0]
    assert checkpoints.share_failed < MAX_FAILED, checkpoints
    if window == MINUTE:
        assert differing_minutes(connection, "flink") == 0


def wait_until_caught_up(connection: psycopg.Connection, ticks: int, most_open: int) -> None:
    """Wait until so many ticks are in windows, of which only so many are open.

    An open window is state: while the watermark is behind what has been read, there are more of them.
    """

    def caught_up() -> bool:
        count, still_open = written(connection)
        return count == ticks and still_open <= most_open

    wait_until(
        caught_up,
        lambda: f"{ticks:,} ticks are in windows, {most_open} of them open; are {written(connection)}",
        limit=LIMIT_S,
        poll=0.5,
    )


def next_checkpoint(cluster: Cluster) -> Checkpoint:
    """Return the checkpoint after the next: it begins after everything before this call."""
    known = len(checkpoints_of(cluster).completed)
    wait_until(
        lambda: len(checkpoints_of(cluster).completed) > known + 1, "a checkpoint was completed", poll=0.5
    )
    return checkpoints_of(cluster).completed[known + 1]
