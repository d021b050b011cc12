"""What a feed says in the end, per pair: what came, what did not, and how good it was."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptometrics.feeds.coinbase.feed import Feed
    from cryptometrics.feeds.coinbase.watch import PairWatch
    from cryptometrics.feeds.publish import Published
    from cryptometrics.gaps import Gap

WIDE = 10_000
"""Columns of a console whose lines are read by a program: nothing is ever cut."""

COLUMNS = {
    "pair": "pair",
    "covered_s": "covered s",
    "ticks": "ticks",
    "gaps": "gaps",
    "trades_missed": "trades\nmissed",
    "longest_silence_s": "longest\nsilence s",
    "reconnects": "recon-\nnects",
    "quote_age_s": "quote\nage s",
    "skew_ms": "skew ms",
    "duplicates": "dupli-\ncates",
    "late": "late",
    "crossed": "crossed",
    "locked": "locked",
}
"""What is said of a pair: the key in the JSON and the head of the column."""


def numbers_of(watch: PairWatch) -> dict[str, Any]:
    """Return what is known of a pair, named as in the JSON; None where there was nothing to measure."""
    quality = watch.quality
    return {
        "pair": watch.pair,
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
    import json  # noqa: PLC0415

    from cryptometrics.gaps import as_fields  # noqa: PLC0415

    report: dict[str, Any] = {
        "pairs": [numbers_of(watch) for watch in feed.pairs.values()],
        "gaps": as_fields(gaps),
        "frames": feed.frames,
        "passed_over": dict(feed.passed_over),
    }
    if published is not None:
        report |= {"sent": published.sent, "acknowledged": published.acknowledged}
    return json.dumps(report, indent=2)


def show(feed: Feed, published: Published | None) -> None:
    """Print a line a pair, and what was sent."""
    from rich import box  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False)
    plain = not console.is_terminal
    if plain:
        console = Console(width=WIDE, highlight=False)
    table = Table(
        box=None if plain else box.SIMPLE_HEAD, padding=(0, 2 if plain else 1, 0, 0), pad_edge=False
    )
    for key, head in COLUMNS.items():
        text = key if plain else head
        table.add_column(text, justify="left" if plain or key == "pair" else "right", no_wrap=plain)
    for watch in feed.pairs.values():
        numbers = numbers_of(watch)
        least, most = numbers["least_skew_ms"], numbers["most_skew_ms"]
        numbers["skew_ms"] = "–" if least is None else f"{least:g}…{most:g}"
        table.add_row(*(Text(_cell(numbers[key])) for key in COLUMNS))
    console.print(table)
    if feed.passed_over:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in feed.passed_over.items())
        click.echo(f"frames passed over: {reasons}")
    if published is not None:
        click.echo(f"sent {published.sent}, acknowledged {published.acknowledged}")


def totals(feed: Feed) -> str:
    """Return how it stands, in words, for the progress line."""
    qualities = [watch.quality for watch in feed.pairs.values()]
    ticks, gaps, missed = (
        sum(getattr(quality, name) for quality in qualities) for name in ("ticks", "gaps", "trades_missed")
    )
    return f"{feed.frames:,} frames, {ticks:,} ticks, {gaps:,} gaps, {missed:,} trades missed"


def quality_totals(feed: Feed) -> dict[str, Any]:
    """Return the quality of all pairs together, for a log event."""
    qualities = [watch.quality for watch in feed.pairs.values()]
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
