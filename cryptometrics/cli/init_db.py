"""`cryptometrics init-db`: the schema in PostgreSQL and the topic in Kafka."""

from __future__ import annotations

import click

from cryptometrics.cli import options


@click.command("init-db")
@click.option(
    "--partitions",
    type=click.IntRange(1, 10_000),
    default=options.DEFAULT_PARTITIONS,
    help="Partitions of a new topic.",
)
@click.option(
    "--check", is_flag=True, help="Change nothing; exit 1 if the schema is behind or the topic is missing."
)
@click.option("--grants", is_flag=True, help="Create the roles for owner, writer and reader, too.")
@click.option(
    "--print-grants", is_flag=True, help="Change nothing; print the SQL of --grants, for an administrator."
)
def init_db(partitions: int, check: bool, grants: bool, print_grants: bool) -> None:
    """Create the tables and the topic, or bring them up to date.

    It is safe to run it again, or twice at the same time. An existing topic stays unchanged. Existing roles
    get their rights on new tables.

    \b
    Example:
      cryptometrics init-db
      cryptometrics init-db --print-grants > grants.sql
    """
    from cryptometrics import config
    from cryptometrics.cli.connections import database, find_topic, wait_for_kafka
    from cryptometrics.errors import UserError
    from cryptometrics.kafka.topic import create_topic, describe_topic
    from cryptometrics.store import migrate, roles

    settings = config.load()
    with database(settings) as connection:
        if print_grants:
            click.echo(roles.grants_script(connection))
            return
        if check:
            behind = migrate.pending(connection)
            try:
                find_topic(settings)
            except UserError as error:
                behind.append(str(error))
            if behind:
                click.echo("behind: " + ", ".join(behind))
                raise click.exceptions.Exit(1)
            click.echo("the schema is up to date")
            return
        applied = roles.migrate_and_grant(connection, lambda text: click.echo(text, err=True))
        made = roles.create_roles(connection) if grants else []
    click.echo(f"schema: {'applied ' + ', '.join(applied) if applied else 'up to date'}")
    if grants:
        click.echo(f"roles: {'made ' + ', '.join(made) if made else 'there already'}, with their rights")
    wait_for_kafka(settings)
    if create_topic(settings, partitions):
        click.echo(f"topic {settings.kafka_topic}: made with {partitions:,} partitions")
    else:
        topic = describe_topic(settings)
        click.echo(f"topic {topic.name}: there already, with {topic.partitions:,} partitions")
    click.echo("next: cryptometrics simulate (or ingest), and cryptometrics process --group g1", err=True)
