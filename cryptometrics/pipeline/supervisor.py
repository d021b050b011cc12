"""Several workers of one group on one machine: started, started again when one dies, ended together."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptometrics import log, retry
from cryptometrics.errors import CryptometricsError
from cryptometrics.pipeline import GAVE_UP
from cryptometrics.pipeline.progress import WorkerReport

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_S = 0.1
"""How often the workers are looked after."""
HEALTHY_S = 30.0
"""A worker that lived so long has made up for earlier deaths."""
END_S = 60.0
"""How long workers may take to finish what they have in hand; then they are killed, which loses nothing."""
LAST_WORDS_S = 5.0
"""How long what a dead worker still said may take to be read."""
NO_USE = {2, GAVE_UP}
"""Exit codes after which starting again cannot help. That a service is away is none of them: it was there
when we began, and is waited for without end."""


@dataclass(eq=False)
class _Slot:
    """The place of one worker, whichever process fills it."""

    number: int
    process: subprocess.Popen[str] | None = None
    listener: threading.Thread | None = None
    begun: float = 0.0
    deaths: int = 0
    next_start: float = 0.0
    done: bool = False
    last: WorkerReport = field(default_factory=WorkerReport)


class Supervisor:
    """Runs `workers` processes of `command`, which reports on its standard output, a JSON object a line."""

    def __init__(self, command: list[str], workers: int, *, may_end: bool) -> None:
        """may_end: a worker that ends with exit code 0 has done its work, and is not to be replaced."""
        self._command = command
        self._may_end = may_end
        self._slots = [_Slot(number) for number in range(workers)]
        self._ended = WorkerReport()
        self._log = log.get_logger()
        self.restarts = 0
        self.told = 0
        """Rises with each report of a worker: while it stands still, none of them gets anywhere."""

    def report(self) -> WorkerReport:
        """Return what all workers did so far, the dead ones included as far as they told."""
        total = WorkerReport()
        for part in (self._ended, *(slot.last for slot in self._slots)):
            total.add(part)
        return total

    def alive(self) -> list[int]:
        """Return the process ids of the workers that run."""
        return [slot.process.pid for slot in self._slots if slot.process and slot.process.poll() is None]

    def run(self, stop: Callable[[], bool], progress: Callable[[Supervisor], None]) -> None:
        """Keep the workers running until `stop` says so, or all of them have ended by themselves.

        Raises CryptometricsError with a worker's exit code when it ended for a reason that stays.
        """
        try:
            while not stop() and not all(slot.done for slot in self._slots):
                for slot in self._slots:
                    self._look_after(slot)
                progress(self)
                time.sleep(LOOK_S)
        finally:
            self._end()

    def _look_after(self, slot: _Slot) -> None:
        if slot.done:
            return
        if slot.process is None:
            if time.monotonic() >= slot.next_start:
                self._start(slot)
            return
        code = slot.process.poll()
        if code is None:
            return
        self._bury(slot)
        if code == 0 and self._may_end:
            slot.done = True
        elif code in NO_USE:
            error = CryptometricsError("a worker gave up, for the reason above")
            error.exit_code = 1 if code == GAVE_UP else code
            raise error
        else:
            slot.deaths = 1 if time.monotonic() - slot.begun > HEALTHY_S else slot.deaths + 1
            wait = retry.wait_after(slot.deaths)
            slot.next_start = time.monotonic() + wait
            self.restarts += 1
            self._log.warning("worker_died", worker=slot.number, exit_code=code, next_start_s=round(wait, 1))

    def _start(self, slot: _Slot) -> None:
        # A session of its own: Ctrl-C reaches us alone, and we tell the workers once. Its standard input
        # is a pipe that ends with us, however we end, and the worker with it.
        slot.process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        slot.begun = time.monotonic()
        slot.listener = threading.Thread(target=self._listen, args=(slot, slot.process), daemon=True)
        slot.listener.start()
        self._log.info("worker_started", worker=slot.number, pid=slot.process.pid)

    def _listen(self, slot: _Slot, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None  # noqa: S101  (a pipe was asked for)
        for line in process.stdout:
            with contextlib.suppress(ValueError, TypeError, KeyError):  # the last line of one that was killed
                slot.last = WorkerReport.from_dict(json.loads(line))
                self.told += 1

    def _bury(self, slot: _Slot) -> None:
        """Keep what a worker told of itself; its lag is for those who live."""
        if slot.process is not None and slot.listener is not None:
            slot.listener.join(LAST_WORDS_S)  # before its pipe is closed
            for pipe in (slot.process.stdin, slot.process.stdout):
                if pipe is not None and (pipe is slot.process.stdin or not slot.listener.is_alive()):
                    pipe.close()
        slot.process = slot.listener = None
        slot.last.measured.lags = {}
        self._ended.add(slot.last)
        slot.last = WorkerReport()

    def _end(self) -> None:
        running = [slot for slot in self._slots if slot.process is not None]
        for slot in running:
            assert slot.process is not None  # noqa: S101
            slot.process.terminate()
        deadline = time.monotonic() + END_S
        for slot in running:
            assert slot.process is not None  # noqa: S101
            try:
                slot.process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                self._log.warning("worker_killed", worker=slot.number, pid=slot.process.pid)
                slot.process.kill()
                slot.process.wait()
            self._bury(slot)
