"""Whether the state of a job grows: part of `make test-flink`.

Six hours of ticks pass in three minutes, at 20,000 ticks/s. A checkpoint must be as large after the sixth
hour as after the first, and hardly any may fail.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from cryptometrics.feeds.simulator import DEFAULT_PAIRS
from tests.flink.checkpoints import Checkpoint, checkpoints_of
from tests.flink.following import (
    BY_MAKE,
    LIMIT_S,
    differing_minutes,
    end,
    feed,
    follow,
    processed,
    start_of,
    wait_until_complete,
    windows,
)
from tests.waiting import wait_until

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

    from cryptometrics.config import Settings
    from tests.conftest import Cli
    from tests.flink.cluster import Cluster

HOURS = 6
RATE = int(os.environ.get("RATE", "20000"))
SECONDS = int(os.environ.get("FLAT_SECONDS", "180"))
"""In which the hours pass."""
MOST_GROWTH = 0.10
MOST_FAILED = 0.10

_COMPLETE_UNTIL = "SELECT max(window_end) FROM crypto_windows WHERE name = 'flink' AND complete"

pytestmark = BY_MAKE


@pytest.mark.parametrize(
    ("pairs", "window"),
    [(DEFAULT_PAIRS, "1m"), (tuple(f"P{number:03}-USD" for number in range(500)), "10m")],
    ids=["6 pairs", "500 pairs"],
)
def test_a_checkpoint_is_as_large_after_six_hours_as_after_one(
    cli: Cli,
    settings: Settings,
    cluster: Cluster,
    connection: psycopg.Connection,
    pairs: tuple[str, ...],
    window: str,
) -> None:
    cli("init-db", "--partitions", "4")
    ticks = RATE * SECONDS
    # A little more than the hours, so that the last of them ends, too.
    step = (timedelta(hours=HOURS) + timedelta(minutes=15)) / ticks
    step -= timedelta(microseconds=step.microseconds % 4)
    start = start_of(ticks, step)
    job = follow(cli, [*windows(window), "--readers", "2"], cluster.beam_options())
    begun = time.monotonic()
    publishing = feed(settings, ticks, start, step, rate=RATE, pairs=pairs)
    sizes = {hour: after(cluster, connection, start + timedelta(hours=hour)) for hour in (1, HOURS)}
    seconds = time.monotonic() - begun
    publishing.join()
    checkpoints = checkpoints_of(cluster)
    first, last = sizes[1].size, sizes[HOURS].size
    print(  # noqa: T201
        f"\n{len(pairs)} pairs, windows of {window}, {ticks:,} ticks at {RATE:,}/s, "
        f"hour {HOURS} complete after {seconds:.0f} s\n"
        f"checkpoint after hour 1: {first:,} bytes; after hour {HOURS}: {last:,} bytes\n{checkpoints}"
    )
    stored = processed(cli)
    wait_until_complete(connection, stored)
    end(cli, job)
    assert abs(last - first) < MOST_GROWTH * first
    assert checkpoints.share_failed < MOST_FAILED, checkpoints
    if window == "1m":
        assert differing_minutes(connection) == 0


def after(cluster: Cluster, connection: psycopg.Connection, time: datetime) -> Checkpoint:
    """Wait until the windows up to a time are complete; return the next checkpoint."""

    def is_complete() -> bool:
        row = connection.execute(_COMPLETE_UNTIL).fetchone()
        return row is not None and row[0] is not None and row[0] >= time

    wait_until(is_complete, f"windows up to {time} are complete", limit=LIMIT_S, poll=0.5)
    known = len(checkpoints_of(cluster).completed)
    wait_until(lambda: len(checkpoints_of(cluster).completed) > known, "a checkpoint was completed", poll=0.5)
    return checkpoints_of(cluster).completed[known]
