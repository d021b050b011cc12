"""`cryptometrics status`: whether Kafka and PostgreSQL run, and whether the schema is up to date."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from cryptometrics.cli import options
from cryptometrics.errors import CryptometricsError

if TYPE_CHECKING:
    from rich.text import Text

    from cryptometrics.config import Settings

ANSWER_S = 3.0
"""Seconds a service has to answer: the question is whether it does now."""
TITLES = {"kafka": "Kafka", "postgres": "PostgreSQL"}


@dataclass
class _Service:
    """What is known of a service; most of it only if it is a local one."""

    local: bool
    running: bool = False
    address: str | None = None
    version: str | None = None
    pid: int | None = None
    uptime_seconds: float | None = None
    bytes_on_disk: int | None = None
    log: str | None = None
    problem: str | None = None

    @property
    def is_stopped(self) -> bool:
        """Whether nobody has to be asked: a local service that is not running."""
        return self.local and not self.running


@dataclass
class _Schema:
    """Whether the schema is up to date; None if that is unknown."""

    up_to_date: bool | None = None
    pending: list[str] | None = None
    problem: str | None = None


@click.command()
@options.as_json
def status(as_json: bool) -> None:
    """Show whether Kafka and PostgreSQL run, where, and whether the schema is up to date.

    Exit code 1 if one of them is down or the schema is behind.

    \b
    Example:
      cryptometrics status --json
    """
    from cryptometrics.config import load

    settings = load()
    settings = settings.model_copy(update={"wait": min(settings.wait, ANSWER_S)})
    services, schema = _services(settings), _Schema()
    _ask_kafka(settings, services["kafka"])
    _ask_postgres(settings, services["postgres"], schema)
    if as_json:
        click.echo(json.dumps(_as_dict(services, schema), indent=2))
    else:
        _show(services, schema)
    if schema.problem or any(service.problem for service in services.values()):
        raise click.exceptions.Exit(1)


def _services(settings: Settings) -> dict[str, _Service]:
    """Return both services; of the local ones what this machine knows."""
    uses_local = {"kafka": settings.uses_local_kafka, "postgres": settings.uses_local_postgres}
    found = {name: _Service(local) for name, local in uses_local.items()}
    if not any(uses_local.values()):
        return found  # the extra `local` may be missing
    from cryptometrics.local.services import Services

    for name, state in Services(settings.home).status().items():
        if uses_local[name]:
            problem = None if state.running else "it is stopped: start it with `cryptometrics up`"
            found[name] = _Service(local=True, **asdict(state), problem=problem)
    return found


def _ask_kafka(settings: Settings, kafka: _Service) -> None:
    from cryptometrics.kafka.admin_requests import wait_for_kafka

    if kafka.is_stopped:
        return
    try:
        kafka.address = settings.kafka_address
        wait_for_kafka(settings)
        kafka.running = True
    except CryptometricsError as error:
        kafka.problem = str(error)


def _ask_postgres(settings: Settings, postgres: _Service, schema: _Schema) -> None:
    from cryptometrics.store import migrate
    from cryptometrics.store.connection import connect
    from cryptometrics.store.connection_options import public_uri
    from cryptometrics.store.database_errors import explaining

    if postgres.is_stopped:
        return
    try:
        postgres.address = postgres.address or public_uri(settings.postgres())
        with connect(settings) as connection:
            postgres.running = True
            postgres.version = postgres.version or connection.info.parameter_status("server_version")
            try:
                with explaining():
                    schema.pending = migrate.pending(connection)
                schema.up_to_date = not schema.pending
            except CryptometricsError as error:
                schema.problem = str(error)
            if schema.pending:
                schema.problem = "it is behind: run `cryptometrics init-db`"
    except CryptometricsError as error:
        postgres.problem = str(error)


def _as_dict(services: dict[str, _Service], schema: _Schema) -> dict[str, Any]:
    from cryptometrics.config.endpoints import ADDRESS_NAMES

    found: dict[str, Any] = {}
    for name, service in services.items():
        fields = asdict(service)
        found[name] = {"running": fields.pop("running"), ADDRESS_NAMES[name]: fields.pop("address")} | fields
    return found | {"schema": asdict(schema)}


def _show(services: dict[str, _Service], schema: _Schema) -> None:
    from rich.filesize import decimal
    from rich.text import Text

    from cryptometrics.cli.output import NOTHING, print_table

    rows: list[list[str | Text]] = []
    for name, service in services.items():
        uptime, size = service.uptime_seconds, service.bytes_on_disk
        rows.append(
            [
                TITLES[name],
                Text("running", "green") if service.running else Text("stopped", "red"),
                service.version or NOTHING,
                NOTHING if uptime is None else str(timedelta(seconds=int(uptime))),
                NOTHING if size is None else decimal(size),
            ]
        )
    print_table(("service", "state", "version", "up for", "on disk"), rows)
    # Below the table: in a cell, a long text would be folded and an address could not be copied.
    for name, service in services.items():
        click.echo(f"{TITLES[name]:<11} {service.problem or service.address}")
    click.echo(f"{'schema':<11} {schema.problem or ('up to date' if schema.up_to_date else 'unknown')}")
