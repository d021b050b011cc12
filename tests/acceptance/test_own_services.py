"""Commands that start and stop Kafka and PostgreSQL themselves: `demo`, `run` and `down`."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.request import urlopen

import psycopg
import pytest

from cryptometrics.local.services import Services
from tests.waiting import LIMIT_S, wait_until

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from tests.conftest import Cli

DEMO_S = 180.0
"""How long a demo may take on a busy machine."""
HASTY_DEMO = """
from datetime import timedelta

from cryptometrics import cli
from cryptometrics.cli import demo_stages

demo_stages.RECENT_STEP, demo_stages.PATIENCE_S = timedelta(milliseconds=1), 8.0
cli.main(["demo"])
"""
"""A demo with more to do, and less patience: more than the group takes to begin."""


def stores(services: Services) -> bool:
    """Whether any tick is stored."""
    try:
        with psycopg.connect(services.postgres_uri) as connection:
            row = connection.execute("SELECT coalesce(sum(metrics), 0) FROM consumer_offsets").fetchone()
    except psycopg.Error:  # it starts, or has no tables yet
        return False
    return row is not None and row[0] > 0


def pid_of(services: Services, name: str) -> int | None:
    return services.status()[name].pid


def kill(services: Services, name: str) -> None:
    pid = pid_of(services, name)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pid_of(services, name) is None, f"{name} has ended")


def check_figures(local: Cli, home: Path) -> None:
    """Check that a day of simulated minutes is enough for every figure of risk and of the portfolio."""
    printed = {
        name: json.loads(local(*command, "--json", env={"CRYPTOMETRICS_HOME": str(home)}).stdout)
        for name, command in {
            "risk": ["risk"],
            "portfolio": ["portfolio"],
            "correlation": ["risk", "correlation"],
        }.items()
    }
    assert {line["venue"] for line in printed["risk"]} == {"simulated"}
    assert len(printed["risk"]) == 6
    assert nulls(printed["risk"]) == set()
    assert nulls(printed["correlation"]) == set()
    assert nulls(printed["portfolio"]) == set()
    assert {limit["state"] for limit in printed["portfolio"]["limits"]} <= {"ok", "warn", "breach"}
    with psycopg.connect(Services(home).postgres_uri) as connection:
        rows = connection.execute(
            "SELECT completeness, count(*) FROM crypto_windows_1m GROUP BY 1"
        ).fetchall()
    [(label, minutes)] = rows
    assert label == "simulated"
    assert minutes >= 6 * 1440


def nulls(value: object, name: str = "") -> set[str]:
    """Return the keys of a JSON document whose value is null; names stand for the items of a list, too."""
    if isinstance(value, dict):
        return set().union(*(nulls(each, key) for key, each in value.items()))
    if isinstance(value, list):
        return set().union(*(nulls(each, name) for each in value))
    return {name} if value is None else set()


def check_kept(services: Services, output: str) -> None:
    """Check that the market of a kept demo goes on, and that its page answers."""
    assert services.commands.running() == ["simulate", "process", "risk", "web"]
    [address] = re.findall(r"^page: (http://\S+)$", output, re.MULTILINE)
    with urlopen(f"{address}api/pairs", timeout=LIMIT_S) as answer:
        pairs = json.load(answer)["pairs"]
    assert [pair["simulated"] for pair in pairs] == [True] * 6
    newest = newest_tick(services)
    wait_until(lambda: newest_tick(services) > newest, "a live tick is stored")


def newest_tick(services: Services) -> datetime:
    with psycopg.connect(services.postgres_uri) as connection:
        row = connection.execute("SELECT max(timestamp) FROM pair_state").fetchone()
    assert row is not None
    newest: datetime = row[0]
    return newest


@pytest.mark.slow
def test_one_demo_at_a_time(local: Cli, home: Path) -> None:
    first = local.start("demo", "--keep")
    wait_until((home / "demo" / "endpoints.json").exists, "the first demo runs", running=first)
    second = local("demo", code=2)
    assert second.stdout == ""
    assert second.stderr.startswith(f"error: another demo is running in {home}/demo: ")
    assert len(second.stderr.splitlines()) == 1
    output, errors = first.communicate(timeout=DEMO_S)
    assert first.returncode == 0, errors
    assert "lost 0" in output
    assert "keep running" in output
    check_figures(local, home / "demo")
    check_kept(Services(home / "demo"), output)
    # One that was kept is not running any more, and is replaced.
    assert "lost 0" in local("demo", timeout=DEMO_S).stdout
    assert not any(state.running for state in Services(home / "demo").status().values())
    assert Services(home / "demo").commands.running() == []
    assert (local.cwd / "charts" / "BTC-USD.png").exists()


@pytest.mark.slow
def test_a_demo_whose_ticks_do_not_reach_kafka_says_why(local: Cli) -> None:
    done = local("demo", code=1, env={"KAFKA_CONF_MESSAGE_TIMEOUT_MS": "1", "KAFKA_CONF_LINGER_MS": "0"})
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("error: Kafka has not acknowledged ")


@pytest.mark.slow
@pytest.mark.parametrize("service", ["kafka", "postgres"])
def test_a_demo_whose_service_dies_comes_to_an_end(local: Cli, home: Path, service: str) -> None:
    running = subprocess.Popen(
        [sys.executable, "-c", HASTY_DEMO],
        cwd=local.cwd,
        env=local.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        services = Services(home / "demo")
        wait_until(lambda: stores(services), "a tick is stored", running=running)
        kill(services, service)
        output, errors = running.communicate(timeout=LIMIT_S)
    finally:
        running.kill()
        running.communicate()  # else another test would fail for its open pipes
    assert running.returncode == 3, errors
    assert output == ""
    assert errors.splitlines()[-1].startswith("error: nothing was processed for 8 s: ")
    assert "Traceback" not in errors
    assert not any(state.running for state in services.status().values())


@pytest.mark.slow
def test_run_stops_what_it_has_started_and_nothing_else(local: Cli, home: Path) -> None:
    services = Services(home, kafka_port=0)
    services.up()
    kafka, postgres = pid_of(services, "kafka"), pid_of(services, "postgres")
    assert postgres is not None
    os.kill(postgres, signal.SIGINT)
    wait_until(lambda: pid_of(services, "postgres") is None, "PostgreSQL has ended")
    running = local.start("run", "--pair", "BTC-USD")
    wait_until(lambda: stores(services), "a tick is stored", running=running)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=LIMIT_S)
    assert running.returncode == 0, errors
    assert "starting PostgreSQL" in errors
    assert "stopped PostgreSQL;" in errors
    assert pid_of(services, "postgres") is None
    assert pid_of(services, "kafka") == kafka
    assert list(json.loads((home / "endpoints.json").read_text())) == ["kafka"]
    assert services.down() == ["kafka"]


@pytest.mark.slow
def test_what_another_has_started_again_is_left_alone(home: Path) -> None:
    services = Services(home, kafka_port=0)
    started = services.up()
    assert set(started) == {"kafka", "postgres"}
    assert services.up() == {}
    kill(services, "postgres")
    other = Services(home)
    again = other.up()
    assert list(again) == ["postgres"]
    assert services.down(started) == ["kafka"]
    assert pid_of(services, "postgres") == again["postgres"]
    assert other.down() == ["postgres"]


def test_without_a_terminal_a_purge_asks_for_yes(local: Cli, home: Path) -> None:
    data = home / "kafka" / "data"
    data.mkdir(parents=True)
    for answer in ("", "y\n"):
        done = local("down", "--purge", input=answer, code=2)
        assert "--yes" in done.stderr
        assert done.stderr.startswith("error: ")
        assert len(done.stderr.splitlines()) == 1
    assert data.exists()


@pytest.mark.parametrize(("answer", "kept"), [(b"n\n", True), (b"y\n", False)])
def test_on_a_terminal_a_purge_asks(local: Cli, home: Path, answer: bytes, kept: bool) -> None:
    data = home / "kafka" / "data"
    data.mkdir(parents=True)
    ours, its = pty.openpty()
    try:
        os.write(ours, answer)
        done = subprocess.run(
            [sys.executable, "-m", "cryptometrics", "down", "--purge"],
            cwd=local.cwd,
            env=local.environment,
            stdin=its,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=True,
        )
    finally:
        os.close(ours)
        os.close(its)
    assert "Delete all data" in done.stderr
    assert data.exists() is kept
