"""Diagnose why an encrypted connection fails, where a client library only reports that it failed.

Each probe opens one connection and exchanges a few packets. None means the cause is elsewhere: show the
library's own message.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TIMEOUT_S = 2.0
"""Seconds for each step of a connection."""
API_VERSIONS_REQUEST = struct.pack(">ihhih", 10, 18, 0, 0, -1)
"""A request that brokers answer without a login: length, key, version, correlation and client id."""
MAX_ANSWER_BYTES = 1024 * 1024
"""A larger length means that the answer is not Kafka's."""
_ILLEGAL_SASL_STATE = 34
"""Kafka's error code for a login on a port without logins."""

# OpenSSL's X509_V_ERR_*
_NOT_YET_VALID, _EXPIRED = 9, 10
_FOREIGN = {2, 18, 19, 20, 21}
_OTHER_NAME = {62, 63, 64}


def kafka_problem(conf: Mapping[str, object]) -> str | None:
    """Return what is wrong between librdkafka's settings and the port of the first broker that answers.

    Never raises: brokers that cannot be reached are left to librdkafka.
    """
    for server in str(conf.get("bootstrap.servers", "")).split(","):
        host, _, port = server.strip().rpartition("://")[2].rpartition(":")
        with contextlib.suppress(OSError, ValueError):
            return _KafkaPort(host.strip("[]"), int(port), conf).problem()
    return None


class _KafkaPort:
    """A broker's port, and what the settings expect of it."""

    def __init__(self, host: str, port: int, conf: Mapping[str, object]) -> None:
        self._host, self._port, self._conf = host, port, conf
        protocol = str(conf.get("security.protocol", "plaintext")).upper()
        self._encrypted, self._login = protocol.endswith("SSL"), protocol.startswith("SASL")

    def problem(self) -> str | None:
        """Return what is wrong; None if nothing is or the probe cannot see it. Raises OSError."""
        if not self._encrypted and self._speaks_tls():
            return "the port is encrypted: set KAFKA_SECURITY_PROTOCOL to SSL or SASL_SSL"
        if self._encrypted and self._speaks_plainly():
            return "the port is not encrypted: set KAFKA_SECURITY_PROTOCOL to PLAINTEXT or SASL_PLAINTEXT"
        try:
            with self._connected() as connection:
                mechanisms = _logins_of(connection)
        except ssl.SSLCertVerificationError as error:
            return certificate_problem(error, self._host, "KAFKA_SSL_CA_LOCATION")
        except ssl.SSLError as error:
            return self._refused_certificate(error)
        return self._login_problem(mechanisms)

    def _login_problem(self, mechanisms: list[str] | None) -> str | None:
        kind = "SSL" if self._encrypted else "PLAINTEXT"
        if mechanisms is None and self._login:
            return f"the port does not use logins: set KAFKA_SECURITY_PROTOCOL to {kind}"
        if mechanisms and not self._login:
            return (
                f"the port requires a login: set KAFKA_SECURITY_PROTOCOL to SASL_{kind}, "
                f"KAFKA_SASL_MECHANISM to {' or '.join(mechanisms)}, and user and password"
            )
        return None

    @contextlib.contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        with socket.create_connection((self._host, self._port), timeout=TIMEOUT_S) as connection:
            if not self._encrypted:
                yield connection
                return
            location = self._conf.get("ssl.ca.location")
            context = _context(None if location in (None, "probe") else str(location))
            checks_name = self._conf.get("ssl.endpoint.identification.algorithm", "https") != "none"
            context.check_hostname = checks_name
            if str(self._conf.get("enable.ssl.certificate.verification", "true")).lower() == "false":
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if self._identity:
                context.load_cert_chain(*self._identity)
            with context.wrap_socket(connection, server_hostname=self._host) as encrypted:
                yield encrypted

    @property
    def _identity(self) -> tuple[str, str, str] | None:
        """The client's certificate, its key and the key's password; never None, or Python would prompt."""
        certificate, key = (self._conf.get(f"ssl.{what}.location") for what in ("certificate", "key"))
        if not certificate or not key:
            return None
        return str(certificate), str(key), str(self._conf.get("ssl.key.password") or "")

    def _speaks_tls(self) -> bool:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = (
            False,
            ssl.CERT_NONE,
        )  # nothing is sent on this connection
        with socket.create_connection((self._host, self._port), timeout=TIMEOUT_S) as connection:
            try:
                context.wrap_socket(connection, server_hostname=self._host).close()
            except ssl.SSLError as error:
                return "ALERT" in (error.reason or "")  # only TLS has alerts
            except OSError:
                return False
            return True

    def _speaks_plainly(self) -> bool:
        with socket.create_connection((self._host, self._port), timeout=TIMEOUT_S) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(API_VERSIONS_REQUEST)
                return _answer(connection) is not None
            return False

    def _refused_certificate(self, error: ssl.SSLError) -> str | None:
        reason = error.reason or ""
        if "ALERT" not in reason or not ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
            return None
        identity = self._identity
        if identity is None:
            return (
                "the port requires a client certificate: "
                "set KAFKA_SSL_CERTIFICATE_LOCATION and KAFKA_SSL_KEY_LOCATION"
            )
        if _has_expired(identity):
            return f"the client certificate has expired: renew {identity[0]} (KAFKA_SSL_CERTIFICATE_LOCATION)"
        return (
            f"the broker does not accept the client certificate {identity[0]} "
            "(KAFKA_SSL_CERTIFICATE_LOCATION): its issuer is not one that the broker trusts"
        )


