"""Lines of text for the terminal: escaped, in one line each, with the colours that all pages share. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from cryptometrics.text import escape
from cryptometrics.watch.screen_data import SLOW_S, STALE_S

if TYPE_CHECKING:
    from decimal import Decimal


def line(*parts: str | tuple[str, str]) -> Text:
    """Return parts, each plain or with a style, as one line that ends in "…" where it does not fit."""
    text = Text(no_wrap=True, overflow="ellipsis")
    for part in parts:
        content, style = (part, "") if isinstance(part, str) else part
        text.append(escape(content), style)
    return text


def age(seconds: float) -> Text:
    """Return the age of a quote, in its colour."""
    style = "red" if seconds >= STALE_S else "yellow" if seconds >= SLOW_S else "green"
    if seconds < 60:
        text = f"{max(seconds, 0):.1f}s"
    elif seconds < 3600:
        text = f"{seconds / 60:.0f}m"
    elif seconds < 48 * 3600:
        text = f"{seconds / 3600:.0f}h"
    else:
        text = f"{seconds / 86400:.0f}d"
    return Text(text, style)


def bps(part: Decimal, mid: Decimal) -> float:
    """Return a part of a mid price in basis points, for display only."""
    return float(part / mid) * 10_000


def time_span(seconds: float) -> str:
    """Return the length of a period, such as `45 s` or `15 min`."""
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.0f} min"
