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
from cryptometrics.local.daemon import Daemon, Status
from cryptometrics.tls_probe import API_VERSIONS_REQUEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOST = "127.0.0.1"  # not `localhost`, which may mean ::1, where nobody listens
FAVOURITE_PORT = 9092
"""The port that people expect Kafka at."""
OTHER_PORTS = range(10_000, 32_000)
"""Where to look when a port is taken: below the ports that the system gives to outgoing connections, since
a client that keeps calling a stopped broker at one of those can end up connected to itself, on its port."""
START_TIMEOUT = 120.0
"""Seconds: a start takes three, the recovery of a large log after `kill -9` longer."""
ANSWER_TIMEOUT = 2.0
FORMAT_TIMEOUT = 60.0
STOP_TIMEOUT = 30.0
PORT_ATTEMPTS = 5
"""How often a port may be snatched between the look at it and the broker's start."""


class Kafka:
    """The broker whose state is in `folder`, run from the jars in `jar_folder`."""

    def __init__(self, folder: Path, jar_folder: Path, port: int = FAVOURITE_PORT) -> None:
        """Take `port` when it is free at the first start; later starts prefer the one that was used last."""
        self._folder = folder
        self._data = folder / "data"
        self._jar_folder = jar_folder
        self._favourite_port = port
        self._port_file = folder / "port"
        self._properties = folder / "server.properties"
        self._daemon = Daemon("Kafka", folder)
        self._daemon.logs.append(folder / "server.log")

    @property
    def address(self) -> str:
        """Its bootstrap servers, whether it runs or not."""
        return f"{HOST}:{self._port}"

    def up(self, progress: Callable[[str], None]) -> None:
        """Return when the broker takes clients, starting it where it does not run yet."""
        if self._daemon.joins(self._answers, START_TIMEOUT):
            return
        libraries = jars.ensure(self._jar_folder, progress)
        progress(f"starting Kafka {jars.lock().kafka}")
        self._start(java.find(), libraries)

    def down(self) -> bool:
        """Stop the broker in order; return whether it ran."""
        return self._daemon.stop(signal.SIGTERM, STOP_TIMEOUT)

    def status(self) -> Status:
        """Describe it."""
        return self._daemon.status(self.address, jars.lock().kafka)

    def purge(self) -> None:
        """Delete its data."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, runtime: java.Java, libraries: list[Path]) -> None:
        # zstd and snappy unpack a library there (/tmp may be noexec); a killed broker leaves it behind.
        shutil.rmtree(self._folder / "tmp", ignore_errors=True)
        for folder in (self._folder, self._data, self._folder / "tmp"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for attempt in range(PORT_ATTEMPTS):
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
                if not taken or attempt == PORT_ATTEMPTS - 1:
                    raise
            else:
                return

    def _configure(self) -> None:
        ports = _free_ports(self._port)
        port = next(ports)
        text = (resources.files(__package__) / "server.properties").read_text()
        text = string.Template(text).substitute(port=port, controller_port=next(ports))
        files.write(self._properties, text.encode())
        files.write(self._port_file, f"{port}\n".encode())

    def _format(self, runtime: java.Java, libraries: list[Path]) -> None:
        """Give the empty data folder its identity, which KRaft never does by itself."""
        # The tool takes an id that begins with '-', as 1 in 64 does, for an option.
        cluster_id = "C" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
        tool = [
            *_java(runtime, libraries),
            "-Xmx128m",
            "kafka.tools.StorageTool",
            "format",
            "--ignore-formatted",
        ]
        try:
            subprocess.run(
                [*tool, "-t", cluster_id, "-c", self._properties.name],
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
            return self._favourite_port

    def _answers(self) -> bool:
        """Whether clients are served: the broker opens its port last of all."""
        if self._daemon.process() is None:
            return False  # whoever answers at that port is someone else
        try:
            with socket.create_connection((HOST, self._port), timeout=ANSWER_TIMEOUT) as connection:
                # To connect proves little: the kernel does that for a process that is about to end, too.
                connection.settimeout(ANSWER_TIMEOUT)
                connection.sendall(API_VERSIONS_REQUEST)
                return len(connection.recv(4)) > 0
        except OSError:
            return False


def _java(runtime: java.Java, libraries: list[Path]) -> list[str]:
    """Return the command up to the main class, for a process that is started in the broker's folder."""
    flags = [
        # A small heap and the quick compiler only: a second less to start, no slower for Python clients.
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        "-Djava.io.tmpdir=tmp",
        f"-Dlog4j2.configurationFile={resources.files(__package__) / 'log4j2.properties'}",
        "-Dlog4j2.disable.jmx=true",
    ]
    if runtime.major >= 24:  # which warns of what Kafka's libraries do, on every start
        flags += ["--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow"]
    return [str(runtime.path), *flags, "-cp", os.pathsep.join(map(str, libraries))]


def _free_ports(favourite: int) -> Iterator[int]:
    others = random.SystemRandom().sample(OTHER_PORTS, 100)
    return (port for port in (favourite, *others) if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As Kafka does it: connections of the last broker that still linger are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return port != 0
