"""Which Kafka is asked for the lag while the local one stops and starts; no Kafka is needed for that."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cryptometrics.config import Settings
from cryptometrics.kafka import lag
from tests.conftest import free_port

if TYPE_CHECKING:
    from pathlib import Path

PLACE = ("t", 0)


@pytest.fixture(autouse=True)
def _asks_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lag, "ASK_EVERY_S", 0.0)


def start_kafka(home: Path) -> None:
    """State that the local Kafka runs, as `up` does."""
    state = {"kafka": {"bootstrap_servers": f"127.0.0.1:{free_port()}"}}
    (home / "endpoints.json").write_text(json.dumps(state))


def test_nobody_is_asked_at_the_port_of_a_stopped_kafka(tmp_path: Path) -> None:
    watching = lag.Lag(Settings.of({"CRYPTOMETRICS_HOME": tmp_path}))
    assert watching.trouble is not None
    assert "`cryptometrics up`" in watching.trouble
    start_kafka(tmp_path)
    assert watching.ask([PLACE])
    watching.known = {PLACE: 5}
    (tmp_path / "endpoints.json").unlink()  # as `down` does: another cluster may take the port
    assert not watching.ask([PLACE])
    assert watching.known == {}
    assert "`cryptometrics up`" in watching.trouble
    start_kafka(tmp_path)
    assert watching.ask([PLACE])
