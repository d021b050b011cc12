"""Time each bounded way from a million ticks to the same windows: part of `make bench-windows`."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg

from cryptometrics.market.windows import MINUTE
from tests.flink.following import BY_MAKE, TICKS
from tests.late_stream import publish_late
from tests.true_windows import differing_windows

if TYPE_CHECKING:
    from cryptometrics.config import Settings
    from tests.conftest import Cli

pytestmark = BY_MAKE


def test_every_way_gives_the_same_windows(cli: Cli, settings: Settings) -> None:
    cli("init-db", "--partitions", "4")
    publish_late(settings, TICKS, datetime(2026, 6, 30, 22, tzinfo=UTC), timedelta(milliseconds=10))
    lines = []

    def timed(what: str, *command: str) -> None:
        begun = time.monotonic()
        done = cli(*command, timeout=900).stdout
        seconds = time.monotonic() - begun
        found = re.search(r"([0-9,]+) (?:stored|ticks)", done)
        assert found is not None
        ticks = int(found[1].replace(",", ""))
        lines.append(f"{what:32} {ticks:>10,} ticks {seconds:7.1f} s {ticks / seconds:>10,.0f} ticks/s")

    timed("process, minutes included", "process", "--group", "g1", "--until-caught-up")
    ways = {"kafka": ["--into", "kafka"], "postgres": ["--into", "postgres", "--source", "postgres"]}
    for name, options in ways.items():
        timed(f"aggregate from {name}, FnApiRunner", "aggregate", "--window", "1m", "--group", "g1", *options)
    with psycopg.connect(settings.postgres()) as connection:
        for name in ("1m", *ways):
            assert differing_windows(connection, "g1", name, MINUTE) == []
    print("\n" + "\n".join(lines))  # noqa: T201
