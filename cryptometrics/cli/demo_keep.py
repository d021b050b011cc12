"""What `demo --keep` leaves running: a live market, its metrics and risk, and the page in the browser."""

from __future__ import annotations

import re
import socket
from importlib.util import find_spec
from typing import TYPE_CHECKING

from cryptometrics.cli.demo_stages import GROUP, LIVE_RATE

if TYPE_CHECKING:
    from cryptometrics.local.daemon import Daemon
    from cryptometrics.local.services import Services

DEMO_FOLDER = "demo"
"""The data folder of the demo, below the user's."""
PAGE_PORT = 8050
"""Port of the page unless something else uses it."""
PAGE_TIMEOUT_S = 60.0
_NEEDS = ("bokeh", "fastapi", "uvicorn")
"""Packages of the extra `web`."""
_ADDRESS = re.compile(r"http://\S+")


def start(services: Services) -> str | None:
    """Start the commands and return the address of the page once it answers; None without the extra `web`.

    Raises ServiceUnavailableError, with the last lines of its log, if a command ends.
    """
    kept = services.commands
    started = [
        kept.start("simulate", ["simulate", "--rate", f"{LIVE_RATE:g}"]),
        kept.start("process", ["process", "--group", GROUP, "--session", GROUP]),
        kept.start("risk", ["risk", "--follow", "--group", GROUP]),
    ]
    address = None
    if all(find_spec(name) for name in _NEEDS):
        web = kept.start("web", ["web", "--port", str(_port())])
        started.append(web)
        web.wait_until(lambda: _address(web) is not None, PAGE_TIMEOUT_S)
        address = _address(web)
    for command in started:
        if command.process() is None:
            raise command.failure("ended during its start")
    return address


def _address(web: Daemon) -> str | None:
    """Return the address that the page has printed; None before."""
    found = _ADDRESS.search(web.console.read_text(errors="replace"))
    return found[0] if found else None


def _port() -> int:
    """Return the usual port, or 0, for any, if it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PAGE_PORT))
        except OSError:
            return 0
    return PAGE_PORT
