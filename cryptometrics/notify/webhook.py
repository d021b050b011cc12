"""Telling a webhook: one POST, every part of it with a limit, no redirects, and no secret in any text.

The URL often *is* the secret, so only its scheme and host are ever shown.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
import socket
import ssl
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from cryptometrics import __version__
from cryptometrics.errors import UserError
from cryptometrics.text import escape
from cryptometrics.times import iso

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.config import Settings
    from cryptometrics.notify.outbox import Notification

STEP_S = 10.0
"""Seconds for connecting, and for each silence of the receiver."""
WHOLE_S = 20.0
"""Seconds for all of it: a receiver that sends a byte now and then is cut off."""
READ_BYTES = 2_048
"""Of the answer's body."""
LONGEST_RETRY_AFTER_S = 300.0


class NotDeliveredError(Exception):
    """The receiver did not take it; the text says why and holds nothing secret."""

    def __init__(self, why: str, *, answered: bool, retry_after_s: float = 0.0) -> None:
        super().__init__(why)
        self.answered = answered
        """Whether it answered at all."""
        self.retry_after_s = retry_after_s
        """How long it asks to be left alone."""


@dataclass(frozen=True)
class Answer:
    """What the receiver said."""

    status: int
    reason: str
    body: str


class Webhook:
    """A receiver of alerts."""

    def __init__(self, url: str, form: str) -> None:
        """url: http or https; form: generic or slack. Raises UserError, which does not repeat the URL."""
        try:
            parts = urlsplit(url)
            self._port = parts.port
        except ValueError:
            raise _wrong("it is no URL") from None
        if parts.scheme not in ("http", "https"):
            raise _wrong("it must begin with https:// or http://")
        if not parts.hostname or re.search(r"[\x00-\x20\x7f]", url) or not url.isascii():
            raise _wrong("it has no host, or signs in it that have to be percent-encoded")
        self._tls, self._host = parts.scheme == "https", parts.hostname
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = {"Content-Type": "application/json", "User-Agent": f"cryptometrics/{__version__}"}
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
        self._form = form
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.place = f"{parts.scheme}://{host}" + (f":{self._port}" if self._port else "")
        """Where it is, without what is secret."""
        values = [value for _, value in parse_qsl(parts.query)]
        pieces = re.split("[/&=]", f"{parts.path}&{parts.query}")
        texts = (parts.path, parts.query, parts.password, *pieces, *values)
        self._secrets = sorted({text for text in texts if text and len(text) > 3}, key=len, reverse=True)

    @classmethod
    def configured(cls, settings: Settings) -> Webhook | None:
        """Return the receiver that the settings name, None where they name none."""
        if settings.webhook_url is None:
            return None
        return cls(settings.webhook_url.get_secret_value(), settings.webhook_format)

    def tell(self, notification: Notification) -> Answer:
        """Post a notification; raise NotDeliveredError where it is not known to have arrived."""
        body = slack(notification) if self._form == "slack" else generic(notification)
        return self.post(body, str(notification.key))

    def post(self, body: dict[str, Any], key: str) -> Answer:
        """Post a body of JSON under an idempotency key."""
        connection = self._connection()
        try:
            connection.connect()
            with _limit(connection.sock):
                headers = self._headers | {"Idempotency-Key": key}
                connection.request("POST", self._target, json.dumps(body).encode(), headers)
                response = connection.getresponse()
                said = response.read(READ_BYTES)
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = f"{self.place} does not answer: {self._harmless(_reason(error))}"
            raise NotDeliveredError(why, answered=False) from None
        finally:
            connection.close()
        answer = Answer(
            response.status, self._harmless(response.reason), self._harmless(said.decode(errors="replace"))
        )
        if 200 <= answer.status < 300:
            return answer
        why = f"{self.place} answered {answer.status} {answer.reason}".strip()
        if 300 <= answer.status < 400:
            why += " (redirects are not followed)"
        raise NotDeliveredError(why, answered=True, retry_after_s=_asked_wait(response))

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, self._port, timeout=STEP_S, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=STEP_S)

    def _harmless(self, text: str) -> str:
        """Return what the receiver said without our secrets, in case it repeats them, and fit for a line."""
        for secret in self._secrets:
            text = text.replace(secret, "…").replace(unquote(secret), "…")
        text = escape(" ".join(text.split()))
        return text if len(text) <= 200 else text[:199] + "…"


def generic(notification: Notification) -> dict[str, Any]:
    """Return a notification as JSON of our own: numbers as exact texts, times in UTC."""
    told = notification
    return {
        "id": told.alert_id,
        "status": told.status,
        "rule": told.rule,
        "kind": told.kind,
        "pair": told.pair,
        "severity": told.severity,
        "message": told.message,
        "level": f"{told.level:f}",
        "value": None if told.value is None else f"{told.value:f}",
        "started_at": _text(told.started_at),
        "fired_at": _text(told.fired_at),
        "resolved_at": _text(told.resolved_at),
        "group": told.consumer_group,
    }


def slack(notification: Notification) -> dict[str, Any]:
    """Return a notification as Slack's incoming webhooks, and what is compatible with them, take it."""
    told = notification
    text = f"[{told.status.upper()}] {told.severity} {told.rule}: {told.message}"
    text += f" ({_text(told.resolved_at or told.fired_at)}, group {told.consumer_group})"
    for sign, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign, escaped)
    return {"text": text}


def _text(moment: Any) -> str | None:
    return None if moment is None else iso(moment)


def _wrong(why: str) -> UserError:
    return UserError(f"CRYPTOMETRICS_WEBHOOK_URL is not valid: {why}")


@contextlib.contextmanager
def _limit(connected: socket.socket) -> Iterator[None]:
    """End what goes on over a connection for too long; from another thread, so that nothing can evade it."""

    def cut() -> None:
        with contextlib.suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(WHOLE_S, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _asked_wait(response: http.client.HTTPResponse) -> float:
    """Return the seconds of Retry-After, within reason; a date in it is left to our own waits."""
    text = response.getheader("Retry-After", "")
    return min(float(text), LONGEST_RETRY_AFTER_S) if re.fullmatch(r"[0-9]{1,6}", text) else 0.0
