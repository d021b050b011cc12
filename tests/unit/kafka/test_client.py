"""The settings of a worker's consumer: how long the broker may hold records back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cryptometrics import config
from cryptometrics.kafka.client import FULL_FETCH_BYTES, consumer_conf

if TYPE_CHECKING:
    from cryptometrics.config import Settings


@pytest.fixture
def settings() -> Settings:
    return config.pinned(Path(), "k:9092", "postgresql://h/d")


def test_the_broker_holds_records_back_for_the_budget_unless_there_are_many(settings: Settings) -> None:
    conf = consumer_conf(settings, "g", "i", hold=0.023)
    assert conf["fetch.wait.max.ms"] == 23
    assert conf["fetch.min.bytes"] == FULL_FETCH_BYTES


def test_without_a_budget_the_first_record_is_enough(settings: Settings) -> None:
    conf = consumer_conf(settings, "g", "i")
    assert "fetch.min.bytes" not in conf  # librdkafka's default is one byte
    assert conf["fetch.wait.max.ms"] == 100


def test_a_budget_changes_nothing_that_the_promises_depend_on(settings: Settings) -> None:
    held, at_once = consumer_conf(settings, "g", "i", hold=0.023), consumer_conf(settings, "g", "i")
    fetch = {"fetch.min.bytes", "fetch.wait.max.ms", "logger", "error_cb"}
    assert {name: held[name] for name in held.keys() - fetch} == {
        name: at_once[name] for name in at_once.keys() - fetch
    }
