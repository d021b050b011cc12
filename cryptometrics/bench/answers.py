"""Measure how long a person waits for an answer: whole commands, with the start of Python."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from psycopg import sql

from cryptometrics.bench.stored_days import DAYS, GROUPS, PAIRS, VENUES
from cryptometrics.errors import CryptometricsError
from cryptometrics.local import jars as kafka_jars
from cryptometrics.local.services import Services
from cryptometrics.store.copied_rows import copied_rows
from cryptometrics.store.datasets import QUOTE_COLUMNS
from cryptometrics.times import iso

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from cryptometrics.bench.scratch import Scratch
    from cryptometrics.bench.stored_days import StoredDays
    from cryptometrics.config import Settings

GROUP, VENUE, PAIR = GROUPS[0], VENUES[0], PAIRS[0]
"""What the commands read."""
CHART = timedelta(minutes=15)
ROUNDS = 3
"""The best of so many rounds counts: the first one warms up."""
UP_TIMEOUT_S = 600.0
FIRST_ROW_S = 60.0
LOOK_S = 0.005
"""Seconds between two looks for the first row."""
EXPORTED_ROWS = 1_000_000
"""Maximum rows of an export."""

# The same rows and columns, read and dropped: unsorted, and as PostgreSQL writes them.
_COPY = sql.SQL(
    "COPY (SELECT {columns} FROM crypto_quotes WHERE consumer_group = {group} AND venue = {venue} "
    "AND quoted_at >= {since} AND quoted_at < {until}) TO STDOUT (FORMAT csv)"
)
_HAS_STORED = "SELECT coalesce(sum(metrics), 0) > 0 FROM consumer_offsets WHERE consumer_group = %s"


class Export(NamedTuple):
    """Rows per second of a command, its start included, and of the server's own COPY just before it."""

    rows: int
    per_second: float
    copy_per_second: float

    @property
    def ratio(self) -> float:
        """The rate of the export divided by that of COPY."""
        return self.per_second / self.copy_per_second


def answers(scratch: Scratch, days: StoredDays) -> dict[str, float]:
    """Return the seconds of each command that answers a question."""
    with tempfile.TemporaryDirectory() as folder:
        chart = ["--pair", PAIR, "--since", iso(days.end - CHART), "--out", str(Path(folder, "chart.png"))]
        commands = {
            "session": ["session", "--group", GROUP],
            "plot --since 15m": ["plot", "--group", GROUP, "--venue", VENUE, *chart],
            "watch --once": ["watch", "--once", "--group", GROUP],
        }
        return {
            name: min(_seconds(scratch, command) for _ in range(ROUNDS)) for name, command in commands.items()
        }


def warm_start(settings: Settings) -> float | None:
    """Return the seconds of `up` in a data folder of its own, where both services have run before.

    None where the local Kafka is not used, whose jars are there.
    """
    jars = kafka_jars.folder(settings.home)
    if not jars.is_dir():
        return None
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        home.chmod(0o711)  # as root, PostgreSQL's own user must reach its data
        (home / jars.name).symlink_to(jars)
        with Services(home, kafka_port=0) as services:
            services.up()
            services.down()
            begun = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "cryptometrics", "up"],
                env=os.environ | {"CRYPTOMETRICS_HOME": folder},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=UP_TIMEOUT_S,
                check=True,
            )
            return time.perf_counter() - begun


def first_row(scratch: Scratch) -> float:
    """Return the seconds from the start of `process` until its first row is visible.

    The group is new and the topic has a backlog.
    """
    return min(_first_row(scratch, f"first-{uuid.uuid4().hex[:8]}") for _ in range(ROUNDS))


def _first_row(scratch: Scratch, group: str) -> float:
    begun = time.perf_counter()
    with scratch.start("process", "--group", group, "--no-alerts") as worker:
        try:
            while time.perf_counter() - begun < FIRST_ROW_S:
                row = scratch.connection.execute(_HAS_STORED, [group]).fetchone()
                if row is not None and row[0]:
                    return time.perf_counter() - begun
                time.sleep(LOOK_S)
        finally:
            worker.terminate()
    raise CryptometricsError(f"`process` stored nothing in {FIRST_ROW_S:g} s")


def exports(scratch: Scratch, days: StoredDays, say: Callable[[str], None]) -> dict[str, Export]:
    """Return how fast each form is written, beside the server's own COPY."""
    share = min(1.0, EXPORTED_ROWS * len(VENUES) / days.ticks)
    since, until = days.end - timedelta(days=DAYS) * share, days.end
    found: dict[str, Export] = {}
    with tempfile.TemporaryDirectory() as folder:
        for form in ("csv", "parquet"):
            best: Export | None = None
            for _ in range(ROUNDS - 1):
                say(f"export to {form}")
                rows, copy_seconds = _copy(scratch, since, until)
                out = str(Path(folder, f"quotes.{form}"))
                selection = ["--group", GROUP, "--venue", VENUE, "--since", iso(since), "--until", iso(until)]
                seconds = _seconds(scratch, ["export", *selection, "--out", out])
                measured = Export(rows, rows / seconds, rows / copy_seconds)
                best = measured if best is None else max(best, measured, key=lambda each: each.ratio)
            assert best is not None  # noqa: S101  (there is a round)
            found[form] = best
    return found


def _copy(scratch: Scratch, since: datetime, until: datetime) -> tuple[int, float]:
    """Return the rows that the server's own COPY sends, and the seconds it takes."""
    statement = _COPY.format(
        columns=sql.SQL(", ").join(map(sql.Identifier, QUOTE_COLUMNS)),
        group=GROUP,
        venue=VENUE,
        since=since,
        until=until,
    )
    begun = time.perf_counter()
    rows = sum(block.rows for block in copied_rows(scratch.connection, statement))
    return rows, time.perf_counter() - begun


def _seconds(scratch: Scratch, arguments: list[str]) -> float:
    begun = time.perf_counter()
    scratch.run(*arguments)
    return time.perf_counter() - begun
