"""A task manager that is killed: part of `make test-flink`.

One in a hundred of a million ticks is late. Every window is compared with one SQL query over the rows that
`process` stored.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.flink.checkpoints import checkpoints_of
from tests.flink.following import (
    BY_MAKE,
    LIMIT_S,
    RATE,
    STEP,
    TICKS,
    assert_same_windows,
    beginnings,
    end,
    feed,
    follow,
    processed,
    start_of,
    wait_until_complete,
    windows,
    written,
)
from tests.waiting import wait_until

if TYPE_CHECKING:
    import psycopg

    from cryptometrics.config import Settings
    from tests.conftest import Cli
    from tests.flink.cluster import Cluster

pytestmark = BY_MAKE


def test_a_killed_task_manager_changes_no_window(
    cli: Cli, settings: Settings, cluster: Cluster, connection: psycopg.Connection
) -> None:
    cli("init-db", "--partitions", "4")
    job = follow(cli, [*windows("1m"), "--readers", "2"], cluster.beam_options())
    publishing = feed(
        settings, TICKS, start_of(TICKS, STEP), STEP, rate=RATE, venues=("simulated", "coinbase")
    )
    begun = time.monotonic()
    wait_until(
        lambda: written(connection)[0] > TICKS / 3, "a third of the ticks is in windows", limit=LIMIT_S
    )
    before = cluster.checkpoints()
    assert before["completed"] > 0
    cluster.kill_task_manager(1)
    wait_until(
        lambda: cluster.checkpoints().get("restored", 0) > before["restored"],
        "the job was restored",
        limit=LIMIT_S,
    )
    publishing.join()
    ticks = processed(cli)
    wait_until_complete(connection, ticks)
    seconds = time.monotonic() - begun
    checkpoints = checkpoints_of(cluster)
    end(cli, job)
    assert_same_windows(connection)
    # The readers' second life began where the checkpoint was, not at the beginning.
    offsets = [list(begun_at.values()) for begun_at in beginnings(cluster)]
    assert sum(map(any, offsets)) > 0, offsets
    print(  # noqa: T201
        f"\n{ticks:,} ticks at {RATE:,}/s, a task manager killed: {seconds:.0f} s; {checkpoints}; "
        f"partitions began at {offsets}"
    )
