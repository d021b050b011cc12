"""The main path of a user: create the schema, simulate, process, plot."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING

import pytest

from tests.database import scalar
from tests.waiting import LIMIT_S, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from cryptometrics.config import Settings
    from tests.acceptance.conftest import Server
    from tests.conftest import Cli

"""Seconds until a wait for something that has to come is given up."""
PNG = b"\x89PNG\r\n\x1a\n"


def walk(cli: Cli) -> list[subprocess.CompletedProcess[str]]:
    """Run the four stages and look at what each says and makes; return all that was said."""
    made = cli("init-db", "--partitions", "3")
    assert "applied 0001_metrics" in made.stdout
    assert "made with 3 partitions" in made.stdout
    sent = cli("simulate", "--rate", "0", "--count", "2000", "--bad", "0.01", "--seed", "5")
    assert sent.stdout == "sent 2000, acknowledged 2000\n"
    processed = cli("process", "--group", "g1", "--until-caught-up")
    found = re.fullmatch(
        r"group g1: ([0-9,]+) stored, ([0-9,]+) rejected, 0 duplicates, 0 late\n", processed.stdout
    )
    assert found
    stored, rejected = (int(text.replace(",", "")) for text in found.groups())
    assert stored + rejected == 2000
    assert 0 < rejected < 60
    shown = cli("session", "--json")
    assert sum(row["ticks"] for row in json.loads(shown.stdout)) == stored
    plotted = cli("plot", "--pair", "BTC-USD")
    chart = cli.cwd / "charts" / "BTC-USD.png"
    assert chart.read_bytes().startswith(PNG)
    assert chart.stat().st_size > 10_000
    assert str(chart.relative_to(cli.cwd)) in plotted.stdout
    return [made, sent, processed, shown, plotted]


def test_the_four_stages(empty_database_settings: Settings, cli_for: Callable[[Settings], Cli]) -> None:
    walk(cli_for(empty_database_settings))


@pytest.mark.slow
def test_the_four_stages_on_a_server_with_a_password_and_the_original_variables(
    tcp_postgres: Server, services: object, settings: Settings, cli_with: Callable[[dict[str, str]], Cli]
) -> None:
    database = settings.kafka_topic
    with tcp_postgres.connect("postgres") as admin:
        admin.execute(f"CREATE DATABASE {database}".encode())
    cli = cli_with({"CRYPTOMETRICS_HOME": str(settings.home)})
    (cli.cwd / ".env").write_text(
        f"DB_NAME={database}\n"
        f"DB_USER={tcp_postgres.user}\n"
        f'DB_PASSWORD="{tcp_postgres.password}"\n'
        f"DB_HOST={tcp_postgres.host}\n"
        f"DB_PORT={tcp_postgres.port}\n"
        f"KAFKA_BOOTSTRAP_SERVERS={settings.kafka()['bootstrap.servers']}\n"
        f"KAFKA_TOPIC={settings.kafka_topic}\n",
        encoding="utf-8",
    )
    said = walk(cli)
    said.append(cli("--verbose", "process", "--group", "g2", "--until-caught-up"))
    assert not any("hunter2" in done.stdout + done.stderr for done in said)
    with tcp_postgres.connect(database) as connection:
        row = connection.execute(
            "SELECT count(id), count(pair), count(bid), count(ask), count(mid_price), count(spread), "
            "count(highest_bid), count(lowest_ask), count(max_spread), count(timestamp) FROM crypto_metrics"
        ).fetchone()
    assert row is not None
    assert len(set(row)) == 1
    assert row[0] > 0


@pytest.mark.slow
def test_all_stages_at_the_same_time(cli: Cli, settings: Settings) -> None:
    """Simulate in one terminal, process in another, plot while they run."""
    cli("init-db")
    sending = cli.start("simulate", "--rate", "200", "--pair", "BTC-USD", "--pair", "ETH-USD")
    processing = cli.start("process", "--group", "g1")
    drawn = "SELECT count(*) FROM crypto_metrics WHERE pair = 'BTC-USD'"
    wait_until(lambda: scalar(settings, drawn) >= 50, "ticks are stored", running=processing)
    cli("plot", "--pair", "BTC-USD", "--out", "while.png")
    assert (cli.cwd / "while.png").read_bytes().startswith(PNG)
    sending.send_signal(signal.SIGINT)
    output, errors = sending.communicate(timeout=LIMIT_S)
    assert sending.returncode == 0, errors
    found = re.fullmatch(r"sent (\d+), acknowledged (\d+)\n", output)
    assert found
    stored = "SELECT count(*) FROM crypto_metrics"
    wait_until(lambda: scalar(settings, stored) == int(found[1]), "all is stored", running=processing)
    processing.send_signal(signal.SIGINT)
    output, errors = processing.communicate(timeout=LIMIT_S)
    assert processing.returncode == 0, errors
    assert f"{int(found[1]):,} stored" in output


def test_options_come_from_the_environment_too(cli: Cli, tmp_path: Path) -> None:
    cli("init-db", env={"CRYPTOMETRICS_INIT_DB_PARTITIONS": "2"})
    assert "with 2 partitions" in cli("init-db").stdout
    cli("simulate", "--rate", "0", "--count", "10")
    environment = {
        "CRYPTOMETRICS_PROCESS_GROUP": "of_environment",
        "CRYPTOMETRICS_PROCESS_UNTIL_CAUGHT_UP": "1",
    }
    assert cli("process", env=environment).stdout.startswith("group of_environment: 10 stored")
