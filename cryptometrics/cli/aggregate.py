"""`cryptometrics aggregate`: windows of any size, with Apache Beam."""

from __future__ import annotations

import importlib.util
import json
import logging
import re
import time
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from cryptometrics.cli import completion, options
from cryptometrics.errors import ServiceUnavailableError, UserError
from cryptometrics.times import parse_duration, parse_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptometrics.beam.job import Job
    from cryptometrics.beam.written_windows import WrittenWindows
    from cryptometrics.config import Settings

SUMMARY_S = 5.0
"""Seconds that PostgreSQL has at the end to answer for the summary."""


def _duration(_context: click.Context, option: click.Parameter, text: str | None) -> timedelta | None:
    if text is None:
        return None
    try:
        length = parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not length and option.name != "lateness":
        raise click.BadParameter("must be longer than 0")
    return length


def _bound(_context: click.Context, _option: click.Parameter, text: str | None) -> int | datetime | None:
    """Parse an offset (digits only) or a time."""
    if text is None:
        return None
    if re.fullmatch("[0-9]{1,18}", text):
        return int(text)
    try:
        return parse_time(text, datetime.now(UTC))
    except ValueError as error:
        raise click.BadParameter(f"{error}; digits alone are an offset") from None


@click.command()
@click.option("--window", metavar="DURATION", callback=_duration, help="Length of each window: 5m, 1h, 1d.")
@click.option(
    "--slide", metavar="DURATION", callback=_duration, help="Time between window starts; windows overlap."
)
@click.option(
    "--gap",
    metavar="DURATION",
    callback=_duration,
    help="Session windows: a window ends after this time without a tick.",
)
@click.option(
    "--lateness",
    metavar="DURATION",
    default="10s",
    callback=_duration,
    help="With --follow: how long after its end a window accepts ticks; later ones are only counted.",
)
@click.option(
    "--group",
    default="cryptometrics",
    callback=options.name,
    shell_complete=completion.groups,
    metavar="NAME",
    help="Consumer group to store the windows under.",
)
@click.option(
    "--from",
    "since",
    metavar="BOUND",
    callback=_bound,
    help="Inclusive lower bound: an event time (7d ago, or an ISO time), or an offset per partition.",
)
@click.option("--until", metavar="BOUND", callback=_bound, help="Exclusive upper bound, in the same format.")
@click.option(
    "--source",
    type=click.Choice(["kafka", "postgres"]),
    default="kafka",
    help="Read the topic, or the ticks stored by --group.",
)
@click.option(
    "--into", metavar="NAME", callback=options.name, help="Name of the windows. [default: their length]"
)
@click.option(
    "--follow", is_flag=True, help="Keep running and read new ticks; needs a streaming runner such as Flink."
)
@click.option(
    "--idle",
    metavar="DURATION",
    default="60s",
    callback=_duration,
    help="With --follow: a partition without ticks for this time no longer holds windows open.",
)
@click.option(
    "--readers",
    type=click.IntRange(1),
    help="Number of readers. [default: one per partition; with --follow Beam's --parallelism]",
)
@options.as_json
@click.argument("beam", nargs=-1, type=click.UNPROCESSED, metavar="[-- BEAM OPTIONS]")
def aggregate(
    *,
    window: timedelta | None,
    slide: timedelta | None,
    gap: timedelta | None,
    lateness: timedelta,
    group: str,
    since: int | datetime | None,
    until: int | datetime | None,
    source: str,
    into: str | None,
    follow: bool,
    idle: timedelta,
    readers: int | None,
    as_json: bool,
    beam: tuple[str, ...],
) -> None:
    """Aggregate ticks into windows of any size, in crypto_windows.

    `process` maintains the minutes; use this for other windows and for backfills. It needs Apache Beam (the
    extra `beam`); options after -- are passed on to it. Aggregating the same ticks again changes nothing.

    \b
    Example:
      cryptometrics aggregate --window 5m --slide 1m --group g1
    """
    from cryptometrics.beam.job import Job, name_of, shape_of

    shape = shape_of(window, slide, gap)
    if follow and gap is not None:
        raise UserError(
            "--gap cannot be combined with --follow: rows of sessions that merge later would stay"
        )
    if follow and source == "postgres":
        raise UserError("--follow reads the topic: remove --source postgres")
    if follow and until is not None:
        raise UserError("--follow has no end: remove --until")
    if source == "postgres" and (isinstance(since, int) or isinstance(until, int)):
        raise UserError("offsets are for the topic: with --source postgres, give --from and --until as times")
    job = Job(
        group=group,
        name=name_of(shape, into),
        shape=shape,
        lateness=lateness,
        since=since if isinstance(since, datetime) else None,
        until=until if isinstance(until, datetime) else None,
        follow=follow,
        idle=idle.total_seconds(),
        continues=any(word.partition("=")[0] == "--savepoint_path" for word in beam),
    )
    if job.since is not None and job.until is not None and job.since >= job.until:
        raise UserError(f"--from ({job.since:%Y-%m-%d %H:%M:%S}) is not before --until: swap them")
    if importlib.util.find_spec("apache_beam") is None:
        raise UserError("aggregate needs Apache Beam: pip install 'cryptometrics[beam]'")
    first = since if isinstance(since, int) else None
    last = until if isinstance(until, int) else None
    begun = time.monotonic()
    found, windows = _run(job, source, first, last, readers, beam)
    if not any(found[name] for name in _READ):
        if not follow:
            place = f"group {group} has stored" if source == "postgres" else "the topic has"
            raise UserError(f"{place} no ticks in these bounds")
        if not windows:
            click.echo("no window was written before the job was stopped", err=True)
            windows = None
    _report(job, found, windows, time.monotonic() - begun, as_json=as_json)


