"""Who may send which request: hosts, origins, and the tokens. Pure.

On loopback every program of this machine may read. So a request must name us as its host (a page elsewhere
that resolves its own name to 127.0.0.1 does not), and a page must be ours. Beyond loopback a configured token
is needed, too: as `Authorization: Bearer`, or as the cookie that a link sets, which works once.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from dataclasses import dataclass, field

MIN_TOKEN_CHARS = 16
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(slots=True)
class Access:
    """The rules of one start of the server."""

    token: str | None = None
    """The configured token; None on loopback, where none is needed."""
    hosts: frozenset[str] = LOOPBACK_NAMES
    """Host names by which we are reached, unless a token is needed: a cookie belongs to its host."""
    form_token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """In the page of this start, and in each request that changes something."""
    code: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """Of the next link; it works once."""

    def allows_host(self, host: str) -> bool:
        """Return whether a request may name this host, with or without a port."""
        return self.token is not None or _without_port(host).lower() in self.hosts

    def allows_origin(self, origin: str | None, host: str) -> bool:
        """Return whether the page that sends a request is ours; programs that are no browsers name none."""
        return origin is None or origin.lower() in {
            f"{scheme}://{host.lower()}" for scheme in ("http", "https")
        }

    @property
    def cookie(self) -> str:
        """The value of the cookie: derived from the token, so it outlives a restart and ends with it."""
        return hmac.new((self.token or "").encode(), b"cryptometrics web", hashlib.sha256).hexdigest()

    def admits(self, bearer: str | None, cookie: str | None) -> bool:
        """Return whether a request comes from somebody who knows the token, if one is needed."""
        if self.token is None:
            return True
        return (bearer is not None and _equal(bearer, self.token)) or (
            cookie is not None and _equal(cookie, self.cookie)
        )

    def use_code(self, code: str) -> bool:
        """Return whether this is the code of the link, which is then replaced."""
        if self.token is None or not _equal(code, self.code):
            return False
        self.code = secrets.token_urlsafe(24)
        return True

    def is_form_token(self, token: str | None) -> bool:
        """Return whether a request that changes something comes from a page of this start."""
        return token is not None and _equal(token, self.form_token)


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    return name if port.isdigit() and name and (not host.startswith("[") or name.endswith("]")) else host


def _equal(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode(), right.encode())
