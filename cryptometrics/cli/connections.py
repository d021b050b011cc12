"""Connect a command to its services: wait for them at the start, and report each wait on stderr."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from cryptometrics import config, log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import psycopg

    from cryptometrics.config import Settings
    from cryptometrics.kafka.topic import Topic
    from cryptometrics.store.choose_source import Choice


def waiting(service: str) -> Callable[[BaseException, float], None]:
    """Return a notice for `retry.retrying`: report the service, the error and when the next attempt is."""
    from cryptometrics.cli.progress import report_state

    def notice(error: BaseException, seconds: float) -> None:
        lines = str(error).strip().splitlines()
        reason = lines[-1].strip() if lines else repr(error)
        report_state(f"waiting for {service} ({reason})")
        log.get_logger().warning(
            "service_unavailable",
            service=service,
            error=reason,
            next_attempt_s=round(seconds, 1),
        )

    return notice


def wait_for_kafka(settings: Settings) -> None:
    """Wait until Kafka answers; raise ServiceUnavailableError after `CRYPTOMETRICS_WAIT`."""
    from cryptometrics.kafka import admin_requests

    admin_requests.wait_for_kafka(settings, waiting("Kafka"))


def find_topic(settings: Settings) -> Topic:
    """Wait for Kafka and return the topic; raise UserError if it does not exist."""
    from cryptometrics.kafka.topic import describe_topic

    wait_for_kafka(settings)
    return describe_topic(settings)


@contextlib.contextmanager
def database(settings: Settings | None = None) -> Iterator[psycopg.Connection]:
    """Connect to PostgreSQL; within the block, its errors become errors for the user."""
    from cryptometrics.store.connection import connect
    from cryptometrics.store.database_errors import explaining

    with connect(settings or config.load(), notice=waiting("PostgreSQL")) as connection, explaining():
        yield connection


@contextlib.contextmanager
def stored() -> Iterator[psycopg.Connection]:
    """Connect to PostgreSQL and read from one snapshot within the block."""
    from cryptometrics.store.connection import snapshot

    with database() as connection, snapshot(connection):
        yield connection


@contextlib.contextmanager
def stored_group(group: str | None, venue: str | None = None) -> Iterator[tuple[psycopg.Connection, str]]:
    """Read all venues of one group from one snapshot; yield the connection and the group's name.

    If the group had to be chosen, a line on stderr names it. It is printed after the block, so that an error
    remains the only line. Raises UserError if the group has no data for the given venue.
    """
    from cryptometrics.store.choose_source import check_venue, resolve_group

    with stored() as connection:
        chosen = resolve_group(connection, group)
        check_venue(connection, chosen.name, venue)
        yield connection, chosen.name
    report_choice(chosen)


@contextlib.contextmanager
def stored_venue(
    group: str | None,
    venue: str | None,
    pairs: Sequence[str],
    session: str | None,
    *,
    with_imported: bool = False,
) -> Iterator[tuple[psycopg.Connection, str, str]]:
    """Read one venue of one group from one snapshot; yield the connection, the group and the venue.

    pairs, session, with_imported: what will be read, see `resolve_venue`. Reports choices like
    `stored_group`.
    """
    from cryptometrics.store.choose_source import resolve_group, resolve_venue

    with stored() as connection:
        chosen = resolve_group(connection, group, with_imported=with_imported)
        at = resolve_venue(
            connection, chosen.name, venue, pairs=pairs, session=session, with_imported=with_imported
        )
        yield connection, chosen.name, at.name
    report_choice(chosen, at)


def report_choice(*choices: Choice) -> None:
    """Report on stderr what had to be chosen."""
    for choice in choices:
        if choice.note:
            click.echo(choice.note, err=True)
