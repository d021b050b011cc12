"""`up` and `down`: Kafka and PostgreSQL on this machine, without Docker."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import click

from cryptometrics.cli.progress import Progress
from cryptometrics.cli.status import TITLES
from cryptometrics.errors import CryptometricsError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cryptometrics.config import Settings
    from cryptometrics.local.services import Services


@click.command()
def up() -> None:
    """Start Kafka and PostgreSQL on this machine, without Docker.

    The first start downloads Kafka (43 MiB).

    \b
    Example:
      cryptometrics up
    """
    from cryptometrics.config import load

    settings = load()
    services = _services(settings)
    with Progress() as progress, last_words():
        services.up(progress.show)
    click.echo(f"Kafka       {services.bootstrap_servers}")
    click.echo(f"PostgreSQL  {services.postgres_uri}")
    for name, is_local in (
        ("Kafka", settings.uses_local_kafka),
        ("PostgreSQL", settings.uses_local_postgres),
    ):
        if not is_local:
            click.echo(f"note: the settings name another {name}; commands use that one", err=True)
    click.echo("next: cryptometrics init-db", err=True)


@click.command()
@click.option("--purge", is_flag=True, help="Delete the data of both; asks first.")
@click.option("--yes", is_flag=True, help="Do not ask before --purge.")
def down(purge: bool, yes: bool) -> None:
    """Stop the local Kafka and PostgreSQL and keep their data.

    \b
    Example:
      cryptometrics down
    """
    from cryptometrics.config import load

    if yes and not purge:
        raise click.UsageError("--yes needs --purge: only that asks a question")
    if purge and not yes and not sys.stdin.isatty():
        raise UserError("--purge asks before it deletes, but there is no terminal: add --yes")
    services = _services(load())
    if purge and not yes and not _may_purge(services):
        click.echo("nothing was stopped or deleted", err=True)
        return
    stopped = services.purge() if purge else services.down()
    names = named(stopped)
    kept = "deleted" if purge else "kept"
    click.echo(
        f"{f'stopped {names}' if names else 'nothing was running'}; the data in {services.home} was {kept}",
        err=True,
    )


def _services(settings: Settings) -> Services:
    from cryptometrics.local.services import Services

    return Services(settings.home)


@contextlib.contextmanager
def last_words() -> Iterator[None]:
    """Print the last log lines of a service that failed, above the error."""
    try:
        yield
    except CryptometricsError as error:
        for note in getattr(error, "__notes__", ()):
            click.echo(note, err=True)
        raise


def named(names: Iterable[str]) -> str:
    """Return the names of services and commands for a sentence: `web, Kafka and PostgreSQL`."""
    *first, last = [TITLES.get(name, name) for name in names] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _may_purge(services: Services) -> bool:
    from rich.filesize import decimal

    size = decimal(sum(state.bytes_on_disk for state in services.status().values()))
    return click.confirm(f"Delete all data of Kafka and PostgreSQL in {services.home} ({size})?", err=True)
