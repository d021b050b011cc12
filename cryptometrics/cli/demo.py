"""`cryptometrics demo`: everything once, from an empty machine to metrics, risk and charts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cryptometrics.local.services import Services


@click.command()
@click.option(
    "--keep",
    is_flag=True,
    help="Leave everything running, with a live market and its page in the browser, until "
    "`cryptometrics down`.",
)
def demo(keep: bool) -> None:
    """Run everything once: Kafka, PostgreSQL, a simulated day, live ticks, metrics, risk and charts.

    The demo has its own data folder and deletes it at the end; a demo kept earlier is replaced. In the
    working folder it writes only the charts, charts/PAIR.png, over existing ones.

    \b
    Example:
      cryptometrics demo
    """
    from cryptometrics import config, log
    from cryptometrics.cli.demo_keep import DEMO_FOLDER
    from cryptometrics.local import jars
    from cryptometrics.local.services import Services

    log.setup("auto", quiet=True)
    home = config.load().home
    services = Services(home / DEMO_FOLDER, jars.folder(home), kafka_port=0)
    with services.reserved("demo"):
        lost = _demonstrate(services, keep=keep)
    if lost:
        raise click.exceptions.Exit(1)


def _demonstrate(services: Services, *, keep: bool) -> int:
    """Run all stages and return how many ticks were lost; it must be 0."""
    from cryptometrics import config
    from cryptometrics.cli import demo_keep, demo_stages, demo_tables
    from cryptometrics.cli.progress import Progress
    from cryptometrics.cli.services import last_words

    try:
        click.echo("starting Kafka and PostgreSQL", err=True)
        services.purge()
        with Progress() as progress, last_words():
            services.up(progress.show)
        settings = config.pinned(services.home, services.bootstrap_servers, services.postgres_uri)
        with Progress() as progress:
            account = demo_stages.run_stages(settings, progress)
        charts = demo_tables.show(settings)
        click.echo(
            f"sent {account.sent:,} = stored {account.stored:,} + rejected {account.rejected:,} "
            f"+ duplicate {account.duplicates:,}, lost {account.lost:,}"
        )
        click.echo(f"charts: {charts[0]} and {len(charts) - 1} more")
    finally:
        if not keep:
            services.purge()
    if keep:
        with last_words():
            page = demo_keep.start(services)
        _show_kept(services, page)
    return account.lost


def _show_kept(services: Services, page: str | None) -> None:
    """Print what keeps running, how to look at it, and how to stop it; page: its address."""
    if page is None:
        click.echo("without a page in the browser: pip install 'cryptometrics[web]' adds it", err=True)
    else:
        click.echo(f"page: {page}")
    click.echo(
        f"\nKafka, PostgreSQL and a live market keep running. To look around:\n"
        f"  export CRYPTOMETRICS_HOME={services.home}\n"
        f"  cryptometrics watch\n"
        f"  cryptometrics portfolio\n"
        f"  cryptometrics down --purge   # when you are done"
    )
