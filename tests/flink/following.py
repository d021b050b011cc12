"""Run `aggregate --follow` on a cluster, and look at what it has written."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cryptometrics.market.windows import MINUTE
from tests.late_stream import publish_late
from tests.true_windows import differing_minutes, differing_windows
from tests.waiting import wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

    import psycopg

    from cryptometrics.config import Settings
    from tests.conftest import Cli
    from tests.flink.cluster import Cluster

BY_MAKE = [
    pytest.mark.skipif(
        "FLINK" not in os.environ,
        reason="downloads Flink (159 MiB) and takes minutes: run `make test-flink` or `make bench-windows`",
    ),
    pytest.mark.timeout(3600),
]
TICKS = int(os.environ.get("TICKS", "1000000"))
RATE = int(os.environ.get("RATE", "15000"))
"""Ticks a second that are put on the topic while a job runs."""
STEP = timedelta(milliseconds=10)
LATENESS = timedelta(seconds=120)
"""More than what the latest ticks let pass: none is too late."""
IDLE = "30s"
LIMIT_S = 900.0


def windows(length: str, *, idle: str = IDLE) -> list[str]:
    """Return the options of a job that writes these windows as `flink`."""
    return [
        *("--window", length, "--into", "flink", "--group", "g1"),
        *("--lateness", f"{LATENESS.seconds}s", "--idle", idle, "--follow"),
    ]


def follow(cli: Cli, options: Sequence[str], beam_options: Sequence[str]) -> subprocess.Popen[str]:
    """Submit a job; what the command says goes to a file."""
    with (cli.cwd / "aggregate.log").open("a") as log:
        return cli.start("aggregate", *options, "--", *beam_options, stdout=log, stderr=log)


def end(cli: Cli, job: subprocess.Popen[str]) -> None:
    """Cancel a job as a person does."""
    job.send_signal(signal.SIGINT)
    assert job.wait(120) == 0, (cli.cwd / "aggregate.log").read_text()


def start_of(ticks: int, step: timedelta) -> datetime:
    """Return when so many ticks begin, of which the last is of about now.

    For a partition that falls silent lets the clock go on.
    """
    return datetime.now(UTC).replace(microsecond=0) - step * ticks


def feed(settings: Settings, ticks: int, start: datetime, step: timedelta, **more: Any) -> threading.Thread:
    """Put ticks on the topic in a thread of its own."""
    thread = threading.Thread(
        target=publish_late, args=(settings, ticks, start, step), kwargs=more, daemon=True
    )
    thread.start()
    return thread


def processed(cli: Cli) -> int:
    """Let `process` store the topic; return the ticks that are no duplicates."""
    stored = cli("process", "--group", "g1", "--until-caught-up", timeout=LIMIT_S).stdout
    return int(re.findall(r"([0-9,]+) stored", stored)[0].replace(",", ""))


def written(connection: psycopg.Connection) -> tuple[int, int]:
    """Return the ticks in the job's windows, and how many of these are not complete."""
    row = connection.execute(
        "SELECT coalesce(sum(ticks), 0)::bigint, count(*) FILTER (WHERE NOT complete)"
        " FROM crypto_windows WHERE name = 'flink'"
    ).fetchone()
    assert row is not None
    return row


def wait_until_complete(connection: psycopg.Connection, ticks: int) -> None:
    """Wait until all ticks are in complete windows."""
    wait_until(
        lambda: written(connection) == (ticks, 0),
        lambda: f"all {ticks:,} ticks are in complete windows; written are {written(connection)}",
        limit=LIMIT_S,
        poll=0.5,
    )


def assert_same_windows(connection: psycopg.Connection) -> None:
    """Compare the job's minutes and those of `process` with SQL, and with each other in every column."""
    assert differing_windows(connection, "g1", "1m", MINUTE) == []
    assert differing_windows(connection, "g1", "flink", MINUTE) == []
    assert differing_minutes(connection, "flink") == 0


def beginnings(cluster: Cluster) -> list[dict[str, int]]:
    """Return the offsets of the partitions that each reader began with, as the pools' logs say."""
    lines = [line for number in (1, 2) for line in cluster.pool_log(number).splitlines()]
    return [json.loads(line[line.index("{") :])["offsets"] for line in lines if '"reader_begins"' in line]
