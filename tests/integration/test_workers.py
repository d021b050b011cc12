"""Workers under a supervisor: they share the work, are replaced when they die, and stop together."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import sys
from collections import Counter
from typing import TYPE_CHECKING

import psutil
import pytest

from cryptometrics.errors import CryptometricsError, ServiceUnavailableError
from cryptometrics.pipeline import GAVE_UP, supervisor
from tests.database import rows
from tests.terminal import Terminal
from tests.waiting import LIMIT_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from cryptometrics.config import Settings
    from tests.conftest import Cli

TICKS = 30_000


def owners(settings: Settings) -> set[str]:
    return {owner for (owner,) in rows(settings, "SELECT owner FROM consumer_offsets WHERE epoch > 0")}


def stored(settings: Settings) -> tuple[int, int]:
    """Return how many offsets are accounted for, and how many rows there are."""
    query = (
        "SELECT coalesce(sum(next_offset - first_offset), 0)::bigint, (SELECT count(*) FROM crypto_metrics) "
        "FROM consumer_offsets"
    )
    [(offsets, metrics)] = rows(settings, query)
    return offsets, metrics


def children(process: psutil.Process) -> list[psutil.Process]:
    return [child for child in process.children() if child.status() != psutil.STATUS_ZOMBIE]


def replaced(parent: psutil.Process, victim: int) -> bool:
    pids = {child.pid for child in children(parent)}
    return len(pids) == 2 and victim not in pids


@pytest.mark.slow
def test_workers_share_the_work_and_end_when_it_is_done(settings: Settings, cli: Cli) -> None:
    cli("init-db")
    cli("simulate", "--rate", "0", "--count", str(TICKS), "--seed", "1")
    done = cli("process", "--workers", "2", "--until-caught-up")
    assert re.search(rf"group cryptometrics: {TICKS:,} stored, 0 rejected", done.stdout)
    assert stored(settings) == (TICKS, TICKS)


@pytest.mark.slow
def test_a_worker_that_ends_is_replaced_and_sigterm_ends_all(settings: Settings, cli: Cli) -> None:
    cli("init-db")
    running = cli.start("process", "--workers", "2")
    parent = psutil.Process(running.pid)
    wait_until(lambda: len(owners(settings)) == 2, "both own partitions")
    for end in (psutil.Process.kill, psutil.Process.terminate):  # SIGTERM lets it end with exit code 0
        victim = children(parent)[0].pid
        end(psutil.Process(victim))
        others = functools.partial(replaced, parent, victim)
        wait_until(others, "another one takes its place")
    cli("simulate", "--rate", "0", "--count", str(TICKS), "--seed", "1")
    wait_until(lambda: stored(settings) == (TICKS, TICKS), "all is stored, once")
    workers = children(parent)
    running.send_signal(signal.SIGTERM)
    output, _ = running.communicate(timeout=LIMIT_S)
    assert running.returncode == 0
    assert "workers that died and were restarted: 2" in output
    assert not [worker for worker in workers if worker.is_running()]


@pytest.mark.slow
def test_workers_end_when_their_supervisor_is_killed(settings: Settings, cli: Cli) -> None:
    cli("init-db")
    running = cli.start("process", "--workers", "2")
    wait_until(lambda: len(owners(settings)) == 2, "both own partitions")
    workers = children(psutil.Process(running.pid))
    os.kill(running.pid, signal.SIGKILL)
    assert len(workers) == 2
    gone, alive = psutil.wait_procs(workers, timeout=LIMIT_S)
    assert not alive
    assert len(gone) == 2


def test_what_a_worker_says_last_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it is dead before all of it is read."""
    monkeypatch.setattr(supervisor, "POLL_S", 0.0)
    program = "import json\nfor n in range(2000): print(json.dumps({'metrics': n, 'measured': {}}))"
    for _ in range(5):
        several = supervisor.Supervisor([sys.executable, "-c", program], 2, may_end=True, show=print)
        several.run(lambda: False, lambda _: None)
        assert several.report().metrics == 2 * 1999


