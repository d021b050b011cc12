"""Runs several workers of one group on one machine: starts them, replaces dead ones, ends them together."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptometrics import log, retry
from cryptometrics.errors import CryptometricsError, ServiceUnavailableError
from cryptometrics.pipeline import GAVE_UP
from cryptometrics.pipeline.worker_report import WorkerReport

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_S = 0.1
"""Time between two checks of the workers."""
SHORT_S = 0.01
"""Time between two looks at a worker that is about to end."""
HEALTHY_S = 30.0
"""A worker that ran this long clears the count of earlier deaths."""
END_S = 60.0
"""Limit for workers to finish their batches at the end; then they are killed, which loses nothing."""
READ_S = 5.0
"""Limit for reading the last reports and log lines of a dead worker."""
LINES = 10_000
"""Log lines that wait to be shown; the workers wait with more, as they would at a slow terminal."""
PERMANENT = {2, GAVE_UP}
"""Exit codes after which a restart cannot help. An unavailable service is not among them: it was up at the
start, and workers wait for it without limit."""


@dataclass(eq=False)
class _Slot:
    """The place of one worker, filled by one process after another."""

    number: int
    process: subprocess.Popen[str] | None = None
    readers: tuple[threading.Thread, ...] = ()
    started_at: float = 0.0
    deaths: int = 0
    next_start: float = 0.0
    done: bool = False
    report: WorkerReport = field(default_factory=WorkerReport)


class Supervisor:
    """Runs `workers` processes of `command`, which writes its reports to stdout, one JSON object per line."""

    def __init__(
        self, command: list[str], workers: int, *, may_end: bool, show: Callable[[str], None]
    ) -> None:
        """may_end: a worker that exits with code 0 has finished and is not replaced.

        show: called in the thread of `run` with each line that a worker logs, so that the lines of several
        workers and of the supervisor stay whole.
        """
        self._command = command
        self._may_end = may_end
        self._show = show
        self._lines: queue.Queue[str] = queue.Queue(LINES)
        self._slots = [_Slot(number) for number in range(workers)]
        self._ended = WorkerReport()
        self._log = log.get_logger()
        self.restarts = 0
        self.reports_received = 0
        """While this does not grow, no worker makes progress."""

    def report(self) -> WorkerReport:
        """Return the sum of all workers' reports, including the last ones of dead workers."""
        total = WorkerReport()
        for part in (self._ended, *(slot.report for slot in self._slots)):
            total.add(part)
        return total

    def alive(self) -> list[int]:
        """Return the process ids of the running workers."""
        return [slot.process.pid for slot in self._slots if slot.process and slot.process.poll() is None]

    def run(self, stop: Callable[[], bool], progress: Callable[[Supervisor], None]) -> None:
        """Keep the workers running until `stop` returns True, or until all of them have finished.

        Raises CryptometricsError with a worker's exit code if a restart cannot help, and
        ServiceUnavailableError if all were waiting for a service when they were stopped, and stored nothing.
        """
        try:
            while not stop() and not all(slot.done for slot in self._slots):
                for slot in self._slots:
                    self._check(slot)
                self._show_lines()
                progress(self)
                time.sleep(POLL_S)
        finally:
            codes = self._end()
        if codes == {ServiceUnavailableError.exit_code} and not self.report().offsets:
            raise ServiceUnavailableError("nothing was stored, for the reason above")

    def _check(self, slot: _Slot) -> None:
        if slot.done:
            return
        if slot.process is None:
            if time.monotonic() >= slot.next_start:
                self._start(slot)
            return
        code = slot.process.poll()
        if code is None:
            return
        self._clear(slot)
        if code == 0 and self._may_end:
            slot.done = True
        elif code in PERMANENT:
            error = CryptometricsError("a worker gave up, for the reason above")
            error.exit_code = 1 if code == GAVE_UP else code
            raise error
        else:
            slot.deaths = 1 if time.monotonic() - slot.started_at > HEALTHY_S else slot.deaths + 1
            wait = retry.wait_after(slot.deaths)
            slot.next_start = time.monotonic() + wait
            self.restarts += 1
            self._log.warning("worker_died", worker=slot.number, exit_code=code, next_start_s=round(wait, 1))

    def _start(self, slot: _Slot) -> None:
        # In its own session, so that Ctrl-C reaches only the supervisor, which then ends each worker once.
        # The pipe to its stdin closes when the supervisor ends in any way, and the worker ends with it.
        slot.process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
            start_new_session=True,
        )
        slot.started_at = time.monotonic()
        slot.readers = tuple(
            threading.Thread(target=read, args=(slot, slot.process), daemon=True)
            for read in (self._read_reports, self._read_log)
        )
        for reader in slot.readers:
            reader.start()
        self._log.info("worker_started", worker=slot.number, pid=slot.process.pid)

    def _read_reports(self, slot: _Slot, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None  # noqa: S101  (it is a pipe)
        for line in process.stdout:
            with contextlib.suppress(ValueError, TypeError, KeyError):  # a kill may cut the last line
                slot.report = WorkerReport.from_dict(json.loads(line))
                self.reports_received += 1

    def _read_log(self, _slot: _Slot, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None  # noqa: S101  (it is a pipe)
        for line in process.stderr:
            self._lines.put(line.rstrip("\n"))

    def _show_lines(self) -> None:
        while not self._lines.empty():
            self._show(self._lines.get_nowait())

    def _clear(self, slot: _Slot) -> None:
        """Free the slot of a dead worker, and add its counts; the others now have its partitions."""
        ends_at = time.monotonic() + READ_S
        while time.monotonic() < ends_at and any(reader.is_alive() for reader in slot.readers):
            self._show_lines()  # a reader may wait for room
            time.sleep(SHORT_S)
        self._show_lines()
        if slot.process is not None and slot.process.stdin is not None:
            slot.process.stdin.close()
            # A pipe that a process of the worker's still holds open is left to its reader.
            for pipe, reader in zip((slot.process.stdout, slot.process.stderr), slot.readers, strict=True):
                if pipe is not None and not reader.is_alive():
                    pipe.close()
        slot.process, slot.readers = None, ()
        slot.report.measured.release_partitions()
        self._ended.add(slot.report)
        slot.report = WorkerReport()

    def _end(self) -> set[int]:
        """End the workers, with their batches finished, and return their exit codes."""
        running = [(slot, slot.process) for slot in self._slots if slot.process is not None]
        for _, process in running:
            process.terminate()
        ends_at = time.monotonic() + END_S
        while time.monotonic() < ends_at and any(process.poll() is None for _, process in running):
            self._show_lines()
            time.sleep(SHORT_S)
        for slot, process in running:
            if process.poll() is None:
                self._log.warning("worker_killed", worker=slot.number, pid=process.pid)
                process.kill()
                process.wait()
            self._clear(slot)
        return {process.returncode for _, process in running}
