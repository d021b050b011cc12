"""The benchmark measures and verifies every part, and cleans up however it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest
from confluent_kafka.admin import AdminClient

from cryptometrics.kafka import client
from tests.database import rows
from tests.waiting import wait_until

if TYPE_CHECKING:
    from cryptometrics.config import Settings
    from tests.conftest import Cli

QUICK = ("--ticks", "20000", "--rounds", "1")
PARTS = {
    "simulate",
    "bare consume",
    "bare COPY, original table",
    "bare COPY, crypto_metrics",
    "process, 1 worker",
    "INSERT and COMMIT a tick",
}


def left_behind(settings: Settings) -> list[str]:
    """Return the schemas and topics of benchmarks that are there."""
    query = "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, 'cryptometrics_bench_')"
    schemas = [name for (name,) in rows(settings, query)]
    topics = AdminClient(client.client_conf(settings)).list_topics(timeout=10).topics
    return schemas + [name for name in topics if name.startswith("cryptometrics_bench_")]


def test_every_part_is_measured_and_proved(cli: Cli, settings: Settings) -> None:
    (cli.cwd / "precious").write_text("kept")
    (cli.cwd / "bench.svg").symlink_to(cli.cwd / "precious")
    done = cli("bench", *QUICK, "--seconds", "1", "--json", "--out", "bench.svg", timeout=180)
    result = json.loads(done.stdout)
    assert result["throughput"].keys() >= PARTS
    for part in result["throughput"].values():
        assert part["lowest"] <= part["median_per_second"] <= part["highest"]
        assert part["ratio_to_limit"] > 0
    rates = [100, 1_000, 10_000]
    measured = [(at["latency"], at["rate"]) for at in result["latency_ms"]]
    assert measured == [(latency, rate) for latency in ("0", "25ms") for rate in rates]
    assert all(0 < at["p50"] <= at["p99"] <= at["max"] for at in result["latency_ms"])
    assert 0 < result["latency_floor_ms"]["p50"] <= result["latency_floor_ms"]["p99"]
    assert [cost["rate"] for cost in result["cpu"]] == rates
    for cost in result["cpu"]:
        assert cost["us_per_tick"].keys() == {"process", "broker", "postgres"}
        for name, used in cost["us_per_tick"].items():
            assert used == pytest.approx(
                1e6 * cost["share_of_core"][name] * cost["seconds"] / cost["ticks"], rel=0.2
            )
            assert used > 0
    assert result["verify"]["offsets"] > 20_000
    assert result["verify"]["us_per_offset"] > 0
    assert result["verify"]["us_per_offset_with_topic"] > 0
    assert "each with exactly one outcome" in result["verified"]
    assert "</svg>" in (cli.cwd / "bench.svg").read_text()
    assert (cli.cwd / "precious").read_text() == "kept"  # a link is replaced, not written through
    assert not left_behind(settings)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("moment", ["at once", "at work"])
def test_an_interrupted_benchmark_leaves_nothing(
    cli: Cli, settings: Settings, number: signal.Signals, code: int, moment: str
) -> None:
    running = cli.start("bench", *QUICK)
    wait_until(lambda: len(left_behind(settings)) >= 2, "its database and topic exist", running=running)
    benchmark = psutil.Process(running.pid)
    if moment == "at work":
        wait_until(benchmark.children, "it has started a worker", running=running)
    children = benchmark.children(recursive=True)
    running.send_signal(number)
    running.communicate(timeout=60)
    assert running.returncode == code
    # A broker may list a topic for a moment after it has deleted it.
    wait_until(lambda: not left_behind(settings), "its database and topic are deleted")
    assert not [child for child in children if child.is_running()]


def test_where_a_chart_cannot_be_is_said_before_the_minute(cli: Cli) -> None:
    assert "there is no folder no/such" in cli("bench", "--out", "no/such/chart.png", code=2).stderr
    assert "must end in .png, .svg or .pdf" in cli("bench", "--out", "../chart.exe", code=2).stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_growth_is_measured_with_rows_that_verify_proves(cli: Cli, settings: Settings) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "cryptometrics.cli.bench_growth"),
            *("--rows", "100000", "--ticks", "20000", "--rounds", "1"),
        ],
        cwd=cli.cwd,
        env=cli.environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("99,996 rows, ")
    assert lines[0].endswith(": 10 days, 50 pairs, 3 groups, 2 venues")
    first_words = {line.split()[0].rstrip(",") for line in lines[1:] if line.strip()}
    assert {"process", "session", "plot", "watch", "verify", "prune", "csv", "parquet"} <= first_words
    assert "(33,332)" in done.stdout  # offsets of one group
    assert not left_behind(settings)
