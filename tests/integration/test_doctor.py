"""`doctor` against a real Kafka and a real PostgreSQL, whose settings are changed to see it find them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from tests.conftest import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptometrics.config import Settings
    from tests.conftest import Cli


def findings(cli: Cli, *, code: int, env: dict[str, str] | None = None) -> dict[str, dict[str, Any]]:
    done = cli("doctor", "--json", code=code, env=env)
    return {each["check"]: each for each in json.loads(done.stdout)}


def make_topic(settings: Settings, **values: str) -> None:
    admin = AdminClient({"bootstrap.servers": settings.kafka_address})
    config = {name.replace("_", "."): value for name, value in values.items()}
    new = NewTopic(settings.kafka_topic, num_partitions=2, replication_factor=1, config=config)
    admin.create_topics([new])[settings.kafka_topic].result(30)


def test_what_is_well_is_ok(cli: Cli, settings: Settings) -> None:
    make_topic(settings)
    found = findings(cli, code=0)
    for check in (
        "settings",
        "python",
        "kafka",
        "topic",
        "retention",
        "postgres",
        "fsync",
        "schema",
        "rights",
    ):
        assert found[check] == found[check] | {"state": "ok", "fix": None}, check
    assert found["clock of postgres"]["state"] == "ok"
    assert found["replication"]["state"] == "warning"
    assert all(each["fix"] for each in found.values() if each["state"] in {"warning", "wrong"})


def test_settings_that_lose_records_are_found(cli: Cli, settings: Settings) -> None:
    make_topic(settings, cleanup_policy="compact", retention_ms="3600000", min_insync_replicas="2")
    found = findings(cli, code=1)
    assert found["compaction"]["state"] == "wrong"
    assert found["min.insync.replicas"]["state"] == "wrong"
    assert found["retention"]["state"] == "warning"
    assert settings.kafka_topic in found["compaction"]["fix"]
    text = cli("doctor", code=1).stdout
    assert found["compaction"]["fix"] in text


def test_a_missing_schema_and_topic_name_init_db(
    empty_database_settings: Settings, cli_for: Callable[[Settings], Cli]
) -> None:
    found = findings(cli_for(empty_database_settings), code=1)
    for check in ("topic", "schema", "rights"):
        assert (found[check]["state"], found[check]["fix"]) == ("wrong", "cryptometrics init-db")


def test_a_commit_that_does_not_wait_for_the_disk_is_found(cli: Cli, settings: Settings) -> None:
    make_topic(settings)
    with psycopg.connect(settings.postgres(), autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{connection.info.dbname}" SET synchronous_commit = off'.encode())
    assert findings(cli, code=0)["synchronous_commit"]["state"] == "warning"


@pytest.mark.parametrize("service", ["kafka", "postgres"])
def test_one_service_that_is_down_does_not_hide_the_other(cli: Cli, settings: Settings, service: str) -> None:
    make_topic(settings)
    down = {
        "kafka": {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}"},
        "postgres": {"DATABASE_URL": f"postgresql://ana:hunter2@127.0.0.1:{free_port()}/risk"},
    }[service]
    done = cli("doctor", "--json", code=1, env=down | {"CRYPTOMETRICS_WAIT": "1"})
    found = {each["check"]: each["state"] for each in json.loads(done.stdout)}
    assert {name: found[name] for name in ("kafka", "postgres")} == {
        "kafka": "ok",
        "postgres": "ok",
    } | {service: "wrong"}
    assert "hunter2" not in done.stdout + done.stderr


def test_mistakes_in_the_env_file_are_findings(cli: Cli, settings: Settings) -> None:
    make_topic(settings)
    (cli.cwd / ".env").write_text("DB_HOTS=db.example\n")
    (cli.cwd / ".env").chmod(0o644)
    found = findings(cli, code=0)
    assert "DB_HOTS" in found["settings"]["found"]
    assert "DB_HOST" in found["settings"]["fix"]
    assert found[".env"]["fix"] == "chmod 600 .env"


def test_an_invalid_setting_is_wrong(cli: Cli) -> None:
    found = findings(cli, code=1, env={"CRYPTOMETRICS_WAIT": "soon"})
    assert found["settings"]["state"] == "wrong"
    assert "CRYPTOMETRICS_WAIT" in found["settings"]["found"]
