"""What `doctor` makes of the settings of a topic."""

from __future__ import annotations

import dataclasses

import pytest

from cryptometrics.doctor.diagnosis import State
from cryptometrics.doctor.kafka import check_topic, encryption
from cryptometrics.kafka.topic_settings import TopicSettings

SOUND = TopicSettings(
    brokers=3,
    partitions=6,
    replicas=3,
    without_leader=(),
    under_replicated=(),
    values={"min.insync.replicas": "2", "retention.ms": "604800000", "cleanup.policy": "delete"},
)


def states(topic: TopicSettings, *, local: bool = False) -> dict[str, State]:
    found = list(check_topic("crypto_prices", topic, local=local))
    assert all((each.fix is None) == (each.state is State.OK) for each in found)
    return {each.check: each.state for each in found if each.state is not State.OK}


def test_a_sound_topic_has_no_findings() -> None:
    assert states(SOUND) == {}


@pytest.mark.parametrize(
    ("name", "value", "check", "state"),
    [
        ("retention.ms", "86399999", "retention", State.WARNING),
        ("retention.bytes", "1000000", "retention", State.WARNING),
        ("cleanup.policy", "compact,delete", "compaction", State.WRONG),
        ("min.insync.replicas", "1", "min.insync.replicas", State.WARNING),
        ("min.insync.replicas", "3", "min.insync.replicas", State.WARNING),
        ("min.insync.replicas", "4", "min.insync.replicas", State.WRONG),
        ("unclean.leader.election.enable", "true", "leader election", State.WARNING),
    ],
)
def test_a_setting_that_can_lose_records(name: str, value: str, check: str, state: State) -> None:
    assert states(dataclasses.replace(SOUND, values={**SOUND.values, name: value})) == {check: state}


def test_a_retention_of_a_day_or_without_end_is_sound() -> None:
    for value in ("86400000", "-1"):
        assert states(dataclasses.replace(SOUND, values={**SOUND.values, "retention.ms": value})) == {}


def test_partitions_that_lack_brokers() -> None:
    assert states(dataclasses.replace(SOUND, without_leader=(4,))) == {"topic": State.WRONG}
    assert states(dataclasses.replace(SOUND, under_replicated=(4,))) == {"topic": State.WARNING}


def test_one_replica_is_sound_only_for_the_local_broker() -> None:
    one = dataclasses.replace(SOUND, brokers=1, replicas=1, values={})
    assert states(one) == {"replication": State.WARNING}
    assert states(one, local=True) == {}


@pytest.mark.parametrize(
    ("servers", "protocol", "state"),
    [
        ("127.0.0.1:9092", "PLAINTEXT", State.OK),
        ("localhost:9092,[::1]:9093", "PLAINTEXT", State.OK),
        ("localhost:9092,kafka.example:9092", "SASL_PLAINTEXT", State.WARNING),
        ("kafka.example:9092", "SASL_SSL", State.OK),
    ],
)
def test_plain_text_is_sound_on_this_machine_only(servers: str, protocol: str, state: State) -> None:
    assert encryption(servers, protocol).state is state
