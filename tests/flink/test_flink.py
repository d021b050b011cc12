"""The streaming job on a Flink cluster of local processes: `make test-flink`.

One in a hundred of a million ticks is late, and a task manager is killed. Every window is compared with one
SQL query over the rows that `process` stored.
"""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from cryptometrics.errors import CryptometricsError
from cryptometrics.market.windows import MINUTE
from tests.conftest import clean_environment, environment_of
from tests.flink import jars
from tests.flink.cluster import Cluster
from tests.late_stream import publish_late
from tests.true_windows import differing_windows
from tests.waiting import wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

    from cryptometrics.config import Settings
    from tests.conftest import Cli

TICKS = int(os.environ.get("TICKS", "1000000"))
RATE = int(os.environ.get("RATE", "15000"))
"""Ticks a second that are put on the topic while the job runs."""
STEP = timedelta(milliseconds=10)
LATENESS = "120s"
"""More than what the latest ticks let pass: none is too late."""
IDLE = "30s"
LIMIT_S = 900.0

pytestmark = [
    pytest.mark.skipif("FLINK" not in os.environ, reason="`make test-flink` runs this"),
    pytest.mark.timeout(3600),
]


@pytest.fixture(scope="session")
def class_path(shared_jars: Path) -> str:
    """Return Flink's class path; where a version is not to be had, say so in one line."""
    try:
        return jars.ensure(shared_jars.parent / "flink-jars")
    except CryptometricsError as error:
        pytest.exit(str(error), returncode=1)


@pytest.fixture
def cluster(class_path: str, settings: Settings, open_folder: Path) -> Iterator[Cluster]:
    environment = clean_environment() | environment_of(settings)
    with Cluster(open_folder / settings.kafka_topic, class_path, environment) as cluster:
        yield cluster


def written(connection: psycopg.Connection) -> tuple[int, int]:
    """Return the ticks in the job's windows, and how many of these are not complete."""
    row = connection.execute(
        "SELECT coalesce(sum(ticks), 0)::bigint, count(*) FILTER (WHERE NOT complete)"
        " FROM crypto_windows WHERE name = 'flink'"
    ).fetchone()
    assert row is not None
    return row


def follow(cli: Cli, cluster: Cluster, *options: str) -> subprocess.Popen[str]:
    """Submit the job; what the command says goes to a file."""
    with (cli.cwd / "aggregate.log").open("w") as log:
        command = ["aggregate", *options, "--follow", "--readers", "2", "--", *cluster.beam_options]
        return cli.start(*command, stdout=log, stderr=log)


def test_a_killed_task_manager_changes_no_window(
    cli: Cli, settings: Settings, cluster: Cluster, connection: psycopg.Connection
) -> None:
    cli("init-db", "--partitions", "4")
    # So that the last tick is of about now: a partition that falls silent lets the clock go on.
    start = datetime.now(UTC).replace(microsecond=0) - STEP * TICKS
    options = ["--window", "1m", "--into", "flink", "--group", "g1", "--lateness", LATENESS, "--idle", IDLE]
    job = follow(cli, cluster, *options)
    feed = threading.Thread(target=publish_late, args=(settings, TICKS, start, STEP), kwargs={"rate": RATE})
    feed.start()
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
    feed.join()
    stored = cli("process", "--group", "g1", "--until-caught-up", timeout=LIMIT_S).stdout
    ticks = int(re.findall(r"([0-9,]+) stored", stored)[0].replace(",", ""))
    wait_until(
        lambda: written(connection) == (ticks, 0),
        f"all {ticks:,} ticks are in complete windows",
        limit=LIMIT_S,
    )
    seconds = time.monotonic() - begun
    job.send_signal(signal.SIGINT)
    assert job.wait(120) == 0, (cli.cwd / "aggregate.log").read_text()
    assert differing_windows(connection, "g1", "1m", MINUTE) == []
    assert differing_windows(connection, "g1", "flink", MINUTE) == []
    # The readers' second life began where the checkpoint was, not at the beginning.
    lines = [line for number in (1, 2) for line in cluster.pool_log(number).splitlines()]
    offsets = [
        list(json.loads(line[line.index("{") :])["offsets"].values())
        for line in lines
        if '"reader_begins"' in line
    ]
    assert sum(map(any, offsets)) > 0, offsets
    print(  # noqa: T201
        f"\n{ticks:,} ticks at {RATE:,}/s, a task manager killed: {seconds:.0f} s, checkpoints {before}, "
        f"readers began at {offsets}"
    )


def test_the_backlog_at_full_speed(
    cli: Cli, settings: Settings, cluster: Cluster, connection: psycopg.Connection
) -> None:
    cli("init-db", "--partitions", "4")
    # As many that the job's start, of some twenty seconds, is not most of what is measured.
    start = datetime.now(UTC).replace(microsecond=0) - STEP * 3 * TICKS
    publish_late(settings, 3 * TICKS, start, STEP)
    stored = cli("process", "--group", "g1", "--until-caught-up", timeout=LIMIT_S).stdout
    ticks = int(re.findall(r"([0-9,]+) stored", stored)[0].replace(",", ""))
    options = ["--window", "1m", "--into", "flink", "--group", "g1", "--lateness", LATENESS, "--idle", "5s"]
    begun = time.monotonic()
    job = follow(cli, cluster, *options)
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
    job.send_signal(signal.SIGINT)
    assert job.wait(120) == 0
    assert differing_windows(connection, "g1", "flink", MINUTE) == []
    print(  # noqa: T201
        f"\nFlink, streaming, {ticks:,} ticks: {seconds:.1f} s with the job's start, "
        f"{ticks / seconds:,.0f} ticks/s; {from_first:.1f} s from the first window on"
    )
