"""The commands on each version of PostgreSQL that this machine has."""

from __future__ import annotations

import json
import signal
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from cryptometrics.config import Secret
from tests.database import scalar
from tests.postgres_server import PostgresProcess, installed
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cryptometrics.config import Settings
    from tests.conftest import Cli

TICKS = 3_000
START = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=4)
HOURS = ["--pair", "BTC-USD,ETH-USD", "--rate", "0", "--step", "5s", "--seed", "7", "--bad", "0.01"]
FIGURES = "SELECT max(complete_until) FROM risk_progress"
MINUTES = "SELECT date_bin('1 minute', min(complete_until), 'epoch') FROM window_progress"
VERSIONS = installed()


@pytest.fixture(params=sorted(VERSIONS))
def server(request: pytest.FixtureRequest, open_folder: Path) -> Iterator[PostgresProcess]:
    """Return a running server of one version."""
    version: int = request.param
    server = PostgresProcess(open_folder / f"version-{version}-{uuid.uuid4().hex[:8]}", VERSIONS[version])
    server.create()
    server.start()
    yield server
    server.kill()


@pytest.mark.slow
def test_every_command_works_on_this_version(
    server: PostgresProcess,
    empty_database_settings: Settings,
    cli_for: Callable[[Settings], Cli],
    tmp_path: Path,
) -> None:
    settings = replace(empty_database_settings, database_url=Secret(server.uri()))
    cli = cli_for(settings)
    cli("init-db", "--grants", "--partitions", "2")
    cli("simulate", *HOURS, "--start", f"{START:%Y-%m-%dT%H:%M}", "--count", str(TICKS))
    cli("process", "--until-caught-up")
    assert scalar(settings, "SELECT sum(metrics + rejected) FROM consumer_offsets") == TICKS
    (tmp_path / "positions.toml").write_text(cli("positions", "example").stdout)
    cli("positions", "load", tmp_path / "positions.toml")
    follower = cli.start("risk", "--follow")
    wait_until(
        lambda: scalar(settings, FIGURES) == scalar(settings, MINUTES), "all figures", running=follower
    )
    follower.send_signal(signal.SIGTERM)
    _, said = follower.communicate(timeout=60)
    assert follower.returncode == 0, said
    printed = cli.all(
        ["session"],
        ["watch", "--once"],
        ["risk", "--json"],
        ["portfolio", "--json"],
        ["plot", "--pair", "BTC-USD", "--out", str(tmp_path / "chart.png")],
        ["export", "--what", "candles", "--out", str(tmp_path / "candles.csv")],
        ["alerts", "list"],
        ["groups", "list"],
        ["rejects", "list"],
        ["gaps"],
        ["doctor"],
        ["verify", "--topic"],
        ["prune", "--keep", "2d"],
    )
    assert "BTC-USD" in printed["session"]
    assert "BTC-USD" in (tmp_path / "candles.csv").read_text()
    assert json.loads(printed["portfolio"])
    assert printed["prune"]
