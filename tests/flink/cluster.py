"""A Flink cluster of local processes: job manager, job server, and task managers with a worker pool each."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptometrics.local import java
from tests.conftest import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SLOTS = 2
START_S = 120.0
POOL_NAME = "beam-worker"
"""What each task manager calls the worker pool beside it."""
_OPENED = ("java.lang", "java.util", "java.nio", "java.net", "java.lang.invoke", "java.util.concurrent")
_FLAGS = [
    "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    *(
        f"--add-opens=java.base/{package}=ALL-UNNAMED"
        for package in (*_OPENED, "java.lang.reflect", "java.text", "java.time", "java.io")
    ),
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
    "-Dorg.slf4j.simpleLogger.log.org.apache.flink.runtime.checkpoint=info",
]


class Cluster:
    """Started by entering it, and ended whole by leaving it."""

    def __init__(
        self,
        folder: Path,
        class_path: str,
        environment: Mapping[str, str],
        *,
        checkpoint_ms: int = 2_000,
        checkpoints: Path | None = None,
    ) -> None:
        """checkpoints: a folder that outlives the cluster."""
        self._folder = folder
        self._checkpoints = checkpoints or folder / "checkpoints"
        self._class_path = class_path
        self._environment = dict(environment)
        self._java = str(java.find().path)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = {name: free_port() for name in ("rpc", "rest", "blob", "job", "pool")}
        self._checkpoint_ms = checkpoint_ms

    def beam_options(self, *, parallelism: int | None = SLOTS) -> list[str]:
        """What to give to `aggregate` after --; with parallelism None its `--readers` decides."""
        return [
            *("--runner", "PortableRunner", "--job_endpoint", f"127.0.0.1:{self._ports['job']}"),
            *("--environment_type", "EXTERNAL"),
            *("--environment_config", f"{POOL_NAME}:{self._ports['pool']}"),
            *("--checkpointing_interval", str(self._checkpoint_ms)),
            *(() if parallelism is None else ("--parallelism", str(parallelism))),
        ]

    def __enter__(self) -> Cluster:
        try:
            self._configure()
            self._start(
                "jobmanager", "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
                "-Xmx512m", "--configDir", str(self._folder), "--executionMode", "cluster",
            )  # fmt: skip
            self._wait(lambda: self.rest("/overview") is not None, "the job manager")
            for number in (1, 2):
                self.start_task_manager(number)
            self._wait(lambda: self.rest("/overview")["taskmanagers"] == 2, "two task managers")
            self._start(
                "jobserver", "org.apache.beam.runners.flink.FlinkJobServerDriver", "-Xmx512m",
                "--job-host=127.0.0.1", f"--job-port={self._ports['job']}", "--artifact-port=0",
                "--expansion-port=0", f"--flink-master=127.0.0.1:{self._ports['rest']}",
                f"--flink-conf-dir={self._folder}", f"--artifacts-dir={self._folder / 'artifacts'}",
            )  # fmt: skip
            self._wait(lambda: _answers(self._ports["job"]), "the job server")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(self._processes):
            self._processes[name].terminate()
        for process in self._processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)

    def start_task_manager(self, number: int) -> None:
        """Start a task manager, and a worker pool beside it at a loopback address of its own."""
        address = f"127.0.0.{number}"
        self._run(
            f"pool{number}",
            [sys.executable, str(Path(__file__).with_name("pool.py")), f"{address}:{self._ports['pool']}"],
        )
        hosts = self._folder / f"hosts{number}"
        hosts.write_text(f"{address} {POOL_NAME}\n127.0.0.1 localhost {socket.gethostname()}\n")
        self._start(
            f"taskmanager{number}", "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
            "-Xmx700m", "-XX:MaxDirectMemorySize=400m", f"-Djdk.net.hosts.file={hosts}",
            "--configDir", str(self._folder),
        )  # fmt: skip

    def kill_task_manager(self, number: int) -> None:
        """Kill it, as a machine that fails would be: it says goodbye to nobody."""
        self._kill(f"taskmanager{number}")

    def kill_all(self) -> None:
        """Kill every process of the cluster, as when the power fails."""
        for name in list(self._processes):
            self._kill(name)

    def _kill(self, name: str) -> None:
        process = self._processes.pop(name)
        if name.startswith("pool"):
            process.terminate()  # it kills its workers
        else:
            process.kill()
        process.wait(10)

    def newest_checkpoint(self) -> str:
        """Return the address of the newest checkpoint that was completed, for `--savepoint_path`."""
        found = self._checkpoints.glob("*/chk-*/_metadata")
        newest = max(found, key=lambda path: path.stat().st_mtime)
        return f"file://{newest.parent}"

    def pool_log(self, number: int) -> str:
        """Return what the workers of a pool have said."""
        return (self._folder / f"pool{number}.log").read_text(errors="replace")

    def rest(self, path: str) -> Any:
        """Return the job manager's answer, None while there is none."""
        url = f"http://127.0.0.1:{self._ports['rest']}{path}"
        with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(url, timeout=5) as reply:
            return json.load(reply)
        return None

    def checkpoints(self) -> dict[str, int]:
        """Return how many checkpoints the running job has, by what became of them."""
        counts: dict[str, int] = self.checkpoint_report().get("counts", {})
        return counts

    def checkpoint_report(self) -> dict[str, Any]:
        """Return the job manager's report of the running job's checkpoints; an empty one if there is none."""
        for job in (self.rest("/jobs") or {"jobs": []})["jobs"]:
            if found := self.rest(f"/jobs/{job['id']}/checkpoints"):
                report: dict[str, Any] = found
                return report
        return {}

    def _configure(self) -> None:
        folder = self._folder
        self._checkpoints.mkdir(parents=True, exist_ok=True)
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        settings = {
            "jobmanager.rpc.address": "127.0.0.1",
            "jobmanager.rpc.port": self._ports["rpc"],
            "jobmanager.bind-host": "127.0.0.1",
            "jobmanager.memory.process.size": "1024m",
            "rest.address": "127.0.0.1",
            "rest.bind-address": "127.0.0.1",
            "rest.port": self._ports["rest"],
            "blob.server.port": self._ports["blob"],
            "taskmanager.host": "127.0.0.1",
            "taskmanager.bind-host": "127.0.0.1",
            "taskmanager.numberOfTaskSlots": SLOTS,
            "classloader.resolve-order": "parent-first",
            # Else the job may lie on one task manager, and the other one's end would be none of its business.
            "cluster.evenly-spread-out-slots": "true",
            "state.backend": "hashmap",
            "web.checkpoints.history": 1_000,
            "state.checkpoints.dir": f"file://{self._checkpoints}",
            "execution.checkpointing.interval": f"{self._checkpoint_ms} ms",
            "restart-strategy": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": 10,
            "restart-strategy.fixed-delay.delay": "1 s",
            "heartbeat.interval": 1_000,
            "heartbeat.timeout": 10_000,
            "taskmanager.cpu.cores": f"{float(SLOTS)}",
            "taskmanager.memory.framework.heap.size": "128m",
            "taskmanager.memory.framework.off-heap.size": "128m",
            "taskmanager.memory.task.heap.size": "512m",
            "taskmanager.memory.task.off-heap.size": "0b",
            "taskmanager.memory.managed.size": "128m",
            "taskmanager.memory.network.min": "64m",
            "taskmanager.memory.network.max": "64m",
            "taskmanager.memory.jvm-overhead.min": "192m",
            "taskmanager.memory.jvm-overhead.max": "192m",
            "taskmanager.memory.jvm-metaspace.size": "256m",
            "io.tmp.dirs": folder / "tmp",
        }
        text = "".join(f"{name}: {value}\n" for name, value in settings.items())
        (folder / "flink-conf.yaml").write_text(text)

    def _start(self, name: str, main: str, *arguments: str) -> None:
        flags = [word for word in arguments if word.startswith(("-X", "-D"))]
        rest = [word for word in arguments if word not in flags]
        self._run(name, [self._java, *_FLAGS, *flags, "-cp", self._class_path, main, *rest])

    def _run(self, name: str, command: list[str]) -> None:
        # The pool starts `python`, which must be this interpreter.
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder,
                env=self._environment | {"PATH": path, "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip

    def _wait(self, ready: Callable[[], Any], what: str) -> None:
        def is_ready() -> bool:
            with contextlib.suppress(TypeError, KeyError):
                if ready():
                    return True
            ended = [name for name, process in self._processes.items() if process.poll() is not None]
            assert not ended, f"{what} did not come up: {self._tail(ended[0])}"
            return False

        wait_until(is_ready, lambda: f"{what}: {self._tail(next(reversed(self._processes)))}", limit=START_S)

    def _tail(self, name: str) -> str:
        """Return the end of a process's log."""
        return f"{name} logged\n{(self._folder / f'{name}.log').read_text(errors='replace')[-2000:]}"


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
