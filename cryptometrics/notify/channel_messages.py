"""The text of a channel's message: one alert, or many in one message. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.times import iso

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptometrics.notify.outbox import Notification

RESERVE = 60
"""Characters kept for the line that says how many alerts are not listed."""


class Message(NamedTuple):
    """What a person reads."""

    title: str
    body: str


def message_of(notifications: Sequence[Notification], max_characters: int) -> Message:
    """Return the message about one notification, or the digest of several, in order.

    max_characters: the longest body that the service takes. A digest that is longer lists the first alerts
    and counts the others.
    """
    first = notifications[0]
    if len(notifications) == 1:
        body = f"{first.message}\n{_time(first)}, group {first.consumer_group}"
        return Message(f"[{first.status.upper()}] {first.severity} {first.rule}", body[:max_characters])
    lines: list[str] = []
    left = max_characters - RESERVE
    for each in notifications:
        line = f"{_time(each)} {each.status.upper()} {each.severity} {each.rule}: {each.message}"
        left -= len(line) + 1
        if left < 0:
            break
        lines.append(line)
    if others := len(notifications) - len(lines):
        lines.append(f"and {others:,} more: see `cryptometrics alerts list`")
    return Message(_summary(notifications), "\n".join(lines))


def _summary(notifications: Sequence[Notification]) -> str:
    firing = sum(each.status == "firing" for each in notifications)
    critical = sum(each.status == "firing" and each.severity == "critical" for each in notifications)
    parts = [f"{firing:,} firing" + (f" ({critical:,} critical)" if critical else "")] if firing else []
    if resolved := len(notifications) - firing:
        parts.append(f"{resolved:,} resolved")
    return f"[{len(notifications):,} ALERTS] {', '.join(parts)}, group {notifications[0].consumer_group}"


def _time(notification: Notification) -> str:
    return iso(notification.resolved_at or notification.fired_at)
