"""Each command under its database role, on a database that an administrator prepared."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import conninfo

from cryptometrics.store.roles import OWNER, READER, WRITER

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptometrics.config import Settings
    from tests.conftest import Cli

# As if `init-db` had been run three days ago: everything older than that day shares a partition.
DAYS_AGO = """
DO $$
BEGIN
    DROP TABLE crypto_metrics_before;
    EXECUTE format('CREATE TABLE crypto_metrics_before PARTITION OF crypto_metrics '
                   'FOR VALUES FROM (MINVALUE) TO (%L)',
                   (date_trunc('day', now() AT TIME ZONE 'UTC') - interval '3 days') AT TIME ZONE 'UTC');
END
$$
"""


@pytest.mark.slow
def test_each_command_under_its_own_role(
    empty_database_settings: Settings, cli_for: Callable[[Settings], Cli]
) -> None:
    cli = cli_for(empty_database_settings)
    uri = empty_database_settings.postgres()

    def as_role(role: str) -> dict[str, str]:
        return {"DATABASE_URL": conninfo.make_conninfo(uri, user=role)}

    script = cli("init-db", "--print-grants").stdout
    with psycopg.connect(uri, autocommit=True) as admin:
        admin.execute(script.encode())
        assert admin.execute("SELECT to_regclass('crypto_metrics')").fetchone() == (None,)

    owner, writer, reader = as_role(OWNER), as_role(WRITER), as_role(READER)
    cli("init-db", "--partitions", "2", env=owner)
    cli("init-db", "--check", env=reader)
    with psycopg.connect(owner["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(DAYS_AGO.encode())
    # Three days ending now: each gets its partition while the writer runs, who may make no table.
    cli("simulate", "--rate", "0", "--count", "2000", "--step", "2m", "--bad", "0.02", env=reader)
    cli("process", "--group", "g1", "--until-caught-up", "--workers", "2", env=writer)
    with psycopg.connect(uri) as admin:
        days = admin.execute("SELECT day FROM crypto_metrics_days").fetchall()
    assert len(days) >= 3
    cli("verify", "--topic", env=reader)
    assert "the mark was not kept" in cli("verify", "--since-last", env=reader).stderr
    assert "mark" not in cli("verify", "--since-last", env=writer).stderr
    assert "only what came after" in cli("verify", "--since-last", env=reader).stdout
    assert json.loads(cli("session", "--json", env=reader).stdout)
    cli("plot", "--pair", "BTC-USD", env=reader)
    cli("watch", "--once", env=reader)
    cli("export", "--pair", "BTC-USD", env=reader)
    cli("gaps", env=reader)
    cli("alerts", "list", env=reader)
    past = cli.cwd / "past.csv"
    past.write_text("time,open,high,low,close\n2026-01-01T00:00Z,1,2,1,2\n", encoding="utf-8")
    cli("import", past, "--venue", "coinbase", "--pair", "BTC-USD", env=writer)
    cli("aggregate", "--window", "5m", env=writer)
    listed = json.loads(cli("rejects", "list", "--json", env=reader).stdout)
    assert listed
    cli("rejects", "export", env=reader)
    cli("rejects", "requeue", "--all", env=writer)
    cli("process", "--group", "g1", "--until-caught-up", env=writer)
    assert json.loads(cli("prune", "--keep", "1d", "--json", env=owner).stdout)
    cli("verify", "--topic", env=reader)


def test_what_is_not_a_roles_work_ends_in_one_line(cli: Cli, settings: Settings) -> None:
    cli("init-db", "--partitions", "1", "--grants")
    url = conninfo.make_conninfo(settings.postgres(), user=READER)
    for command in (["process", "--until-caught-up"], ["prune", "--keep", "1d"]):
        done = cli(*command, code=2, env={"DATABASE_URL": url})
        assert "Traceback" not in done.stderr
        assert done.stderr.splitlines()[-1].startswith("error: PostgreSQL denies it: permission denied")
