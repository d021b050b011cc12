"""Log in to PostgreSQL by its protocol, for the code of the error that ends a login.

libpq reports a failed connection in words only, and the server's words are in the server's language. The
protocol has a code for each error, the SQLSTATE.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import hmac
import secrets
import socket
import struct
import unicodedata
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from cryptometrics import tls_probe

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

PROTOCOL = 3 << 16
"""Version 3.0, which every server and pooler speaks."""
ENCRYPTION_REQUEST = struct.pack("!ii", 8, 80877103)
"""The server answers S or N."""
MAX_MESSAGES = 500
MAX_MESSAGE_BYTES = 64 * 1024
"""More messages or longer ones are not PostgreSQL's answer to a login."""
MAX_SCRAM_ROUNDS = 1_000_000
_KINDS = frozenset((b"E", b"K", b"N", b"R", b"S", b"Z", b"v"))
"""What a server sends until a session is ready."""
_OK, _CLEAR_TEXT, _MD5, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 3, 5, 10, 11, 12
"""The requests for a proof that can be answered here, and the server's answers."""
_SCRAM = b"SCRAM-SHA-256"


class Stage(enum.IntEnum):
    """How far a login got."""

    START = enum.auto()
    """The server was told who wants to use which database."""
    PROOF = enum.auto()
    """The server asked for a password or another proof."""
    SESSION = enum.auto()
    """The server accepted the user."""
    READY = enum.auto()


class LoginRefusal(NamedTuple):
    """The error message that ended a login."""

    sqlstate: str
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far a login got; without a refusal it was not ended by the server."""

    stage: Stage
    refusal: LoginRefusal | None = None


class NotPostgresError(Exception):
    """What answers does not speak PostgreSQL's protocol."""

    def __init__(self) -> None:
        super().__init__("what answers there is not PostgreSQL: check the port")


class NoEncryptionError(Exception):
    """The server does not offer encryption."""

    def __init__(self) -> None:
        super().__init__("the server offers no encryption, but DB_SSLMODE requires it")


@dataclass(frozen=True, slots=True)
class Login:
    """Where to log in, and as whom."""

    host: str
    """A name, an address, or the folder of a socket."""
    address: str
    """The address of the host, or the same."""
    port: int
    parameters: Mapping[str, str]
    """User, database and start-up options."""
    password: str | None = field(default=None, repr=False)
    """None ends the login where the server asks for one."""

    @property
    def is_local(self) -> bool:
        """Whether a socket of this machine leads to the server; such a connection is never encrypted."""
        return self.address.startswith(("/", "@"))

    def without_password(self) -> Login:
        """Return the same login, which ends where the server asks for a password."""
        return replace(self, password=None)

    def attempt(self, encryption: ssl.SSLContext | None, *, direct: bool = False) -> Outcome:
        """Log in and out again.

        direct: encrypt the connection without asking for it.
        Raises OSError if nobody answers or encryption fails, NoEncryptionError or NotPostgresError.
        """
        with self._connect() as connection:
            if encryption is None:
                return _converse(connection, self)
            if not direct:
                _request_encryption(connection)
            with encryption.wrap_socket(connection, server_hostname=self.host) as encrypted:
                return _converse(encrypted, self)

    def _connect(self) -> socket.socket:
        if not self.is_local:
            return socket.create_connection((self.address, self.port), timeout=tls_probe.TIMEOUT_S)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(tls_probe.TIMEOUT_S)
            path = f"{self.address}/.s.PGSQL.{self.port}"
            connection.connect("\0" + path[1:] if path.startswith("@") else path)
        except BaseException:
            connection.close()
            raise
        return connection


def _request_encryption(connection: socket.socket) -> None:
    connection.sendall(ENCRYPTION_REQUEST)
    answer = _read(connection, 1)
    if answer == b"N":
        raise NoEncryptionError
    if answer != b"S":
        raise NotPostgresError


