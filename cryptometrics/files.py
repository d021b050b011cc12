"""Write files atomically: complete or not at all."""

from __future__ import annotations

import contextlib
import secrets
import stat
from typing import TYPE_CHECKING, BinaryIO

from cryptometrics.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears at `path` only if the block succeeds.

    A symbolic link at `path` is replaced, not followed. A terminal or a pipe (`/dev/stdout`) is written
    directly. Raises UserError if the file cannot be written.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        if _is_stream(path):
            with path.open("wb") as file:
                yield file
            return
        with part.open("xb") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _is_stream(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def write(path: Path, data: bytes) -> None:
    """Write a file atomically, as `whole` does."""
    with whole(path) as file:
        file.write(data)
