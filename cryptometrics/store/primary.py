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
_STANDING = """
SELECT system_identifier, ('x' || pg_catalog.left(file, 8))::bit(32)::int4,
       extract(epoch FROM pg_catalog.pg_postmaster_start_time())::float8
FROM pg_catalog.pg_control_system(),
     pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()) AS file
"""


class Standing(NamedTuple):
    """What a server that accepts writes says about its place in the history of its cluster."""

    system: int
    """Identifies the cluster: a standby has that of its primary."""
    timeline: int
    """Raised by each promotion of a standby."""
    started: float
    """When the server started, in seconds since 1970: two names with the same moment are one server."""

    def is_before(self, other: Standing) -> bool:
        """Return whether this server was the primary before the other one."""
        return self.system == other.system and self.timeline < other.timeline


class RivalsError(Exception):
    """Two servers accept writes on the same timeline, so nobody can tell which one is the primary."""


_last: dict[str, Standing] = {}
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
        standing = _standing(connection)
        if is_same_run(standing, last):
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


def is_same_run(standing: Standing | None, last: Standing) -> bool:
    """Return whether a server is the one that was used last, and has not been restarted since.

    If it has, it may have failed, and another one may have been promoted that this process has not seen yet.
    A server without a standing counts as the same, because it cannot be compared with the others.
    """
    return standing is None or standing == last


def newest(standings: Sequence[Standing | None]) -> int:
    """Return the index of the primary among servers that accept writes, in the order of their list.

    A server without a standing (None) or of another cluster cannot be compared: then the first one counts.
    Raises RivalsError if two servers have the highest timeline.
    """
    first = standings[0]
    if first is None:
        return 0
    known = [(index, each) for index, each in enumerate(standings) if each and each.system == first.system]
    highest = max(each.timeline for _, each in known)
    rivals = {index: each for index, each in known if each.timeline == highest}
    if len({each.started for each in rivals.values()}) > 1:
        raise RivalsError(f"{len(rivals)} servers accept writes on timeline {highest}")
    return next(iter(rivals))


def _connect_writable(options: dict[str, Any]) -> tuple[psycopg.Connection, Standing | None]:
    connection = psycopg.connect(**options, autocommit=True)
    return connection, _standing(connection)


def _standing(connection: psycopg.Connection) -> Standing | None:
    """Return a server's standing; None where it has no such functions, or this login may not call them."""
    try:
        row = connection.execute(_STANDING.encode()).fetchone()
    except (errors.UndefinedFunction, errors.InsufficientPrivilege, errors.FeatureNotSupported):
        return None
    except BaseException:
        connection.close()
        raise
    return None if row is None else Standing(*row)


def _choose(
    uri: str, found: Sequence[tuple[psycopg.Connection, Standing | None]], last: Standing | None
) -> psycopg.Connection:
    """Keep the session of the primary and close the others."""
    chosen = None
    try:
        index = newest([standing for _, standing in found])
        connection, standing = found[index]
        if standing is not None and last is not None and standing.is_before(last):
            info = connection.info
            raise NotConnectedError(
                f"{info.host}:{info.port} is a former primary, on timeline {standing.timeline} instead of "
                f"{last.timeline}: stop it, or make it a standby",
                answered=True,
            )
        chosen = connection
        _warn_of_former(found, standing)
    except RivalsError as rivals:
        raise NotConnectedError(f"{rivals} at {place(uri)}: stop all but one", answered=True) from None
    finally:
        for other, _ in found:
            if other is not chosen:
                other.close()
    return _remember(uri, connection, standing)


def _warn_of_former(
    found: Sequence[tuple[psycopg.Connection, Standing | None]], primary: Standing | None
) -> None:
    from cryptometrics import log  # a command that reads one server does without it

    for connection, standing in found:
        if standing is not None and primary is not None and standing.is_before(primary):
            log.get_logger().warning(
                "former_primary",
                server=f"{connection.info.host}:{connection.info.port}",
                timeline=standing.timeline,
                primary_timeline=primary.timeline,
                hint="it accepts writes and is not used: stop it, or make it a standby",
            )


def _remember(uri: str, connection: psycopg.Connection, standing: Standing | None) -> psycopg.Connection:
    if standing is not None:
        _last[uri] = standing
    return connection
