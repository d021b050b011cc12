"""Send messages to the channels of the rule file with Apprise, which knows the services' protocols.

A channel's URL has passwords and tokens, and Apprise logs parts of it. So its log is not shown: an error
says the channel's name and the status of the answer, and nothing else.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptometrics.alerts.toml_lines import RuleProblem, RulesError
from cryptometrics.config.env_file import read_file
from cryptometrics.errors import UserError
from cryptometrics.notify.channel_messages import message_of
from cryptometrics.notify.webhook import NotDeliveredError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cryptometrics.alerts.channels import Channel
    from cryptometrics.notify.outbox import Notification

MAX_DIGEST_CHARACTERS = 8_000
"""Characters of a digest where the service would take more: nobody reads a longer one."""

_is_scheme = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}").fullmatch
_status_in = re.compile(r"\berror=(\d{3})\b").search
_severities = {"info": "info", "warning": "warning", "critical": "failure"}


class ChannelTarget:
    """A channel with its URL: one receiver of one service."""

    def __init__(self, channel: Channel, service: Any) -> None:
        """service: Apprise's object for the URL."""
        self.channel, self._service = channel, service
        self.name = channel.name

    @property
    def scheme(self) -> str:
        """The URL's scheme, such as mailtos: the part of it that is never secret."""
        return str(self._service.schema)

    def send(self, notifications: Sequence[Notification]) -> None:
        """Send one message; raise NotDeliveredError unless the service has accepted it."""
        message = message_of(notifications, min(self._service.body_maxlen, MAX_DIGEST_CHARACTERS))
        last = notifications[-1]
        kind = "success" if last.status == "resolved" else _severities[last.severity]
        with _WarningsOfThread() as warnings:
            try:
                accepted = self._service.notify(title=message.title, body=message.body, notify_type=kind)
            except Exception as error:  # noqa: BLE001  (of any service; its text may have the URL)
                raise NotDeliveredError(
                    f"channel {self.name} failed: {type(error).__name__}", answered=False
                ) from None
        if accepted:
            return
        if status := next(filter(None, map(_status_in, warnings.texts)), None):
            raise NotDeliveredError(f"channel {self.name} answered {status[1]}", answered=True)
        if any("onnection error" in text for text in warnings.texts):
            raise NotDeliveredError(f"channel {self.name} does not answer", answered=False)
        raise NotDeliveredError(f"channel {self.name} did not accept the message", answered=True)


def open_channels(channels: Sequence[Channel]) -> tuple[ChannelTarget, ...]:
    """Return the targets of channels; raise RulesError with every URL that is missing or not valid.

    Raises UserError if there are channels and the extra is not installed.
    """
    if not channels:
        return ()
    try:
        import apprise
    except ImportError:
        raise UserError("[[channel]] needs Apprise: pip install 'cryptometrics[notify]'") from None
    asset = apprise.AppriseAsset(storage_mode=apprise.PersistentStoreMode.MEMORY, app_id="cryptometrics")
    schemes = set(_schemes(apprise))
    variables: Mapping[str, str] = read_file() | os.environ
    problems: list[RuleProblem] = []
    targets: list[ChannelTarget] = []
    for channel in channels:
        try:
            url = _url(channel, variables)
            service = _service(apprise, asset, schemes, url)
        except ValueError as error:
            problems.append(RuleProblem(channel.line, channel.source, str(error)))
            continue
        service.overflow_mode = apprise.OverflowMode.TRUNCATE
        targets.append(ChannelTarget(channel, service))
    if problems:
        raise RulesError(problems)
    return tuple(targets)


def _schemes(apprise: Any) -> Iterable[str]:
    """Return the schemes of all services; `Any`, because this part of Apprise has no types."""
    schemes: Iterable[str] = apprise.NotificationManager().schemas()
    return schemes


def _url(channel: Channel, variables: Mapping[str, str]) -> str:
    """Return a channel's URL; raise ValueError if it is missing."""
    if channel.source == "url":
        return channel.value.strip()
    if channel.source == "url_env":
        url = variables.get(channel.value, "").strip()
        if not url:
            raise ValueError(f"the variable {channel.value} is not set, in the environment or in .env")
        return url
    try:
        url = Path(channel.value).expanduser().read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"cannot read {channel.value}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"cannot read {channel.value}: it is not UTF-8 text") from None
    if not url:
        raise ValueError(f"{channel.value} is empty")
    return url


def _service(apprise: Any, asset: Any, schemes: Iterable[str], url: str) -> Any:
    """Return Apprise's object for a URL; raise ValueError, without the URL in its text."""
    scheme, separator, _ = url.partition("://")
    if not separator or not _is_scheme(scheme):
        raise ValueError("this is not a URL such as mailtos://… or slack://…")
    if scheme.lower() not in schemes:
        raise ValueError(f"{scheme}:// is no service that Apprise knows")
    with _WarningsOfThread():
        service = apprise.Apprise.instantiate(url, asset=asset)
    if service is None:
        raise ValueError(f"the URL is not complete: see Apprise's documentation of {scheme}://")
    return service


class _WarningsOfThread(logging.Handler):
    """Collects what Apprise logs in this thread within a block, and keeps it from the process's own log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []
        self._thread = threading.get_ident()

    def __enter__(self) -> _WarningsOfThread:
        logger = logging.getLogger("apprise")
        logger.propagate = False
        logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("apprise").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if threading.get_ident() == self._thread:
            self.texts.append(record.getMessage())
