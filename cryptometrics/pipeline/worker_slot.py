"""Which worker this is among those of its group on this machine: a slot, held by a lock file.

The slot makes a worker's name in the consumer group (`group.instance.id`): whoever takes the slot of a
worker that was killed gets its partitions back at once, instead of after the session's time-out.
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
    """Hold the first free slot and give its name; the lock ends with the process, however that ends.

    group, cluster, read: the consumer group, where its broker is, and what is read: slots are counted apart
    for each. What is read is part of the name, too: whoever took the place of a member that read another
    topic, or fewer partitions of it, would be given that one's.
    """
    user = os.getuid()
    folder = Path(tempfile.gettempdir()) / f"cryptometrics-slots-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        ours = folder.stat().st_uid == user
    except OSError as error:
        raise UserError(
            f"cannot make the folder {folder} ({error.strerror}): set TMPDIR to another"
        ) from None
    if not ours:
        raise UserError(f"the folder {folder} is another user's: set TMPDIR to another")
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
    raise UserError(f"{MAX_SLOTS} workers of group {group} run on this machine already")
