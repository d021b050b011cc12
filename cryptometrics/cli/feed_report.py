"""Report what a feed received and missed, per pair, and the quality of the data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from cryptometrics.cli import publish_report
from cryptometrics.text import listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from cryptometrics.feeds.interface import Feed
    from cryptometrics.feeds.quality import Quality
    from cryptometrics.kafka.publisher import Published
    from cryptometrics.market.gap_records import Gap

STACKS = {
    "pair": ("pair",),
    "covered s\nsilence s": ("covered_s", "longest_silence_s"),
    "ticks\nduplicates": ("ticks", "duplicates"),
    "gaps\nmissed": ("gaps", "trades_missed"),
    "reconnects\nlate": ("reconnects", "late"),
    "quote age s\nskew ms": ("quote_age_s", "skew_ms"),
    "crossed\nlocked": ("crossed", "locked"),
}
"""Columns for people: two values share a column, so that the table fits into 80 characters."""


def numbers_of(pair: str, quality: Quality) -> dict[str, Any]:
    """Return the numbers of a pair under their JSON keys; None if there was nothing to measure."""
    return {
        "pair": pair,
        "covered_s": round(quality.covered, 3),
        "ticks": quality.ticks,
        "gaps": quality.gaps,
        "trades_missed": quality.trades_missed,
        "longest_silence_s": round(quality.longest_silence, 3),
        "reconnects": quality.reconnects,
        "has_quote": quality.has_quote,
        "quote_age_s": round(quality.quote_age, 3),
        "least_skew_ms": _milliseconds(quality.least_skew),
        "most_skew_ms": _milliseconds(quality.most_skew),
        "duplicates": quality.duplicates,
        "late": quality.late,
        "crossed": quality.crossed,
        "locked": quality.locked,
    }


def as_text(feed: Feed, gaps: Sequence[Gap], published: Published | None) -> str:
    """Return the report as JSON: the pairs, the gaps in order, and the ignored frames."""
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
    """Print a table, stacked for people, else with one line per pair; then what was sent."""
    from cryptometrics.cli.output import NOTHING, for_people, plain, print_table, short, stacked

    reports = [numbers_of(*each) for each in feed.quality.items()]
    if for_people():
        rows: list[list[str | Text]] = []
        for numbers in reports:
            least, most = numbers["least_skew_ms"], numbers["most_skew_ms"]
            numbers["skew_ms"] = NOTHING if least is None else f"{least:g}…{most:g}"
            values = ([short(numbers[key]) for key in keys] for keys in STACKS.values())
            rows.append([value[0] if len(value) == 1 else stacked(*value, dim=False) for value in values])
        heads = list(STACKS)
        print_table(heads, rows, numbers=heads[1:])
    elif reports:
        print_table(list(reports[0]), [[plain(value) for value in numbers.values()] for numbers in reports])
    if without := [pair for pair, quality in feed.quality.items() if not quality.has_quote]:
        click.echo(f"pairs without a quote at the end: {listed(without)}")
    if feed.ignored:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in feed.ignored.items())
        click.echo(f"frames ignored: {reasons}")
    if published is not None:
        click.echo(publish_report.summary(published))


def totals(feed: Feed) -> str:
    """Return the totals as text for the progress line."""
    qualities = feed.quality.values()
    ticks, gaps, missed = (
        sum(getattr(quality, name) for quality in qualities) for name in ("ticks", "gaps", "trades_missed")
    )
    return f"{feed.frames:,} frames, {ticks:,} ticks, {gaps:,} gaps, {missed:,} trades missed"


def quality_totals(feed: Feed) -> dict[str, Any]:
    """Return the quality of all pairs together for a log event."""
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
