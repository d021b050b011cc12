"""Exports: every quote once, in order and exact; no spreadsheet formulas; complete files or none."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest

from cryptometrics.store.datasets import QUOTE_COLUMNS

if TYPE_CHECKING:
    from cryptometrics.config import Settings
    from tests.conftest import Cli
    from tests.integration.conftest import Store

TICKS = 3000


@pytest.fixture
def filled(settings: Settings, cli: Cli) -> Cli:
    """Return a runner of commands on a database with five hours of ticks, in a session with a risky name."""
    cli("init-db")
    cli("simulate", "--rate", "0", "--count", str(TICKS), "--step", "6s", "--seed", "3")
    cli("process", "--group", "g1", "--session", '=cmd|"/c calc"', "--until-caught-up")
    return cli


def test_everything_is_exported_in_order_and_exact(settings: Settings, filled: Cli) -> None:
    """And the choice of pairs and times, files, and mistakes, on the same ticks."""
    rows = list(csv.DictReader(io.StringIO(filled("export").stdout)))
    filled("export", "--out", "lines.csv")
    assert (
        b"\r" not in (filled.cwd / "lines.csv").read_bytes()
    )  # PostgreSQL takes one kind of line end, not two
    (filled.cwd / "lines.csv").unlink()
    lines = [json.loads(line) for line in filled("export", "--format", "jsonl").stdout.splitlines()]
    assert len(rows) == len(lines) == TICKS
    assert list(rows[0]) == list(lines[0]) == list(QUOTE_COLUMNS)
    times = [row["quoted_at"] for row in rows]
    assert times == sorted(times) == [line["quoted_at"] for line in lines]
    assert times[-1] > times[0]
    with psycopg.connect(settings.postgres()) as connection:
        stored = {
            (place[0], place[1]): values
            for *place, values in connection.execute(
                "SELECT kafka_partition, kafka_offset, ARRAY[bid, ask, mid_price, spread] FROM crypto_metrics"
            )
        }
    for line in lines:
        prices = [Decimal(line[name]) for name in ("bid", "ask", "mid_price", "spread")]
        assert prices == stored.pop((line["kafka_partition"], line["kafka_offset"]))
    assert not stored
    # A spreadsheet sees text, a program the name itself.
    assert {row["session"] for row in rows} == {'\'=cmd|"/c calc"'}
    assert {line["session"] for line in lines} == {'=cmd|"/c calc"'}
    pairs_and_times_are_chosen(filled, rows)
    a_file_is_whole_or_not_there(filled)
    mistakes_are_one_line(filled)
    the_suffix_decides(filled)
    a_pipe_or_a_device_has_no_suffix_to_go_by(filled)


def pairs_and_times_are_chosen(filled: Cli, every: list[dict[str, str]]) -> None:
    since, until = every[500]["quoted_at"], every[2500]["quoted_at"]
    part = filled(
        "export", "--pair", "BTC-USD", "--pair", "ETH-USD", "--since", since, "--until", until
    ).stdout
    expected = [
        row for row in every if row["pair"] in {"BTC-USD", "ETH-USD"} and since <= row["quoted_at"] < until
    ]
    assert len(expected) > 500
    assert list(csv.DictReader(io.StringIO(part))) == expected


def a_file_is_whole_or_not_there(filled: Cli) -> None:
    precious = filled.cwd.parent / "precious"
    precious.write_text("kept")
    (filled.cwd / "quotes.csv").symlink_to(precious)
    done = filled("export", "--out", "quotes.csv")
    assert done.stdout == ""
    assert precious.read_text() == "kept"  # a link is replaced, not written through
    assert f"{TICKS:,} quotes in quotes.csv" in done.stderr
    assert len((filled.cwd / "quotes.csv").read_text().splitlines()) == TICKS + 1
    assert "cannot write" in filled("export", "--out", "no/such/folder.csv", code=2).stderr
    assert [path.name for path in filled.cwd.iterdir()] == ["quotes.csv"]


def mistakes_are_one_line(filled: Cli) -> None:
    assert "no ticks of NO-USD in group g1" in filled("export", "--pair", "NO-USD", code=2).stderr
    assert "'yesterday' is not a time" in filled("export", "--since", "yesterday", code=2).stderr


def the_suffix_decides(filled: Cli) -> None:
    filled("export", "--out", "quotes.jsonl")
    lines = (filled.cwd / "quotes.jsonl").read_text().splitlines()
    assert len(lines) == TICKS
    assert json.loads(lines[0])["pair"]
    assert ".csv or .jsonl" in filled("export", "--out", "quotes.xlsx", code=2).stderr
    assert (
        "is not a name of a .csv file"
        in filled("export", "--format", "csv", "--out", "a.jsonl", code=2).stderr
    )


def a_pipe_or_a_device_has_no_suffix_to_go_by(filled: Cli) -> None:
    assert f"{TICKS:,} quotes in /dev/null" in filled("export", "--out", "/dev/null").stderr
    pipe = filled.cwd / "quotes.xlsx"
    os.mkfifo(pipe)
    received = filled.cwd / "received"
    with received.open("wb") as file, subprocess.Popen(["cat", pipe], stdout=file) as reader:
        try:
            filled("export", "--format", "jsonl", "--out", pipe)
            reader.wait(30)
        finally:
            reader.kill()
    lines = received.read_text().splitlines()
    assert len(lines) == TICKS
    assert json.loads(lines[0])["pair"]
    assert pipe.is_fifo()


def put(settings: Settings, store: Store, first: int, last: int) -> None:
    """Store ticks, a millisecond apart, as `process` would count them."""
    at = "timestamptz '2026-01-05Z' + n * interval '1 ms'"
    query = f"SELECT n, {at} AS at, 100 AS bid, 101 AS ask FROM generate_series({first}, {last}) AS n"
    store(query, session=f"from {first}")
    with psycopg.connect(settings.postgres()) as connection:
        connection.execute(
            "INSERT INTO metric_days VALUES ('g1', 't', 0, '2026-01-05', %(rows)s, 0, 1) "
            "ON CONFLICT (consumer_group, topic, kafka_partition, day) DO UPDATE SET rows = excluded.rows",
            {"rows": last},
        )


def test_memory_stays_flat_and_a_reader_that_has_enough_ends_it(
    settings: Settings, store: Store, cli: Cli
) -> None:
    program = (
        "import resource, sys\n"
        "from cryptometrics.cli import _run\n"
        "code = _run(['export', '--format', 'jsonl', '--out', 'all.jsonl'])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
        "sys.exit(code)\n"
    )

    def peak_kib() -> int:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=cli.cwd, env=cli.environment, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        return int(done.stdout) // (1024 if sys.platform == "darwin" else 1)

    put(settings, store, 1, 2_000)
    few = peak_kib()
    put(settings, store, 2_001, 150_000)
    many = peak_kib()
    path = cli.cwd / "all.jsonl"
    with path.open() as lines:
        assert [json.loads(line)["kafka_offset"] for line in lines] == list(range(1, 150_001))
    assert path.stat().st_size > 40 * 1024 * 1024
    assert many - few < 10 * 1024
    # As `cryptometrics export | head`: it does not wait for a reader that has gone.
    running = cli.start("export", "--format", "jsonl")
    assert running.stdout is not None
    assert json.loads(running.stdout.readline())["pair"]
    running.stdout.close()
    assert running.wait(30) == 0
    assert running.stderr is not None
    assert running.stderr.read() == ""
