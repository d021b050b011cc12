"""The encryption of a connection as libpq's options describe it."""

from __future__ import annotations

import contextlib
import ssl
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_FOLDER = Path("~/.postgresql")
"""Where libpq looks for files that no option names."""


class FileProblemError(Exception):
    """A file of authorities, of the certificate or of its key cannot be used; the message says why."""


def encryption(options: Mapping[str, str]) -> ssl.SSLContext:
    """Return the context of an encrypted connection; raise FileProblemError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["postgresql"])
    mode, authorities = options.get("sslmode", ""), options.get("sslrootcert")
    if authorities == "system":
        context.load_default_certs()
        context.verify_mode, context.check_hostname = ssl.CERT_REQUIRED, True
        return _with_certificate(context, options)
    file = Path(authorities) if authorities else _default("root.crt")
    if file.exists():
        try:
            context.load_verify_locations(file)
        except OSError as error:  # ssl.SSLError is one
            raise FileProblemError(
                f'could not read root certificate file "{file}": {error.strerror or error}'
            ) from None
        context.verify_mode, context.check_hostname = ssl.CERT_REQUIRED, mode == "verify-full"
    elif mode.startswith("verify-"):
        raise FileProblemError(f'root certificate file "{file}" does not exist: set DB_SSLROOTCERT')
    return _with_certificate(context, options)


def unverified() -> ssl.SSLContext:
    """Return the context of an encrypted connection on which no secret is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _with_certificate(context: ssl.SSLContext, options: Mapping[str, str]) -> ssl.SSLContext:
    """Add the client's certificate, if there is one."""
    certificate = Path(options.get("sslcert") or _default("postgresql.crt"))
    key = Path(options.get("sslkey") or _default("postgresql.key"))
    if options.get("sslcertmode") == "disable" or not certificate.exists():
        return context
    if not key.exists():
        raise FileProblemError(
            f'the private key file "{key}" of the certificate {certificate} does not exist'
        )
    if _others_may_read(key):
        raise FileProblemError(f'other users can read the private key file "{key}": chmod 600 {key}')
    try:
        # The password is never None, or OpenSSL would ask for it on the terminal.
        context.load_cert_chain(certificate, key, options.get("sslpassword") or "")
    except OSError as error:
        raise FileProblemError(
            f'could not load private key file "{key}": {error.strerror or error}'
        ) from None
    return context


def _others_may_read(key: Path) -> bool:
    """Return whether libpq refuses a key for its mode; a key of root may be readable for its group."""
    found = key.stat()
    allowed = stat.S_IRWXU | (stat.S_IRGRP if found.st_uid == 0 else 0)
    return bool(stat.S_IMODE(found.st_mode) & ~allowed)


def _default(name: str) -> Path:
    with contextlib.suppress(RuntimeError):  # no home
        return (_FOLDER / name).expanduser()
    return _FOLDER / name
