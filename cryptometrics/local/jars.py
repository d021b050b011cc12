"""The jars of Apache Kafka: pinned by path, size and SHA-256, and downloaded once per machine."""

from __future__ import annotations

import functools
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib import resources
from typing import TYPE_CHECKING

import filelock
import msgspec

from cryptometrics.errors import CryptometricsError, UserError
from cryptometrics.local import maven

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAX_DOWNLOADS = 8
"""Concurrent downloads: most jars are small, so latency costs more than bandwidth."""
LOCK_TIMEOUT = 600.0
"""Seconds to wait for another command that is downloading into the same folder."""


class Jar(msgspec.Struct, frozen=True):
    """One pinned file of a Maven repository."""

    path: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """File name without folders."""
        return self.path.rpartition("/")[2]

    def is_in(self, file: Path) -> bool:
        """Return whether the file is this jar."""
        try:
            return file.stat().st_size == self.size and self.matches(file.read_bytes())
        except OSError:
            return False

    def matches(self, data: bytes) -> bool:
        """Return whether the bytes are the pinned ones."""
        return hashlib.sha256(data).hexdigest() == self.sha256


class JarLock(msgspec.Struct, frozen=True):
    """Kafka's version and every jar that it needs."""

    kafka: str
    jars: tuple[Jar, ...]


@functools.cache
def lock() -> JarLock:
    """Return the pinned version and jars."""
    return msgspec.json.decode(
        (resources.files(__package__) / "kafka-jars.lock.json").read_bytes(), type=JarLock
    )


def folder(home: Path) -> Path:
    """Return the folder of the jars in a data folder; several data folders can share one."""
    return home / f"kafka-jars-{lock().kafka}"


def ensure(place: Path, progress: Callable[[str], None]) -> list[Path]:
    """Return the pinned jars in `place`, verified; download missing and damaged ones first.

    Raises UserError if the repository has other bytes than the pinned ones, ServiceUnavailableError if it
    does not answer.
    """
    if _missing(place):
        place.mkdir(parents=True, exist_ok=True)
        try:
            with filelock.FileLock(place / ".lock", timeout=LOCK_TIMEOUT):
                _fetch(_missing(place), place, progress)
        except filelock.Timeout:
            raise CryptometricsError(
                f"another command has been downloading into {place} for too long"
            ) from None
    # In the pinned order: the class path's order decides which of two classes of the same name is loaded.
    return [place / jar.name for jar in lock().jars]


def _missing(place: Path) -> list[Jar]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        present = pool.map(lambda jar: jar.is_in(place / jar.name), lock().jars)
    return [jar for jar, is_there in zip(lock().jars, present, strict=True) if not is_there]


def _fetch(jars: list[Jar], place: Path, progress: Callable[[str], None]) -> None:
    if not jars:
        return  # another command has downloaded them meanwhile
    from jgo.constants import default_maven_repo

    local, remote = default_maven_repo(), maven.repository()
    total, done = sum(jar.size for jar in jars), 0
    pool = ThreadPoolExecutor(MAX_DOWNLOADS)
    try:
        futures = {pool.submit(_fetch_one, jar, place, local, remote): jar for jar in jars}
        for count, future in enumerate(as_completed(futures), start=1):
            future.result()
            done += futures[future].size
            progress(
                f"downloading Kafka {lock().kafka}: {count} of {len(jars)} jars, "
                f"{done / 2**20:.1f} of {total / 2**20:.1f} MiB"
            )
    finally:
        pool.shutdown(cancel_futures=True)  # after a failure or Ctrl-C, start no more


def _fetch_one(jar: Jar, place: Path, local: Path, remote: maven.Repository) -> None:
    """Write a verified jar atomically, from the local repository or the remote one."""
    source = local / jar.path
    if jar.is_in(source):
        data = source.read_bytes()
    else:
        data = remote.fetch(jar.path)
        if not jar.matches(data):
            raise UserError(
                f"{jar.name} from {remote.url} is not the pinned file "
                f"(SHA-256 {hashlib.sha256(data).hexdigest()}, {len(data)} bytes; "
                f"expected {jar.sha256}, {jar.size} bytes): it was discarded"
            )
    part = place / f".{jar.name}.part"
    part.write_bytes(data)
    part.replace(place / jar.name)