def test_what_workers_log_at_once_comes_in_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though they write it in pieces, more of it than may wait, and do not end the last line."""
    monkeypatch.setattr(supervisor, "LINES", 10)
    program = (
        "import sys\nfor n in range(2000):\n"
        "  for part in ('<', 'ö' * (n % 50), '>\\n'[: 1 + (n < 1999)]):\n"
        "    sys.stderr.write(part)\n    sys.stderr.flush()"
    )
    lines: list[str] = []
    command = [sys.executable, "-X", "utf8", "-c", program]
    several = supervisor.Supervisor(command, 3, may_end=True, show=lines.append)
    several.run(lambda: False, lambda _: None)
    assert Counter(lines) == Counter({f"<{'ö' * n}>": 3 * 40 for n in range(50)})


@pytest.mark.slow
def test_the_log_of_workers_on_a_terminal_stands_apart_from_the_progress(
    settings: Settings, cli: Cli
) -> None:
    cli("init-db", "--partitions", "2")
    terminal = Terminal(cli, "--verbose", "process", "--workers", "2", size=(24, 300))
    try:
        terminal.until(lambda drawn: drawn.count("partitions_assigned") >= 2, "both have a partition")
        terminal.until(lambda drawn: "2 workers: 0 ticks/s" in drawn, "the progress")
        terminal.process.send_signal(signal.SIGTERM)
        terminal.until(lambda drawn: "0 stored" in drawn, "the end")
    finally:
        terminal.close()
    events = [
        line
        for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.drawn))
        if "[info " in line
    ]
    assert len([line for line in events if "partitions_assigned" in line]) >= 2
    for line in events:
        assert re.fullmatch(r"\d\d:\d\d:\d\d \[info +\] (?!.*(\[info|ticks/s)).*", line)


def test_a_worker_whose_service_was_away_is_started_again(tmp_path: Path) -> None:
    """After exit code 3, a crash or a kill, until one finishes."""
    program = (
        "import os, signal, sys; place = sys.argv[1]; open(place, 'a').write('x'); "
        "life = os.path.getsize(place); "
        "life == 2 and os.kill(os.getpid(), signal.SIGKILL); sys.exit({1: 3, 3: 1}.get(life, 0))"
    )
    lives = tmp_path / "lives"
    several = supervisor.Supervisor([sys.executable, "-c", program, str(lives)], 1, may_end=True, show=print)
    several.run(lambda: False, lambda _: None)
    assert lives.read_text() == "xxxx"
    assert several.restarts == 3


@pytest.mark.parametrize(("code", "passed_on"), [(2, 2), (GAVE_UP, 1)])
def test_a_worker_that_cannot_do_it_ends_all(code: int, passed_on: int) -> None:
    several = supervisor.Supervisor([sys.executable, "-c", f"exit({code})"], 2, may_end=False, show=print)
    with pytest.raises(CryptometricsError) as caught:
        several.run(lambda: False, lambda _: None)
    assert caught.value.exit_code == passed_on
    assert several.alive() == []


@pytest.mark.parametrize(("codes", "fails"), [("3 3", True), ("3 0", False)])
def test_workers_that_waited_in_vain_are_no_success(tmp_path: Path, codes: str, fails: bool) -> None:
    """Each takes a code, with which it ends when it is told to stop."""
    program = (
        "import os, signal, sys, time; place = sys.argv[1]; number = 0\n"
        "while True:\n"
        "  try: os.close(os.open(f'{place}/{number}', os.O_CREAT | os.O_EXCL)); break\n"
        "  except FileExistsError: number += 1\n"
        f"code = int('{codes}'.split()[number])\n"
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(code))\n"
        "open(f'{place}/ready{number}', 'w').close()\n"
        "while True: time.sleep(1)"
    )
    several = supervisor.Supervisor(
        [sys.executable, "-c", program, str(tmp_path)], 2, may_end=False, show=print
    )
    expected = pytest.raises(ServiceUnavailableError) if fails else contextlib.nullcontext()
    with expected:
        several.run(lambda: len(list(tmp_path.glob("ready*"))) == 2, lambda _: None)


def test_a_mistake_ends_all_with_one_line_each(settings: Settings, cli: Cli) -> None:
    done = cli("process", "--workers", "2", code=2)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert any("cryptometrics init-db" in line for line in lines)
    assert "Traceback" not in done.stderr
