"""Render the lines around the quotes: head, lag, outcomes, old quotes and what runs beside. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.market.venues import is_simulated, venue_label
from cryptometrics.text import listed
from cryptometrics.watch.terminal_text import age, line

if TYPE_CHECKING:
    from rich.text import Text

    from cryptometrics.store.live_snapshot import Snapshot
    from cryptometrics.watch.screen_data import ScreenData

HIGH_LAG = 10_000
"""A larger lag is yellow."""
OUTCOMES = {
    "metrics": "stored",
    "rejected": "rejected",
    "gaps": "gaps",
    "duplicates": "duplicates",
    "holes": "holes",
}
"""The outcomes of offsets with their titles."""
PROBLEMS = {"rejected", "gaps"}
"""The outcomes that are yellow where there are any."""


def head(data: ScreenData, *mark: tuple[str, str]) -> Text:
    """Return the line with the time, the venues, the group, the session and the speed.

    mark: text with its style after the time.
    """
    snapshot = data.snapshot
    sessions = sorted({row.session for row in snapshot.rows})
    session = sessions[-1] if len(sessions) == 1 else f"{len(sessions)} sessions" if sessions else "none yet"
    rates = [rate for row in snapshot.rows if (rate := data.history.rate(row.market)) is not None]
    simulated = any(map(is_simulated, data.venues))
    venue = listed(map(venue_label, data.venues)) or "no venue yet"
    speed = f"{sum(rates):,.0f} ticks/s" if rates else "- ticks/s"
    return line(
        (f"{snapshot.at:%H:%M:%S} UTC", "bold"), *mark,
        "  ", (venue, "bold yellow" if simulated else "bold"),
        "  group ", (snapshot.group, "bold"), "  session ", (session, "bold"), f"  {speed}",
    )  # fmt: skip


def pipeline_lines(data: ScreenData, width: int) -> list[Text]:
    """Return the lag, open transactions if there are any, and the outcomes of all offsets."""
    return [_lag(data, width), *_open_transactions(data), _outcomes(data.snapshot)]


def notes(data: ScreenData) -> list[Text]:
    """Return the old quotes, the parts that run beside the screen, and what is not up to date."""
    found = [*_old_quotes(data), *part_lines(data)]
    if data.trouble:
        found.append(line((data.trouble, "bold red")))
    return found


def part_lines(data: ScreenData) -> list[Text]:
    """Return a line for each part that runs beside the screen."""
    return [line((f"{name} ", "dim"), state) for name, state in data.parts]


def _lag(data: ScreenData, width: int) -> Text:
    partitions = data.snapshot.partitions
    lags = {
        part.partition: lag
        for part in partitions
        if (lag := data.lags.get((part.topic, part.partition))) is not None
    }
    if not partitions:
        return line(("lag ", "dim"), "nothing read yet")
    if not lags:
        return line(("lag ", "dim"), "unknown: Kafka has not answered yet")
    total = sum(lags.values())
    parts: list[str | tuple[str, str]] = [
        ("lag ", "dim"),
        (f"{total:,}", "yellow" if total > HIGH_LAG else "bold"),
    ]
    used = len(f"lag {total:,}")
    for number, (partition, lag) in enumerate(sorted(lags.items())):
        text = f"  p{partition} {lag:,}"
        left = len(lags) - number
        more = f"  and {left} more"
        if used + len(text) + (len(more) if left > 1 else 0) > width:
            parts.append((more, "dim"))
            break
        used += len(text)
        parts += [(f"  p{partition} ", "dim"), f"{lag:,}"]
    return line(*parts)


def _open_transactions(data: ScreenData) -> list[Text]:
    """Return a line if open transactions hold messages back, none otherwise."""
    found = {
        part.partition: transaction
        for part in data.snapshot.partitions
        if (transaction := data.open_transactions.get((part.topic, part.partition))) is not None
    }
    if not found:
        return []
    messages = sum(transaction.messages for transaction in found.values())
    since = min(transaction.since for transaction in found.values())
    places = " ".join(f"p{partition}" for partition in sorted(found))
    text = f"{messages:,} messages since {since:%H:%M:%S} UTC in {places}"
    return [line(("held back by open transactions ", "yellow"), text)]


def _outcomes(snapshot: Snapshot) -> Text:
    parts: list[str | tuple[str, str]] = []
    for outcome, title in OUTCOMES.items():
        count = snapshot.total(outcome)
        parts += [
            (f"{'  ' if parts else ''}{title} ", "dim"),
            (f"{count:,}", "yellow" if count and outcome in PROBLEMS else ""),
        ]
    return line(*parts)


def _old_quotes(data: ScreenData) -> list[Text]:
    """Return a line that names the old quotes, if there are any."""
    several = len(data.venues) > 1
    old = [
        f"{row.pair}{f' {venue_label(row.venue)}' if several else ''} {age(data.quote_age(row)).plain}"
        for row in data.snapshot.rows
        if data.is_old(row)
    ]
    return [line((f"old quotes: {listed(old)}", "red"))] if old else []
