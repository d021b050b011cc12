"""Run the server: connect, choose the group, serve, and stop."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from cryptometrics.errors import UserError
from cryptometrics.store.database_errors import explaining
from cryptometrics.store.reader_session import connect_reader
from cryptometrics.web.access import LOOPBACK_NAMES, MIN_TOKEN_CHARS, Access, is_loopback
from cryptometrics.web.app import make_app
from cryptometrics.web.hub import Hub
from cryptometrics.web.poller import STATEMENT_TIMEOUT_S, ViewPoller
from cryptometrics.web.read_sessions import ReadSessions
from cryptometrics.web.rows import iso_or_none
from cryptometrics.web.server import listen, serving
from cryptometrics.web.site import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from cryptometrics.config import Settings

WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (compared, not listened on)
"""Addresses that mean all of this machine's, and one that people can open."""
STOP_S = 0.5
"""How long a read may take when the server stops."""


@contextlib.contextmanager
def running(
    settings: Settings,
    choose_group: Callable[[psycopg.Connection], str],
    *,
    host: str,
    port: int,
    venue: str | None = None,
    notice: Callable[[BaseException, float], None] | None = None,
    on_link: Callable[[str], None] = lambda _link: None,
) -> Iterator[str]:
    """Serve within the block; yield the address to open.

    choose_group: returns the group to show. notice: called while the start waits for PostgreSQL.
    on_link: called with the next link when one was used. Raises UserError if the address is not available, or
    if other machines could reach it and no token is configured.
    """
    access = _access(settings, host)
    with contextlib.closing(listen(host, port)) as sock:
        address = _address(host, sock.getsockname()[1])

        def link() -> str:
            return address if access.token is None else f"{address}login?code={access.code}"

        connection = connect_reader(settings, statement_timeout_s=STATEMENT_TIMEOUT_S, notice=notice)
        try:
            with explaining():
                group = choose_group(connection)
        except BaseException:
            connection.close()
            raise
        hub, database = Hub(), ReadSessions(settings)
        poller = ViewPoller(settings, connection, group, venue, hub)
        site = Site(group, venue, database, poller, hub, access)
        app = make_app(site, lambda: on_link(link()))
        with serving(app, sock, hub, lambda: _beat(poller)):
            try:
                poller.start()
                yield link()
            finally:
                poller.stop(STOP_S)
        database.close()


def _access(settings: Settings, host: str) -> Access:
    token = settings.web_token.reveal() if settings.web_token is not None else None
    if token is not None and len(token) < MIN_TOKEN_CHARS:
        raise UserError(f"CRYPTOMETRICS_WEB_TOKEN is too short: use at least {MIN_TOKEN_CHARS} characters")
    if is_loopback(host):
        return Access(hosts=LOOPBACK_NAMES | {f"[{host}]" if ":" in host else host})
    if token is None:
        raise UserError(
            f"other machines can reach {host}: set CRYPTOMETRICS_WEB_TOKEN or CRYPTOMETRICS_WEB_TOKEN_FILE "
            "first, or listen on 127.0.0.1"
        )
    return Access(token)


def _beat(poller: ViewPoller) -> dict[str, str | None]:
    """Return what a sign of life says: the present moment, so that ages count on, and the state."""
    return {"as_of": iso_or_none(poller.now()), "database": poller.database}


def _address(host: str, port: int) -> str:
    name = WILDCARDS.get(host, host)
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"