def _run(
    job: Job, source: str, first: int | None, last: int | None, readers: int | None, beam: tuple[str, ...]
) -> tuple[dict[str, int], list[WrittenWindows] | None]:
    """Run the job; return its counters, and the windows that it wrote, if PostgreSQL can list them now."""
    # Beam logs a lot and wraps errors in tracebacks of its own; the command prints one line instead.
    if not click.get_current_context().find_root().params.get("verbose"):
        logging.disable(logging.CRITICAL)
    from cryptometrics import config
    from cryptometrics.beam.launch import check_name, options_of, run
    from cryptometrics.beam.written_windows import database_time, written_counts, written_windows
    from cryptometrics.cli.connections import database
    from cryptometrics.cli.progress import Progress
    from cryptometrics.cli.signals import stopping
    from cryptometrics.store.choose_source import resolve_group
    from cryptometrics.store.connection import connect
    from cryptometrics.store.database_errors import explaining

    settings = config.load()
    beam_options = options_of(job, beam, readers)
    with database(settings) as connection:
        check_name(connection, job)
        begun = database_time(connection)
        if source == "postgres":
            resolve_group(connection, job.group)
    transform, poll = _source(settings, job, source, first, last, readers)
    with Progress() as progress:
        shown_at, shown = time.monotonic(), 0

        def show(found: dict[str, int]) -> None:
            nonlocal shown_at, shown
            if progress.due():
                now, offsets = time.monotonic(), sum(found[name] for name in _READ)
                rate = max(offsets - shown, 0) / max(now - shown_at, 1e-9)
                shown_at, shown = now, offsets
                progress.show(f"{rate:,.0f} ticks/s, {_in_words(found)}")

        if job.follow:

            def look() -> dict[str, int]:
                with connect(settings, timeout=1) as connection, explaining():
                    return written_counts(connection, job, begun)

            with stopping() as stop:
                found = run(
                    job,
                    transform,
                    beam_options,
                    stop=stop,
                    show=show,
                    look=look,
                    poll=poll,
                )
        else:
            found = run(job, transform, beam_options, stop=lambda: False, show=show)
    try:
        with connect(settings, timeout=SUMMARY_S) as connection, explaining():
            return found, written_windows(connection, job, begun)
    except ServiceUnavailableError as error:  # the work is done
        click.echo(f"the windows written are not listed: {error}", err=True)
        return found, None


def _source(
    settings: Settings, job: Job, source: str, first: int | None, last: int | None, readers: int | None
) -> tuple[Any, Callable[[], None]]:
    """Return where the ticks come from, and a function that reports what holds back its readers."""
    if source == "postgres":
        from cryptometrics.beam.postgres_source import FromPostgres

        return FromPostgres(job), lambda: None
    from cryptometrics.beam.kafka_source import FromKafka
    from cryptometrics.beam.offset_ranges import topic_shares
    from cryptometrics.beam.transaction_reports import TransactionReports
    from cryptometrics.cli.connections import wait_for_kafka

    wait_for_kafka(settings)
    reports = TransactionReports(settings, job.group)
    if not job.follow:
        reports.check()
    shares = topic_shares(settings, job, first=first, last=last, count=None if job.follow else readers)
    return FromKafka(job, shares), reports.poll


_COLUMNS = ("venue", "pair", "windows", "complete", "from", "until")
"""What is reported of `WrittenWindows`, in the order of its fields."""
_READ = ("ticks", "duplicates", "rejected", "outside")


def _in_words(found: dict[str, int]) -> str:
    words = [f"{found['ticks']:,} ticks"]
    words += [
        f"{found[name]:,} {label}"
        for name, label in (
            ("duplicates", "duplicates"),
            ("rejected", "rejected"),
            ("outside", "outside the range"),
            ("too_late", "too late"),
        )
        if found.get(name)
    ]
    return ", ".join(words)


def _report(
    job: Job, found: dict[str, int], windows: list[WrittenWindows] | None, seconds: float, *, as_json: bool
) -> None:
    from cryptometrics.cli.output import exact, print_table, short

    if as_json:
        summary = {"group": job.group, "name": job.name, **found, "seconds": round(seconds, 3)}
        rows = [dict(zip(_COLUMNS, map(exact, astuple(row)), strict=True)) for row in windows or ()]
        click.echo(json.dumps(summary | {"windows": None if windows is None else rows}))
        return
    click.echo(
        f"group {job.group}, windows {job.name}: {_in_words(found)}, {found['rows']:,} windows, "
        f"{found['ticks'] / seconds:,.0f} ticks/s"
    )
    if windows:
        lines = [[short(value) for value in astuple(row)] for row in windows]
        print_table(_COLUMNS, lines, numbers={"windows", "complete"})
    elif windows is not None:
        click.echo("no window has changed: all of them were stored already")
