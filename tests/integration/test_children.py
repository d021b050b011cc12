"""The commands that `run` starts: what they do, how they end, and what their parent says about it."""

from __future__ import annotations

import os
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from cryptometrics import children
from cryptometrics.children import Children
from cryptometrics.errors import CryptometricsError, ServiceUnavailableError
from tests.conftest import environment_of, free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from cryptometrics.config import Settings


def test_a_child_that_waits_for_a_service_when_it_is_stopped_has_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{free_port()}")
    with Children() as parts:
        parts.start("process", ["process"])
        assert parts.states() == [("process", "starting")]
        wait_until(
            lambda: parts.states()[0][1].startswith("waiting for Kafka ("), "it says what it waits for"
        )
        parts.check()
        assert parts.end() == ["process: stopped before it began"]
        with pytest.raises(
            CryptometricsError, match=r"^process did not begin: waiting for Kafka \(.+ "
        ) as raised:
            parts.check_ends()
    assert raised.value.exit_code == ServiceUnavailableError.exit_code
    assert "process.log" in str(raised.value)
    assert parts.folder.exists()
    shutil.rmtree(parts.folder)


def test_a_child_that_is_stopped_while_it_starts_has_not_failed() -> None:
    with Children() as parts:
        parts.start("process", ["process"])
        assert parts.end() == ["process: stopped before it began"]
        parts.check_ends()
    assert not parts.folder.exists()


def test_a_state_that_is_not_renewed_is_shown_with_its_age(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(children, "OLD_S", 1.0)
    with Children() as parts:
        parts.start("init", ["init-db"])
        wait_until(lambda: parts._children[0].process.poll() == 0, "the topic is there")
        parts.start("simulate", ["simulate"])
        wait_until(lambda: "acknowledged" in parts.states()[1][1], "it sends")
        process = parts._children[1].process
        os.kill(process.pid, signal.SIGSTOP)
        try:
            wait_until(lambda: parts.states()[1][1].endswith("s ago)"), "its state is old")
        finally:
            os.kill(process.pid, signal.SIGCONT)
        assert parts.end()[-1].startswith("sent ")
        parts.check_ends()
