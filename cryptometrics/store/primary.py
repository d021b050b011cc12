"""Connect to the primary of several servers, and to no former primary that has come back.

After a failover the old primary may start again and accept writes, until somebody makes it a standby. libpq
takes the first host of the list that accepts writes, which may be the old primary. But every promotion begins
a new timeline: the primary is the server with the highest number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from psycopg import errors

from cryptometrics.store.connection_options import complete, place, resolve
from cryptometrics.store.database_errors import NotConnectedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WRITABLE = {"read-write", "primary"}
"""The values of target_session_attrs that ask for a server which accepts writes."""

# Plain numbers only: the formats of times are not set yet.
_IDENTIFY = """
SELECT system_identifier, ('x' || pg_catalog.left(file, 8))::bit(32)::int4,
       extract(epoch FROM pg_catalog.pg_postmaster_start_time())::float8
FROM pg_catalog.pg_control_system(),
     pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()) AS file
"""


class Server(NamedTuple):
    """What a server that accepts writes says about its place in the history of its cluster."""

    system: int
    """Identifies the cluster: a standby has that of its primary."""
    timeline: int
    """Raised by each promotion of a standby."""
    started: float
    """When the server started, in seconds since 1970: two names with the same moment are one server."""

    def is_before(self, other: Server) -> bool:
        """Return whether this server was the primary before the other one."""
        return self.system == other.system and self.timeline < other.timeline


class RivalsError(Exception):
    """Two servers accept writes on the same timeline, so nobody can tell which one is the primary."""


_last: dict[str, Server] = {}
"""The primary that this process has used last, by connection string."""


def connect_primary(uri: str) -> psycopg.Connection:
    """Connect as libpq does; of several servers that accept writes, take the one that was promoted last.

    A process tries every host before its first session, and again whenever libpq's choice is not the server
    that it used last, or has been restarted since. Raises psycopg's errors, and NotConnectedError if only a
    former primary answers.
    """
    chosen = resolve(uri)
    options, hosts = complete(uri, chosen), split_hosts(chosen)
    if len(hosts) < 2:
        return psycopg.connect(**options, autocommit=True)
    if (last := _last.get(uri)) is not None:
        connection = psycopg.connect(**options, autocommit=True)
        server = _identify(connection)
        if is_same_run(server, last):
            return connection
        connection.close()
    from concurrent.futures import ThreadPoolExecutor  # only a list of hosts needs it

    with ThreadPoolExecutor(len(hosts)) as pool:
        attempts = [pool.submit(_connect_writable, options | host) for host in hosts]
    found, failure = [], None
    for attempt in attempts:
        try:
            found.append(attempt.result())
        except psycopg.OperationalError as error:
            failure = error
    if failure is not None and not found:
        raise failure  # the last one, as libpq does
    return _choose(uri, found, last)


def split_hosts(options: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the options that lead to each host of a list; none unless the servers have to accept writes."""
    if options.get("target_session_attrs") not in _WRITABLE:
        return []
    lists = {name: options[name].split(",") for name in ("host", "hostaddr", "port") if options.get(name)}
    length = max((len(lists[name]) for name in ("host", "hostaddr") if name in lists), default=0)
    if len(lists.get("port", ())) == 1:  # a single port holds for all hosts
        lists["port"] *= length
    if any(len(values) != length for values in lists.values()):
        return []  # libpq says what is wrong
    return [{name: values[number] for name, values in lists.items()} for number in range(length)]


def is_same_run(server: Server | None, last: Server) -> bool:
    """Return whether a server is the one that was used last, and has not been restarted since.

    If it has, it may have failed, and another one may have been promoted that this process has not seen yet.
    One that says nothing of itself (None) counts as the same, because it cannot be compared with the others.
    """
    return server is None or server == last


def newest(servers: Sequence[Server | None]) -> int:
    """Return the index of the primary among servers that accept writes, in the order of their list.

    One that says nothing of itself (None) or is of another cluster cannot be compared: then the first counts.
    Raises RivalsError if two servers have the highest timeline.
    """
    first = servers[0]
    if first is None:
        return 0
    known = [(index, each) for index, each in enumerate(servers) if each and each.system == first.system]
    highest = max(each.timeline for _, each in known)
    rivals = {index: each for index, each in known if each.timeline == highest}
    if len({each.started for each in rivals.values()}) > 1:
        raise RivalsError(f"{len(rivals)} servers accept writes on timeline {highest}")
    return next(iter(rivals))


def _connect_writable(options: dict[str, Any]) -> tuple[psycopg.Connection, Server | None]:
    connection = psycopg.connect(**options, autocommit=True)
    return connection, _identify(connection)


def _identify(connection: psycopg.Connection) -> Server | None:
    """Return what a server says of itself; None if it lacks the functions, or the login may not call them."""
    try:
        row = connection.execute(_IDENTIFY.encode()).fetchone()
    except (errors.UndefinedFunction, errors.InsufficientPrivilege, errors.FeatureNotSupported):
        return None
    except BaseException:
        connection.close()
        raise
    return None if row is None else Server(*row)


def _choose(
    uri: str, found: Sequence[tuple[psycopg.Connection, Server | None]], last: Server | None
) -> psycopg.Connection:
    """Keep the session of the primary and close the others."""
    chosen = None
    try:
        index = newest([server for _, server in found])
        connection, server = found[index]
        if server is not None and last is not None and server.is_before(last):
            info = connection.info
            raise NotConnectedError(
                f"{info.host}:{info.port} is a former primary, on timeline {server.timeline} instead of "
                f"{last.timeline}: stop it, or make it a standby",
                answered=True,
            )
        chosen = connection
        _warn_of_former(found, server)
    except RivalsError as rivals:
        raise NotConnectedError(f"{rivals} at {place(uri)}: stop all but one", answered=True) from None
    finally:
        for other, _ in found:
            if other is not chosen:
                other.close()
    return _remember(uri, connection, server)


def _warn_of_former(
    found: Sequence[tuple[psycopg.Connection, Server | None]], primary: Server | None
) -> None:
    from cryptometrics import log  # a command that reads one server does without it

    for connection, server in found:
        if server is not None and primary is not None and server.is_before(primary):
            log.get_logger().warning(
                "former_primary",
                server=f"{connection.info.host}:{connection.info.port}",
                timeline=server.timeline,
                primary_timeline=primary.timeline,
                hint="it accepts writes and is not used: stop it, or make it a standby",
            )


def _remember(uri: str, connection: psycopg.Connection, server: Server | None) -> psycopg.Connection:
    if server is not None:
        _last[uri] = server
    return connection
