"""A worker's slot among the workers of its group on this machine, held by a lock file.

The slot determines the worker's name in the consumer group (`group.instance.id`). The successor of a killed
worker takes its slot and gets its partitions at once, instead of after the session's time-out.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from cryptometrics.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_SLOTS = 1000
"""Workers of one group on one machine."""


@contextlib.contextmanager
def instance_id(group: str, cluster: str, read: str) -> Iterator[str]:
    """Hold the first free slot and yield its name; the lock ends with the process, however that ends.

    Slots are numbered separately per group, per cluster (its address) and per `read`, which identifies the
    topic and its partitions. `read` is part of the name, because Kafka would assign to a returning member
    what its predecessor read: another topic, or fewer partitions.
    """
    user = os.getuid()
    folder = Path(tempfile.gettempdir()) / f"cryptometrics-slots-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        ours = folder.stat().st_uid == user
    except OSError as error:
        raise UserError(
            f"cannot create the folder {folder} ({error.strerror}): set TMPDIR to a writable one"
        ) from None
    if not ours:
        raise UserError(f"the folder {folder} belongs to another user: set TMPDIR to one of your own")
    key = hashlib.sha256(f"{group}\n{cluster}\n{read}".encode()).hexdigest()[:16]
    for slot in range(MAX_SLOTS):
        lock = FileLock(folder / f"{key}-{slot}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        try:
            yield f"{socket.gethostname()}-{user}-{key[:8]}-{slot}"
        finally:
            lock.release()
        return
    raise UserError(f"{MAX_SLOTS} workers of group {group} already run on this machine")
