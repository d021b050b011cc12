"""Connect a command to its services: wait for them at the start, and report each wait on stderr."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from cryptometrics import config, log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from cryptometrics.config import Settings
    from cryptometrics.kafka.topic import Topic


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


def choose_group(connection: psycopg.Connection, group: str | None) -> str:
    """Return the group to read, and report on stderr which one it is unless the user named it."""
    from cryptometrics.store import stored_sessions

    chosen = stored_sessions.resolve_group(connection, group)
    if chosen.note:
        click.echo(chosen.note, err=True)
    return chosen.name


@contextlib.contextmanager
def stored_group(group: str | None) -> Iterator[tuple[psycopg.Connection, str]]:
    """Read one group from one snapshot; yield the connection and the group's name.

    The report on stderr which group it is follows the block, so that an error stays the only line.
    """
    from cryptometrics.store import stored_sessions

    with stored() as connection:
        chosen = stored_sessions.resolve_group(connection, group)
        yield connection, chosen.name
    if chosen.note:
        click.echo(chosen.note, err=True)
