"""One broker of Apache Kafka (KRaft: broker and controller in one process) on a loopback port."""

from __future__ import annotations

import base64
import os
import random
import shutil
import signal
import socket
import string
import subprocess
import uuid
from importlib import resources
from typing import TYPE_CHECKING

from cryptometrics import files
from cryptometrics.errors import ServiceUnavailableError
from cryptometrics.local import jars, java
from cryptometrics.local.daemon import Daemon, ServiceStatus
from cryptometrics.tls_probe import API_VERSIONS_REQUEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

HOST = "127.0.0.1"  # `localhost` may resolve to ::1, where nothing listens
DEFAULT_PORT = 9092
"""The port where people expect Kafka."""
OTHER_PORTS = range(10_000, 32_000)
"""Ports to try when one is taken. They are below the range for outgoing connections: a client that keeps
connecting to a stopped broker in that range can end up connected to itself."""
START_TIMEOUT = 120.0
"""Seconds: a start takes 3 s; recovering a large log after `kill -9` takes longer."""
ANSWER_TIMEOUT = 2.0
FORMAT_TIMEOUT = 60.0
STOP_TIMEOUT = 30.0
MAX_PORT_ATTEMPTS = 5
"""Starts to try if another process takes the port between the check and the start."""


class KafkaServer:
    """The broker with its state in `folder`, run from the jars in `jar_folder`."""

    def __init__(
        self,
        folder: Path,
        jar_folder: Path,
        port: int = DEFAULT_PORT,
        *,
        cluster_id: str | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Prefer `port` at the first start; later starts prefer the port used last.

        cluster_id: the cluster that an empty data folder is formatted for; None for one of its own.
        settings: replace those of server.properties that have the same name.
        """
        self._cluster_id = cluster_id
        self._settings = dict(settings or {})
        self._folder = folder
        self._data = folder / "data"
        self._jar_folder = jar_folder
        self._preferred_port = port
        self._port_file = folder / "port"
        self._properties = folder / "server.properties"
        self._daemon = Daemon("Kafka", folder)
        self._daemon.logs.append(folder / "server.log")

    @property
    def address(self) -> str:
        """Bootstrap servers, whether it is running or not."""
        return f"{HOST}:{self._port}"

    def up(self, progress: Callable[[str], None]) -> None:
        """Start the broker unless it is running; return when it accepts clients."""
        if self._daemon.joins(self._answers, START_TIMEOUT):
            return
        libraries = jars.ensure(self._jar_folder, progress)
        progress(f"starting Kafka {jars.lock().kafka}")
        self._start(java.find(), libraries)

    def down(self) -> bool:
        """Stop the broker cleanly; return whether it ran."""
        return self._daemon.stop(signal.SIGTERM, STOP_TIMEOUT)

    def status(self) -> ServiceStatus:
        """Return its state."""
        return self._daemon.status(self.address, jars.lock().kafka)

    def purge(self) -> None:
        """Delete its data."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, runtime: java.Java, libraries: list[Path]) -> None:
        # zstd and snappy unpack libraries here, since /tmp may be noexec; a killed broker leaves them behind.
        shutil.rmtree(self._folder / "tmp", ignore_errors=True)
        for folder in (self._folder, self._data, self._folder / "tmp"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for attempt in range(MAX_PORT_ATTEMPTS):
            self._configure()
            if not (self._data / "meta.properties").exists():
                self._format(runtime, libraries)
            command = [
                *_java(runtime, libraries),
                "-Xms64m",
                "-Xmx512m",
                "kafka.Kafka",
                self._properties.name,
            ]
            self._daemon.start(command, cwd=self._folder)
            try:
                self._daemon.wait_until(self._answers, START_TIMEOUT)
            except ServiceUnavailableError:
                taken = self._daemon.process() is None and not _is_free(self._port)
                if not taken or attempt == MAX_PORT_ATTEMPTS - 1:
                    raise
            else:
                return

    def _configure(self) -> None:
        ports = _free_ports(self._port)
        port = next(ports)
        text = (resources.files(__package__) / "server.properties").read_text()
        text = string.Template(text).substitute(port=port, controller_port=next(ports))
        # The last line of a name counts.
        text += "".join(f"{name}={value}\n" for name, value in self._settings.items())
        files.write(self._properties, text.encode())
        files.write(self._port_file, f"{port}\n".encode())

    def _format(self, runtime: java.Java, libraries: list[Path]) -> None:
        """Format the empty data folder, which KRaft does not do by itself."""
        tool = [
            *_java(runtime, libraries),
            "-Xmx128m",
            "kafka.tools.StorageTool",
            "format",
            "--ignore-formatted",
        ]
        try:
            subprocess.run(
                [*tool, "-t", self._cluster_id or new_cluster_id(), "-c", self._properties.name],
                cwd=self._folder,
                check=True,
                capture_output=True,
                text=True,
                timeout=FORMAT_TIMEOUT,
            )
        except subprocess.CalledProcessError as error:
            failure = ServiceUnavailableError(f"Kafka's storage tool could not format {self._data}")
            failure.add_note(f"{error.stdout}{error.stderr}".strip())
            raise failure from None
        except subprocess.TimeoutExpired:
            raise ServiceUnavailableError(
                f"Kafka's storage tool did not format {self._data} in {FORMAT_TIMEOUT:.0f} s"
            ) from None

    @property
    def _port(self) -> int:
        try:
            return int(self._port_file.read_text())
        except (OSError, ValueError):
            return self._preferred_port

    def _answers(self) -> bool:
        """Return whether the broker serves clients; it opens its port last."""
        if self._daemon.process() is None:
            return False  # another process may answer at this port
        try:
            with socket.create_connection((HOST, self._port), timeout=ANSWER_TIMEOUT) as connection:
                # A connection alone proves little: the kernel also accepts it for a process that is ending.
                connection.settimeout(ANSWER_TIMEOUT)
                connection.sendall(API_VERSIONS_REQUEST)
                return len(connection.recv(4)) > 0
        except OSError:
            return False


def new_cluster_id() -> str:
    """Return the id of a new cluster."""
    # The storage tool would take an id that begins with '-', as 1 in 64 does, as an option.
    return "C" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]


def _java(runtime: java.Java, libraries: list[Path]) -> list[str]:
    """Return the command up to the main class, for a process in the broker's folder."""
    flags = [
        # A small heap and only the fast compiler: starts a second earlier, serves Python as fast.
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        "-Djava.io.tmpdir=tmp",
        f"-Dlog4j2.configurationFile={resources.files(__package__) / 'log4j2.properties'}",
        "-Dlog4j2.disable.jmx=true",
    ]
    if runtime.major >= 24:  # it warns about Kafka's libraries on every start
        flags += ["--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow"]
    return [str(runtime.path), *flags, "-cp", os.pathsep.join(map(str, libraries))]


def _free_ports(preferred: int) -> Iterator[int]:
    others = random.SystemRandom().sample(OTHER_PORTS, 100)
    return (port for port in (preferred, *others) if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Like Kafka: lingering connections of the last broker must not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return port != 0
