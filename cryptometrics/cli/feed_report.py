"""What a feed says in the end, per pair: what came, what did not, and how good it was."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptometrics.feeds.interface import Feed
    from cryptometrics.feeds.quality import Quality
    from cryptometrics.kafka.publisher import Published
    from cryptometrics.market.gap_records import Gap

WIDE = 10_000
"""Columns of a console whose lines are read by a program: nothing is ever cut."""

STACKS = {
    "pair": ("pair",),
    "covered s\nsilence s": ("covered_s", "longest_silence_s"),
    "ticks\nduplicates": ("ticks", "duplicates"),
    "gaps\nmissed": ("gaps", "trades_missed"),
    "reconnects\nlate": ("reconnects", "late"),
    "quote age s\nskew ms": ("quote_age_s", "skew_ms"),
    "crossed\nlocked": ("crossed", "locked"),
}
"""On a terminal two values share a column, one above the other, so that 80 characters hold them."""


def numbers_of(pair: str, quality: Quality) -> dict[str, Any]:
    """Return what is known of a pair, named as in the JSON; None where there was nothing to measure."""
    return {
        "pair": pair,
        "covered_s": round(quality.covered, 3),
        "ticks": quality.ticks,
        "gaps": quality.gaps,
        "trades_missed": quality.trades_missed,
        "longest_silence_s": round(quality.longest_silence, 3),
        "reconnects": quality.reconnects,
        "quote_age_s": round(quality.quote_age, 3),
        "least_skew_ms": _milliseconds(quality.least_skew),
        "most_skew_ms": _milliseconds(quality.most_skew),
        "duplicates": quality.duplicates,
        "late": quality.late,
        "crossed": quality.crossed,
        "locked": quality.locked,
    }


def as_text(feed: Feed, gaps: Sequence[Gap], published: Published | None) -> str:
    """Return the report as JSON: the pairs, the gaps in their order, and the frames of no use."""
    import json

    from cryptometrics.market.gap_records import as_fields

    report: dict[str, Any] = {
        "pairs": [numbers_of(*each) for each in feed.quality.items()],
        "gaps": as_fields(gaps),
        "frames": feed.frames,
        "passed_over": dict(feed.ignored),
    }
    if published is not None:
        report |= {"sent": published.sent, "acknowledged": published.acknowledged}
    return json.dumps(report, indent=2)


def show(feed: Feed, published: Published | None) -> None:
    """Print a table: for a person on a terminal, else one line a pair; and what was sent."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if console.is_terminal:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for head in STACKS:
            table.add_column(head, justify="left" if head == "pair" else "right", overflow="fold")
        for each in feed.quality.items():
            numbers = numbers_of(*each)
            least, most = numbers["least_skew_ms"], numbers["most_skew_ms"]
            numbers["skew_ms"] = "–" if least is None else f"{least:g}…{most:g}"
            table.add_row(*("\n".join(_cell(numbers[key]) for key in keys) for keys in STACKS.values()))
    else:
        console = Console(width=WIDE, highlight=False)
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for number, each in enumerate(feed.quality.items()):
            numbers = numbers_of(*each)
            if not number:
                for key in numbers:
                    table.add_column(key, no_wrap=True)
            table.add_row(*(Text("–" if value is None else str(value)) for value in numbers.values()))
    console.print(table)
    if feed.ignored:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in feed.ignored.items())
        click.echo(f"frames passed over: {reasons}")
    if published is not None:
        click.echo(f"sent {published.sent}, acknowledged {published.acknowledged}")


def totals(feed: Feed) -> str:
    """Return how it stands, in words, for the progress line."""
    qualities = feed.quality.values()
    ticks, gaps, missed = (
        sum(getattr(quality, name) for quality in qualities) for name in ("ticks", "gaps", "trades_missed")
    )
    return f"{feed.frames:,} frames, {ticks:,} ticks, {gaps:,} gaps, {missed:,} trades missed"


def quality_totals(feed: Feed) -> dict[str, Any]:
    """Return the quality of all pairs together, for a log event."""
    qualities = feed.quality.values()
    names = ("ticks", "gaps", "trades_missed", "duplicates", "late", "crossed", "locked", "reconnects")
    summed = {name: sum(getattr(quality, name) for quality in qualities) for name in names}
    least = min((quality.least_skew for quality in qualities), default=math.inf)
    most = max((quality.most_skew for quality in qualities), default=-math.inf)
    oldest = max((quality.quote_age for quality in qualities), default=0.0)
    return summed | {
        "quote_age_s": round(oldest, 3),
        "least_skew_ms": _milliseconds(least),
        "most_skew_ms": _milliseconds(most),
    }


def _milliseconds(seconds: float) -> float | None:
    return round(seconds * 1000, 1) if math.isfinite(seconds) else None


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
