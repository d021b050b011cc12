"""End the process without the clean-up of C libraries, whose memory other threads may still use.

A client of Kafka that cannot connect has threads in the middle of a TLS handshake. They outlive Python, and
when the C library then frees OpenSSL's tables, the process ends with a segmentation fault instead of its exit
code.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from typing import NoReturn

_codes: list[int] = []


def prepare() -> None:
    """Register the end of the process; handlers that are registered later run before it."""
    atexit.register(_end)


def leave(code: int) -> NoReturn:
    """End the process with an exit code, after Python's own clean-up."""
    _codes.append(code)
    sys.exit(code)


def _end() -> None:
    if not _codes:  # an exception ends the process, and Python says which
        return
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # closed, or a reader that has enough
            stream.flush()
    os._exit(_codes[-1])
