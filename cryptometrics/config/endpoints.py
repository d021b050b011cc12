"""The addresses of the local services: `cryptometrics up` writes them to a file, `down` removes them."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

from cryptometrics.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

ADDRESS_NAMES = {"kafka": "bootstrap_servers", "postgres": "uri"}
"""Keys of the addresses in the file and in `status --json`, by service."""


class NotRunningError(UserError):
    """A service is neither configured nor does `cryptometrics up` run it."""


class Endpoints:
    """Reads the file of one data folder, anew each time.

    An address stays known while its service is stopped, so that a running command waits for the service
    instead of ending. A restart may bring another address, because another process can take the port.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._last: dict[str, str] = {}

    def running(self, service: str) -> str | None:
        """Return the address of a service; None while it is stopped."""
        try:
            address = str(json.loads(self._file.read_text())[service][ADDRESS_NAMES[service]])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        self._last[service] = address
        return address

    def known(self, service: str) -> str | None:
        """Return the address of a service, the last one while it is stopped; None if there was none yet."""
        return self.running(service) or self._last.get(service)


def file_in(home: Path) -> Path:
    """Return the file of a data folder."""
    return home / "endpoints.json"


@functools.cache
def endpoints(home: Path) -> Endpoints:
    """Return the addresses of a data folder, as this process knows them."""
    return Endpoints(file_in(home))
