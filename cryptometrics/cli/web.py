"""`cryptometrics web`: the market, risk, alerts and the pipeline, live in the browser."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from cryptometrics.cli import options
from cryptometrics.errors import UserError

if TYPE_CHECKING:
    import psycopg

POLL_S = 0.05
"""Seconds between checks for Ctrl-C."""


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8050, help="Port to listen on; 0 picks a free one."
)
@click.option(
    "--host",
    default="127.0.0.1",
    metavar="ADDRESS",
    help="Address to listen on. Beyond this machine, CRYPTOMETRICS_WEB_TOKEN must be set.",
)
@click.option("--open", "open_page", is_flag=True, help="Also open the page in the browser.")
@options.reading_group
@options.only_venue
def web(*, port: int, host: str, open_page: bool, group: str | None, venue: str | None) -> None:
    """Show the market, risk, alerts and the pipeline in the browser, live, until Ctrl-C.

    Prints the address. The page updates itself, works without a network, and only reads, with the rights of
    the reader role where it exists. The same data is a JSON API: docs/web.md describes both.

    A group named with --group may have stored nothing yet: the page fills as soon as it does.

    \b
    Example:
      cryptometrics web --open
    """
    try:
        from cryptometrics.web.run import running
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("fastapi", "starlette", "uvicorn"):
            raise
        raise UserError("web needs FastAPI and uvicorn: pip install 'cryptometrics[web]'") from None
    from cryptometrics import config
    from cryptometrics.cli.connections import report_choice, waiting
    from cryptometrics.cli.progress import report_state
    from cryptometrics.cli.signals import stopping
    from cryptometrics.store.choose_source import check_venue, resolve_group

    def choose(connection: psycopg.Connection) -> str:
        if group is not None:
            return group
        chosen = resolve_group(connection, None)
        check_venue(connection, chosen.name, venue)
        report_choice(chosen)
        return chosen.name

    def report_link(link: str) -> None:
        click.echo(f"the link was used; the next one is {link}", err=True)

    with (
        running(
            config.load(),
            choose,
            host=host,
            port=port,
            venue=venue,
            notice=waiting("PostgreSQL"),
            on_link=report_link,
        ) as address,
        stopping() as stop,
    ):
        click.echo(address)
        report_state(address)
        if open_page:
            click.launch(address)
        while not stop():
            time.sleep(POLL_S)
