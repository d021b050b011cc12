"""The options of a connection: what libpq makes of them, and our defaults where nobody chose a value.

libpq completes a connection string from a service file, the PG… environment variables and its own defaults. A
value that we add to the string would win over all of these, so we add none that somebody has chosen.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
from psycopg import conninfo, pq

from cryptometrics.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECT_TIMEOUT_S = 5
"""Seconds for one attempt to connect."""
_OUR_DEFAULTS = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "fallback_application_name": "cryptometrics",
    # Detect a dead peer within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def checked(uri: str) -> str:
    """Return the connection string unchanged, or raise a UserError that quotes no part of it.

    libpq's errors quote the part that it cannot parse, which may hold a password that is not percent-encoded.
    """
    try:
        parts = conninfo.conninfo_to_dict(uri)
    except psycopg.ProgrammingError:
        parts = {"port": "unreadable"}
    # A host may also be a socket directory, whose name may contain an @.
    hosts = [host for host in str(parts.get("host", "")).split(",") if not host.startswith("/")]
    split_wrongly = any("@" in part[1:] for part in (*hosts, str(parts.get("dbname", ""))))
    if split_wrongly or not re.fullmatch(r"[0-9,]*", str(parts.get("port", ""))):
        raise UserError(
            "DATABASE_URL is not valid: it has the form postgresql://user:password@host:5432/database, "
            "with the characters @ : / % in the password percent-encoded (@ is %40)"
        )
    return uri


def resolve(uri: str) -> dict[str, str]:
    """Return the value of each option as libpq will use it, wherever it comes from.

    Raises UserError if the string names a service that no file defines.
    """
    # libpq resolves all options, checks their values and connects. An invalid value stops it in between.
    attempt = pq.PGconn.connect_start(conninfo.make_conninfo(uri, channel_binding="stop").encode())
    try:
        found = attempt.info
        problem = attempt.get_error_message()
    finally:
        attempt.finish()
    values = {
        option.keyword.decode(): option.val.decode(errors="replace")
        for option in found
        if option.val is not None
    }
    if values.pop("channel_binding", None) is None:  # libpq found no such service, and stopped there
        raise UserError(f"the settings of PostgreSQL are not valid: {problem}")
    return values


def complete(uri: str, chosen: Mapping[str, str]) -> dict[str, Any]:
    """Return the options of a connection string with our default for each one that nobody has chosen.

    chosen: the options as `resolve` returns them.
    """
    options: dict[str, Any] = conninfo.conninfo_to_dict(uri)
    if "connect_timeout" in chosen:  # psycopg keeps this limit and does not look into service files
        options["connect_timeout"] = chosen["connect_timeout"]
    return options | {name: value for name, value in _OUR_DEFAULTS.items() if name not in chosen}


def place(uri: str) -> str:
    """Return host, port and database of a connection string, without user and password."""
    options = resolve(uri)
    host = options.get("host") or options.get("hostaddr") or "localhost"
    return f"{host}:{options.get('port', 5432)}/{options.get('dbname', '')}"


def public_uri(uri: str) -> str:
    """Return a connection string as a URI of user, host, port and database: without password and options.

    Raises UserError if it is not valid.
    """
    options = resolve(checked(uri))
    user, database = (quote(options.get(name, ""), safe="") for name in ("user", "dbname"))
    hosts = (options.get("host") or options.get("hostaddr") or "localhost").split(",")
    ports = options.get("port", "5432").split(",")
    ports *= len(hosts) if len(ports) == 1 else 1
    if any(host.startswith(("/", "@")) for host in hosts):  # a socket's folder
        places = (quote(",".join(part), safe=",") for part in (hosts, ports))
        return "postgresql://{}@/{}?host={}&port={}".format(user, database, *places)
    named = (f"[{host}]" if ":" in host else host for host in hosts)
    return f"postgresql://{user}@{','.join(map(':'.join, zip(named, ports, strict=True)))}/{database}"
