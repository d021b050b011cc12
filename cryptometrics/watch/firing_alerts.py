"""Render the alerts that fire: a line each below the quotes, and a page with everything about them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.market.venues import venue_label
from cryptometrics.watch.terminal_text import age, line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from rich.text import Text

    from cryptometrics.store.live_snapshot import FiringAlert

MAX_AUTHOR = 16
"""Characters of the name of a person who acknowledged an alert."""
SEVERITIES = {"critical": "bold red", "warning": "yellow", "info": "cyan"}


def alert_lines(alerts: Sequence[FiringAlert], limit: int) -> list[Text]:
    """Return one line per firing alert, newest first, and how many there are beyond `limit`."""
    lines = [
        line(
            _severity(alert),
            f"{alert.fired_at:%H:%M:%S} ",
            (_people(alert), "dim"),
            f"{alert.pair or '*'} {alert.rule}: {alert.message}",
        )
        for alert in alerts[:limit]
    ]
    if len(alerts) > limit:
        lines.append(line((f"and {len(alerts) - limit} more firing alerts", "dim")))
    return lines


def alert_page(alerts: Sequence[FiringAlert], at: datetime) -> list[Text]:
    """Return two lines per firing alert, newest first: what it is about, and its message.

    at: the moment of the screen, for how long each has fired.
    """
    lines = []
    for alert in alerts:
        seen = f"acknowledged by {alert.acknowledged_by}" if alert.acknowledged_by else "not acknowledged"
        lines += [
            line(
                _severity(alert),
                (alert.pair or "*", "bold"),
                f"  {alert.rule}",
                (f"  {venue_label(alert.venue)}" if alert.venue else "", "dim"),
                ("  since ", "dim"),
                f"{alert.fired_at:%Y-%m-%d %H:%M:%S}",
                (" for ", "dim"),
                age((at - alert.fired_at).total_seconds()).plain,
            ),
            line(
                " " * 9,
                (seen, "green" if alert.acknowledged_by else "yellow"),
                ("  silenced" if alert.silenced else "", "magenta"),
                f"  {alert.message}",
            ),
        ]
    return lines


def _severity(alert: FiringAlert) -> tuple[str, str]:
    return (f"{alert.severity.upper():<8} ", SEVERITIES.get(alert.severity, "yellow"))


def _people(alert: FiringAlert) -> str:
    """Return whether a person looks after an alert; before its message, which may be cut."""
    seen = f"acknowledged by {alert.acknowledged_by[:MAX_AUTHOR]} " if alert.acknowledged_by else ""
    return ("silenced " if alert.silenced else "") + seen
