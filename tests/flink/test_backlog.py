"""How fast Flink reads a backlog: part of `make bench-windows`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cryptometrics.market.windows import MINUTE
from tests.flink.checkpoints import checkpoints_of
from tests.flink.following import (
    BY_MAKE,
    LIMIT_S,
    STEP,
    TICKS,
    end,
    follow,
    processed,
    start_of,
    windows,
    written,
)
from tests.late_stream import publish_late
from tests.true_windows import differing_windows
from tests.waiting import wait_until

if TYPE_CHECKING:
    import psycopg

    from cryptometrics.config import Settings
    from tests.conftest import Cli
    from tests.flink.cluster import Cluster

pytestmark = BY_MAKE


def test_the_backlog_at_full_speed(
    cli: Cli, settings: Settings, cluster: Cluster, connection: psycopg.Connection
) -> None:
    cli("init-db", "--partitions", "4")
    # As many that the job's start, of some twenty seconds, is not most of what is measured.
    publish_late(settings, 3 * TICKS, start_of(3 * TICKS, STEP), STEP)
    ticks = processed(cli)
    begun = time.monotonic()
    job = follow(cli, [*windows("1m", idle="5s"), "--readers", "2"], cluster.beam_options())
    first = 0.0

    def done() -> bool:
        nonlocal first
        count, _ = written(connection)
        first = first or (time.monotonic() if count else 0.0)
        return count == ticks

    wait_until(done, f"all {ticks:,} ticks are in windows", limit=LIMIT_S)
    seconds = time.monotonic() - begun
    from_first = time.monotonic() - first
    wait_until(lambda: written(connection)[1] == 0, "all windows are complete", limit=LIMIT_S)
    checkpoints = checkpoints_of(cluster)
    end(cli, job)
    assert differing_windows(connection, "g1", "flink", MINUTE) == []
    print(  # noqa: T201
        f"\nFlink, streaming, {ticks:,} ticks: {seconds:.1f} s with the job's start, "
        f"{ticks / seconds:,.0f} ticks/s; {from_first:.1f} s from the first window on; {checkpoints}"
    )
