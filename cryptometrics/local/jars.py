"""The jars of Apache Kafka: pinned by path, size and SHA-256, and fetched once a machine."""

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

DOWNLOADS = 8
"""At the same time: most jars are small, and their number costs more than their bytes."""
LOCK_TIMEOUT = 600.0
"""Seconds to wait for another command that downloads into the same folder."""


class Jar(msgspec.Struct, frozen=True):
    """One pinned file of a Maven repository."""

    path: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """Its name without folders."""
        return self.path.rpartition("/")[2]

    def is_in(self, file: Path) -> bool:
        """Whether the file there is this very jar."""
        try:
            return file.stat().st_size == self.size and self.matches(file.read_bytes())
        except OSError:
            return False

    def matches(self, data: bytes) -> bool:
        """Whether the bytes are those that were pinned."""
        return hashlib.sha256(data).hexdigest() == self.sha256


class Lock(msgspec.Struct, frozen=True):
    """Kafka's version, and every jar that it needs."""

    kafka: str
    jars: tuple[Jar, ...]


@functools.cache
def lock() -> Lock:
    """Return what is pinned."""
    return msgspec.json.decode(
        (resources.files(__package__) / "kafka-jars.lock.json").read_bytes(), type=Lock
    )


def folder(home: Path) -> Path:
    """Return where the jars lie under a home; several homes can share one such folder."""
    return home / f"kafka-jars-{lock().kafka}"


def ensure(place: Path, progress: Callable[[str], None]) -> list[Path]:
    """Return the pinned jars in `place`, each checked, after fetching those that are missing or damaged.

    Raises UserError naming a jar whose bytes are not the pinned ones, ServiceUnavailableError when the
    repository does not answer.
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
    # In the lock's order: the order of a class path decides which of two classes of one name is loaded.
    return [place / jar.name for jar in lock().jars]


def _missing(place: Path) -> list[Jar]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        present = pool.map(lambda jar: jar.is_in(place / jar.name), lock().jars)
    return [jar for jar, is_there in zip(lock().jars, present, strict=True) if not is_there]


def _fetch(jars: list[Jar], place: Path, progress: Callable[[str], None]) -> None:
    if not jars:
        return  # someone else was downloading them just now
    from jgo.constants import default_maven_repo

    local, remote = default_maven_repo(), maven.repository()
    total, done = sum(jar.size for jar in jars), 0
    pool = ThreadPoolExecutor(DOWNLOADS)
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
        pool.shutdown(cancel_futures=True)  # after a failure or Ctrl-C nothing further is begun


def _fetch_one(jar: Jar, place: Path, local: Path, remote: maven.Repository) -> None:
    """Put a jar in its place, whole and checked or not at all."""
    source = local / jar.path
    if jar.is_in(source):
        data = source.read_bytes()
    else:
        data = remote.fetch(jar.path)
        if not jar.matches(data):
            raise UserError(
                f"{jar.name} from {remote.url} is not the file that was pinned "
                f"(SHA-256 {hashlib.sha256(data).hexdigest()}, {len(data)} bytes; "
                f"expected {jar.sha256}, {jar.size} bytes): nothing of it was kept"
            )
    part = place / f".{jar.name}.part"
    part.write_bytes(data)
    part.replace(place / jar.name)
