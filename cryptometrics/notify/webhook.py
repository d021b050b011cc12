"""Deliver a notification to a webhook: one POST with time limits, without redirects.

The URL often *is* the secret, so only its scheme and host appear in messages.
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
    from datetime import datetime

    from cryptometrics.config import Settings
    from cryptometrics.notify.outbox import Notification

STEP_LIMIT_S = 10.0
"""Limit for connecting, and for each wait for bytes."""
TOTAL_LIMIT_S = 20.0
"""Limit for the whole exchange: a receiver that sends a byte now and then is cut off."""
MAX_BODY_BYTES = 2_048
"""Bytes of the answer's body that are read."""
MAX_RETRY_AFTER_S = 300.0


class NotDeliveredError(Exception):
    """The receiver did not accept a notification; the text has the reason and no secret."""

    def __init__(self, why: str, *, answered: bool, retry_after_s: float = 0.0) -> None:
        super().__init__(why)
        self.answered = answered
        """Whether the receiver answered at all."""
        self.retry_after_s = retry_after_s
        """The receiver's Retry-After, in seconds."""


@dataclass(frozen=True)
class Answer:
    """The receiver's answer."""

    status: int
    reason: str
    body: str


class Webhook:
    """A receiver of notifications."""

    def __init__(self, url: str, form: str) -> None:
        """url: http or https; form: generic or slack. Raises UserError, without the URL in its text."""
        try:
            parts = urlsplit(url)
            self._port = parts.port
        except ValueError:
            raise _invalid("it is not a URL") from None
        if parts.scheme not in ("http", "https"):
            raise _invalid("it must begin with https:// or http://")
        if not parts.hostname or re.search(r"[\x00-\x20\x7f]", url) or not url.isascii():
            raise _invalid("it has no host, or characters that must be percent-encoded")
        self._tls, self._host = parts.scheme == "https", parts.hostname
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = {"Content-Type": "application/json", "User-Agent": f"cryptometrics/{__version__}"}
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
        self._form = form
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.address = f"{parts.scheme}://{host}" + (f":{self._port}" if self._port else "")
        """Scheme and host, without anything secret."""
        values = [value for _, value in parse_qsl(parts.query)]
        pieces = re.split("[/&=]", f"{parts.path}&{parts.query}")
        texts = (parts.path, parts.query, parts.password, *pieces, *values)
        self._secrets = sorted({text for text in texts if text and len(text) > 3}, key=len, reverse=True)

    @classmethod
    def configured(cls, settings: Settings) -> Webhook | None:
        """Return the configured receiver, None if there is none."""
        if settings.webhook_url is None:
            return None
        return cls(settings.webhook_url.reveal(), settings.webhook_format)

    def send(self, notification: Notification) -> Answer:
        """Post a notification; raise NotDeliveredError unless its delivery is certain."""
        body = slack(notification) if self._form == "slack" else generic(notification)
        return self.post(body, str(notification.key))

    def post(self, body: dict[str, Any], key: str) -> Answer:
        """Post JSON with an idempotency key."""
        connection = self._connection()
        try:
            connection.connect()
            with _limit(connection.sock):
                headers = self._headers | {"Idempotency-Key": key}
                connection.request("POST", self._target, json.dumps(body).encode(), headers)
                response = connection.getresponse()
                content = response.read(MAX_BODY_BYTES)
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = f"{self.address} does not answer: {self._redacted(_reason(error))}"
            raise NotDeliveredError(why, answered=False) from None
        finally:
            connection.close()
        answer = Answer(
            response.status, self._redacted(response.reason), self._redacted(content.decode(errors="replace"))
        )
        if 200 <= answer.status < 300:
            return answer
        why = f"{self.address} answered {answer.status} {answer.reason}".strip()
        if 300 <= answer.status < 400:
            why += " (redirects are not followed)"
        raise NotDeliveredError(why, answered=True, retry_after_s=_retry_after(response))

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, self._port, timeout=STEP_LIMIT_S, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=STEP_LIMIT_S)

    def _redacted(self, text: str) -> str:
        """Return the receiver's text in one line, without secrets of the URL that it may repeat."""
        for secret in self._secrets:
            text = text.replace(secret, "…").replace(unquote(secret), "…")
        text = escape(" ".join(text.split()))
        return text if len(text) <= 200 else text[:199] + "…"


def generic(alert: Notification) -> dict[str, Any]:
    """Return a notification in the generic format: numbers as exact strings, times in UTC."""
    return {
        "id": alert.alert_id,
        "status": alert.status,
        "rule": alert.rule,
        "kind": alert.kind,
        "venue": alert.venue or None,
        "pair": alert.pair,
        "severity": alert.severity,
        "message": alert.message,
        "level": f"{alert.level:f}",
        "value": None if alert.value is None else f"{alert.value:f}",
        "started_at": _text(alert.started_at),
        "fired_at": _text(alert.fired_at),
        "resolved_at": _text(alert.resolved_at),
        "group": alert.consumer_group,
    }


def slack(alert: Notification) -> dict[str, Any]:
    """Return a notification in the format of Slack's incoming webhooks."""
    text = f"[{alert.status.upper()}] {alert.severity} {alert.rule}: {alert.message}"
    text += f" ({_text(alert.resolved_at or alert.fired_at)}, group {alert.consumer_group})"
    for character, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(character, escaped)
    return {"text": text}


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)


def _invalid(why: str) -> UserError:
    return UserError(f"CRYPTOMETRICS_WEBHOOK_URL is not valid: {why}")


@contextlib.contextmanager
def _limit(connected: socket.socket) -> Iterator[None]:
    """Shut a connection down after the total limit; a timer thread also ends a blocking call."""

    def shut_down() -> None:
        with contextlib.suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(TOTAL_LIMIT_S, shut_down)
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


def _retry_after(response: http.client.HTTPResponse) -> float:
    """Return the seconds of Retry-After, up to the limit; 0 if it has a date."""
    text = response.getheader("Retry-After", "")
    return min(float(text), MAX_RETRY_AFTER_S) if re.fullmatch(r"[0-9]{1,6}", text) else 0.0
