"""A job that continues on a new cluster, with more readers, after the whole old one was killed."""

from __future__ import annotations

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
    from tests.flink.conftest import MakeCluster

pytestmark = BY_MAKE


def test_four_readers_continue_from_the_checkpoint_of_one(
    cli: Cli, settings: Settings, make_cluster: MakeCluster, connection: psycopg.Connection
) -> None:
    cli("init-db", "--partitions", "4")
    publishing = feed(
        settings, TICKS, start_of(TICKS, STEP), STEP, rate=RATE, venues=("simulated", "coinbase")
    )
    with make_cluster() as cluster:
        job = follow(cli, [*windows("1m"), "--readers", "1"], cluster.beam_options(parallelism=None))
        wait_until(
            lambda: written(connection)[0] > TICKS / 4, "a quarter of the ticks is in windows", limit=LIMIT_S
        )
        known = cluster.checkpoints()["completed"]
        wait_until(lambda: cluster.checkpoints()["completed"] > known, "a checkpoint was completed")
        before = checkpoints_of(cluster)
        cluster.kill_all()
        job.kill()
        job.wait()
    with make_cluster() as cluster:
        options = cluster.beam_options(parallelism=None)
        # Flink names the start of a pipeline after its parallelism, unless it is above one before and after.
        continued = ["--savepoint_path", cluster.newest_checkpoint(), "--allow_non_restored_state"]
        job = follow(cli, [*windows("1m"), "--readers", "4"], [*options, *continued])
        publishing.join()
        ticks = processed(cli)
        wait_until_complete(connection, ticks)
        after = checkpoints_of(cluster)
        assert cluster.checkpoints()["restored"] == 1
        end(cli, job)
        offsets = {place: offset for begun_at in beginnings(cluster) for place, offset in begun_at.items()}
    assert_same_windows(connection)
    assert len(offsets) == 4
    assert all(offset > 0 for offset in offsets.values()), offsets
    print(  # noqa: T201
        f"\n{ticks:,} ticks, one reader: {before}; cluster killed, four readers from {offsets}: {after}"
    )