def _converse(connection: socket.socket, login: Login) -> Outcome:
    """Exchange the messages of a login."""
    texts = b"".join(text.encode() + b"\0" for item in login.parameters.items() for text in item)
    _send(connection, b"", struct.pack("!i", PROTOCOL) + texts + b"\0")
    proof = _Proof(login)
    try:
        for _ in range(MAX_MESSAGES):
            kind, body = _receive(connection)
            if kind == b"E":
                return Outcome(proof.stage, _refusal(body))
            if kind == b"Z":
                _send(connection, b"X", b"")
                return Outcome(Stage.READY)
            if kind == b"R" and not proof.answer(connection, body):
                return Outcome(proof.stage)
    except OSError:
        if proof.stage is Stage.START:
            raise
        return Outcome(proof.stage)
    raise NotPostgresError


def _send(connection: socket.socket, kind: bytes, body: bytes) -> None:
    connection.sendall(kind + struct.pack("!i", len(body) + 4) + body)


def _receive(connection: socket.socket) -> tuple[bytes, bytes]:
    """Return the kind and the body of the next message."""
    head = _read(connection, 5)
    kind, length = head[:1], struct.unpack("!i", head[1:])[0] - 4
    if kind not in _KINDS or not 0 <= length <= MAX_MESSAGE_BYTES:
        raise NotPostgresError
    return kind, _read(connection, length)


def _read(connection: socket.socket, count: int) -> bytes:
    try:
        data = tls_probe.read(connection, count)
    except TimeoutError:
        raise TimeoutError("it accepts connections, but does not answer") from None
    if len(data) < count:
        raise ConnectionResetError("it closes connections without an answer")
    return data


def _refusal(body: bytes) -> LoginRefusal:
    """Read the fields of an error message: a letter, the text, a zero byte."""
    fields = {field[:1]: field[1:].decode("utf-8", "replace") for field in body.split(b"\0") if field}
    return LoginRefusal(fields.get(b"C", ""), " ".join(fields.get(b"M", "").split()))


class _Proof:
    """Answers the server's requests for a proof of who we are."""

    def __init__(self, login: Login) -> None:
        self._password = login.password
        self._user = login.parameters.get("user", "")
        self._nonce = secrets.token_urlsafe(18)
        self.stage = Stage.START

    def answer(self, connection: socket.socket, body: bytes) -> bool:
        """Answer a request; return False if there is no answer."""
        if len(body) < 4:
            raise NotPostgresError
        request, data = struct.unpack_from("!i", body)[0], body[4:]
        self.stage = Stage.SESSION if request == _OK else Stage.PROOF
        if request in (_OK, _SASL_FINAL):
            return True
        answer = None if self._password is None else self._proof(request, data, self._password)
        if answer is not None:
            _send(connection, b"p", answer)
        return answer is not None

    def _proof(self, request: int, data: bytes, password: str) -> bytes | None:
        if request == _CLEAR_TEXT:
            return password.encode() + b"\0"
        if request == _MD5:
            inner = _md5(password.encode() + self._user.encode())
            return b"md5" + _md5(inner + data[:4]) + b"\0"
        if request == _SASL and _SCRAM in data.split(b"\0"):
            first = f"n,,n=,r={self._nonce}".encode()
            return _SCRAM + b"\0" + struct.pack("!i", len(first)) + first
        if request == _SASL_CONTINUE:
            return self._scram(data.decode("ascii", "replace"), password)
        return None

    def _scram(self, challenge: str, password: str) -> bytes:
        """Return the proof that RFC 5802 defines."""
        fields = dict(field.partition("=")[::2] for field in challenge.split(","))
        try:
            nonce, salt, rounds = fields["r"], base64.b64decode(fields["s"]), int(fields["i"])
        except (KeyError, ValueError):
            raise NotPostgresError from None
        if not 0 < rounds <= MAX_SCRAM_ROUNDS:
            raise NotPostgresError
        normal = unicodedata.normalize("NFKC", password).encode()
        salted = hashlib.pbkdf2_hmac("sha256", normal, salt, rounds)
        key = hmac.digest(salted, b"Client Key", "sha256")
        last = f"c=biws,r={nonce}"
        signed = f"n=,r={self._nonce},{challenge},{last}".encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
        return f"{last},p={base64.b64encode(proof).decode()}".encode()


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).hexdigest().encode()
