"""`cryptometrics init-db`: the schema in PostgreSQL and the topic in Kafka."""

from __future__ import annotations

import click


@click.command("init-db")
@click.option(
    "--partitions", type=click.IntRange(1, 10_000), default=6, help="Partitions of a topic that is made now."
)
@click.option(
    "--check", is_flag=True, help="Change nothing; exit 1 when the schema is behind or the topic missing."
)
@click.option(
    "--grants", is_flag=True, help="Make the roles for owner, writer and reader, too, with their rights."
)
@click.option(
    "--print-grants", is_flag=True, help="Change nothing; print the SQL of --grants for an administrator."
)
def init_db(partitions: int, check: bool, grants: bool, print_grants: bool) -> None:
    """Make or bring up to date the tables and the topic.

    Running it again, or twice at the same moment, changes nothing. A topic that exists stays as it is.
    Roles that are there get their rights on tables that are new.

    \b
    Example:
      cryptometrics init-db
      cryptometrics init-db --print-grants > grants.sql
    """
    from cryptometrics import config
    from cryptometrics.cli.waiting import waiting
    from cryptometrics.errors import UserError
    from cryptometrics.kafka.admin import wait_for_kafka
    from cryptometrics.kafka.topic import create_topic, describe_topic
    from cryptometrics.store import migrate, roles
    from cryptometrics.store.connection import connect
    from cryptometrics.store.database_errors import explaining

    settings = config.load()
    with connect(settings, notice=waiting("PostgreSQL")) as connection, explaining():
        if print_grants:
            click.echo(roles.grants_script(connection))
            return
        if check:
            behind = migrate.pending(connection)
            wait_for_kafka(settings, waiting("Kafka"))
            try:
                describe_topic(settings)
            except UserError as error:
                behind.append(str(error))
            if behind:
                click.echo("behind: " + ", ".join(behind))
                raise SystemExit(1)
            click.echo("the schema is up to date")
            return
        applied = roles.migrate_and_grant(connection)
        made = roles.make(connection) if grants else []
    click.echo(f"schema: {'applied ' + ', '.join(applied) if applied else 'up to date'}")
    if grants:
        click.echo(f"roles: {'made ' + ', '.join(made) if made else 'there already'}, with their rights")
    wait_for_kafka(settings, waiting("Kafka"))
    if create_topic(settings, partitions):
        click.echo(f"topic {settings.kafka_topic}: made with {partitions} partitions")
    else:
        topic = describe_topic(settings)
        click.echo(f"topic {topic.name}: there already, with {topic.partitions} partitions")
