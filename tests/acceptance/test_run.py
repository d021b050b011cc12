"""`cryptometrics run`: everything in one terminal, with nothing left behind."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from tests.conftest import free_port
from tests.database import scalar
from tests.fakes.coinbase import FakeCoinbase
from tests.terminal import Terminal
from tests.waiting import LIMIT_S, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from cryptometrics.config import Settings
    from cryptometrics.local.services import Services
    from tests.conftest import Cli


def stored(settings: Settings) -> int:
    """Return how many ticks are stored; 0 before the tables exist."""
    if scalar(settings, "SELECT to_regclass('consumer_offsets')") is None:
        return 0
    return int(scalar(settings, "SELECT coalesce(sum(metrics), 0) FROM consumer_offsets"))


def started(cli: Cli, settings: Settings) -> subprocess.Popen[str]:
    """Return `run` when ticks are being stored."""
    running = cli.start("run", "--rate", "200", "--pair", "BTC-USD", "--group", "g1")
    wait_until(lambda: stored(settings) >= 200, "ticks are stored", running=running)
    return running


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_from_an_empty_database_to_stored_ticks_and_a_clean_end(
    number: signal.Signals, empty_database_settings: Settings, cli_for: Callable[[Settings], Cli]
) -> None:
    settings, cli = empty_database_settings, cli_for(empty_database_settings)
    running = started(cli, settings)
    children = psutil.Process(running.pid).children(recursive=True)
    assert len(children) == 3
    running.send_signal(number)
    output, errors = running.communicate(timeout=LIMIT_S)
    assert running.returncode == 0, errors
    assert "sent " in output
    assert "group g1: " in output
    assert "applied 0001_metrics" in errors
    assert not [child for child in children if child.is_running()]
    assert [row["pair"] for row in json.loads(cli("session", "--json").stdout)] == ["BTC-USD"]


@pytest.mark.slow
def test_with_web_it_serves_the_page_from_the_first_tick_on(
    empty_database_settings: Settings, cli_for: Callable[[Settings], Cli]
) -> None:
    cli, port = cli_for(empty_database_settings), free_port()
    running = cli.start("run", "--web", "--group", "g1", env={"CRYPTOMETRICS_WEB_PORT": str(port)})

    def pairs() -> list[str]:
        with contextlib.suppress(httpx.TransportError):  # it does not listen yet
            answer = httpx.get(f"http://127.0.0.1:{port}/api/pairs", timeout=LIMIT_S)
            return [row["pair"] for row in answer.json().get("pairs", [])]
        return []

    wait_until(lambda: "BTC-USD" in pairs(), "the page shows a pair", running=running)
    running.send_signal(signal.SIGINT)
    output, errors = running.communicate(timeout=LIMIT_S)
    assert running.returncode == 0, errors
    assert f"http://127.0.0.1:{port}/" in output


@pytest.mark.slow
def test_live_it_shows_the_exchanges_feed(settings: Settings, cli: Cli) -> None:
    with FakeCoinbase(("BTC-USD",), rate=100) as server:
        running = cli.start(
            *("run", "--live", "--pair", "BTC-USD", "--group", "g1"),
            env={"CRYPTOMETRICS_INGEST_URL": server.url},
        )
        wait_until(lambda: stored(settings) >= 100, "ticks are stored", running=running)
        running.send_signal(signal.SIGINT)
        output, errors = running.communicate(timeout=LIMIT_S)
    assert running.returncode == 0, errors
    assert "group g1: " in output


def no_exchange() -> dict[str, str]:
    """Return the variable that makes the live feed connect to a port where nobody listens."""
    return {"CRYPTOMETRICS_INGEST_URL": f"ws://127.0.0.1:{free_port()}"}


def check_nothing_received(errors: str) -> None:
    """Check that the last line of a run, and nothing else, says that the feed received nothing."""
    last = errors.splitlines()[-1]
    assert re.match(
        r"error: ingest ended \(exit code 3\): error: nothing was received: the exchange at ws://127\.0\.0\.1:"
        r"[0-9]+ did not answer for [0-9]+s \(.*Connect call failed.*\): check the network and --url \(log: ",
        last,
    ), errors
    assert errors.count("nothing was received") == 1
    shutil.rmtree(log_in(last).parent)


@pytest.mark.slow
def test_live_without_the_exchange_it_shows_the_state_of_the_feed_and_fails(cli: Cli) -> None:
    running = cli.start("run", "--live", "--group", "g1", env=no_exchange())
    assert running.stderr is not None
    lines: list[str] = []
    for line in running.stderr:
        lines.append(line)
        if "ingest: not connected" in line:
            break
    assert re.match(
        r"ingest: not connected for [0-9]+s \(.*Connect call failed.*\), 0 frames.*; process: ", lines[-1]
    ), lines
    running.send_signal(signal.SIGINT)
    output, errors = running.communicate(timeout=LIMIT_S)
    assert running.returncode == 3, errors
    assert output.splitlines()[0] == "group g1: 0 stored, 0 rejected, 0 duplicates, 0 late"
    check_nothing_received(errors)


def test_live_without_the_exchange_it_ends_after_the_limit(cli: Cli) -> None:
    done = cli("run", "--live", code=3, env=no_exchange() | {"CRYPTOMETRICS_WAIT": "4"})
    check_nothing_received(done.stderr)


@pytest.mark.slow
def test_on_a_terminal_old_quotes_are_not_shown_as_those_of_the_feed(cli: Cli, settings: Settings) -> None:
    cli("init-db")
    cli("simulate", "--rate", "0", "--count", "100", "--pair", "BTC-USD", "--start", "2026-01-01T00:00")
    cli("process", "--group", "g1", "--until-caught-up")
    terminal = Terminal(cli, "run", "--live", "--group", "g1", size=(30, 160), env=no_exchange())
    try:
        terminal.until(lambda text: "old quotes: BTC-USD" in text, "the old quote is named")
        terminal.until(lambda text: "not connected for" in text, "the state of the feed")
        terminal.until(lambda text: "ticks/s, lag 0, 0 stored" in text, "the state of the worker")
        terminal.process.send_signal(signal.SIGINT)
        terminal.until(lambda text: "nothing was received" in text, "the reason")
        terminal.until(lambda text: re.search(r"\(log: .+\)", text) is not None, "the path of the log")
        assert terminal.process.wait(LIMIT_S) == 3
        shutil.rmtree(log_in(terminal.drawn).parent)
    finally:
        terminal.close()


def ending(running: subprocess.Popen[str]) -> None:
    """Return when it says that it ends its parts."""
    assert running.stderr is not None
    for line in running.stderr:
        if line.startswith("ending: "):
            return
    pytest.fail("it has not begun to end")


def log_in(message: str) -> Path:
    found = re.search(r"\(log: (.+?)\)", message)
    assert found
    return Path(found[1])


@pytest.mark.slow
def test_a_part_that_is_killed_while_it_ends_is_a_failure(cli: Cli, settings: Settings) -> None:
    running = started(cli, settings)
    children = psutil.Process(running.pid).children(recursive=True)
    part = next(child for child in children if "simulate" in child.cmdline())
    part.suspend()
    running.send_signal(signal.SIGINT)
    ending(running)
    part.kill()
    output, errors = running.communicate(timeout=LIMIT_S)
    assert running.returncode == 1, errors
    assert "group g1: " in output
    last = errors.splitlines()[-1]
    assert last.startswith("error: simulate ended (signal 9): ")
    log = log_in(last)
    assert log.name == "simulate.log"
    assert log.exists()
    shutil.rmtree(log.parent)


@pytest.mark.slow
def test_what_kafka_has_not_acknowledged_is_a_failure(
    cli: Cli, settings: Settings, services: Services
) -> None:
    running = started(cli, settings)
    broker = psutil.Process(services.status()["kafka"].pid)
    parts = psutil.Process(running.pid).children(recursive=True)
    part = next(child for child in parts if "simulate" in child.cmdline())
    broker.suspend()
    try:
        running.send_signal(signal.SIGINT)
        part.wait(LIMIT_S)
    finally:
        broker.resume()
    _, errors = running.communicate(timeout=LIMIT_S)
    assert running.returncode == 1, errors
    last = errors.splitlines()[-1]
    assert last.startswith("error: simulate ended (exit code 1): error: Kafka has not acknowledged ")
    shutil.rmtree(log_in(last).parent)


def test_a_part_that_fails_ends_the_rest_with_its_words(
    empty_database_settings: Settings, cli_for: Callable[[Settings], Cli]
) -> None:
    cli = cli_for(empty_database_settings)
    done = cli("run", "--rate", "10", code=2, env={"CRYPTOMETRICS_PROCESS_BATCH": "none"})
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: process ended (exit code 2): error: Invalid value for '--batch'")
    assert "Traceback" not in done.stderr