def _logins_of(connection: socket.socket) -> list[str] | None:
    """Return the login mechanisms of a port; None if it has no logins."""
    # SaslHandshake, version 1, with an unknown mechanism: the broker answers with the ones it supports.
    body = struct.pack(">hhihh", 17, 1, 0, -1, 1) + b"?"
    connection.sendall(struct.pack(">i", len(body)) + body)
    answer = _answer(connection)
    if answer is None or len(answer) < 10:
        return []
    _, error, count = struct.unpack_from(">ihi", answer)
    if error == _ILLEGAL_SASL_STATE:
        return None
    mechanisms, at = [], 10
    for _ in range(min(count, 20)):
        (length,) = struct.unpack_from(">h", answer, at)
        mechanisms.append(answer[at + 2 : at + 2 + length].decode("ascii", "replace"))
        at += 2 + length
    return mechanisms


def _answer(connection: socket.socket) -> bytes | None:
    """Return the next answer of a broker without its length; None if it is not Kafka's."""
    head = read(connection, 4)
    length = struct.unpack(">i", head)[0] if len(head) == 4 else 0
    if not 4 <= length <= MAX_ANSWER_BYTES:
        return None
    answer = read(connection, length)
    return answer if len(answer) == length else None


def read(connection: socket.socket, count: int) -> bytes:
    """Return this many bytes, fewer only if the connection ends before."""
    found = b""
    while len(found) < count and (more := connection.recv(count - len(found))):
        found += more
    return found


def _context(authorities: str | None) -> ssl.SSLContext:
    if authorities is None:
        return ssl.create_default_context()
    if Path(authorities).is_dir():
        return ssl.create_default_context(capath=authorities)
    return ssl.create_default_context(cafile=authorities)


def certificate_problem(error: ssl.SSLCertVerificationError, host: str, variable: str) -> str:
    """Return why a server's certificate is not accepted.

    variable: the setting that names the file of the authorities.
    """
    if error.verify_code == _EXPIRED:
        return "the server's certificate has expired: renew it"
    if error.verify_code == _NOT_YET_VALID:
        return "the server's certificate is not valid yet: check the clocks"
    if error.verify_code in _FOREIGN:
        return (
            "the server's certificate is from an issuer that is not trusted here: "
            f"set {variable} to the file of its authority"
        )
    if error.verify_code in _OTHER_NAME:
        return f"the server's certificate is not for the host name {host}: use the name in the certificate"
    return f"the server's certificate is not valid: {error.verify_message}"


def _has_expired(identity: tuple[str, str, str]) -> bool:
    """Return whether a client certificate has expired, by verifying it in memory as the server would."""
    receiver = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    receiver.load_cert_chain(*identity)
    receiver.load_verify_locations(identity[0])
    receiver.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    receiver.verify_mode = ssl.CERT_REQUIRED
    sender = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    sender.check_hostname, sender.verify_mode = False, ssl.CERT_NONE
    sender.load_cert_chain(*identity)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = sender.wrap_bio(back, there), receiver.wrap_bio(there, back, server_side=True)
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error.verify_code == _EXPIRED
            except ssl.SSLError:
                return False
    return False
