"""Partitions are read again in steps of any size: each message once, and none that is not asked for."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from cryptometrics.errors import ServiceUnavailableError
from cryptometrics.kafka import client
from cryptometrics.kafka.topic import create_topic
from cryptometrics.verify import topic_reader
from cryptometrics.verify.findings import TopicPartition
from cryptometrics.verify.topic_reader import PartitionReader, TopicReader
from tests.conftest import free_port
from tests.waiting import LIMIT_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.config import Settings

MESSAGES = 200


@pytest.fixture
def reader(settings: Settings) -> Iterator[TopicReader]:
    """Return a reader of a topic with two partitions; each transaction leaves a hole, and one was aborted."""
    create_topic(settings, 2)
    topic = settings.kafka_topic
    producer = Producer(client.client_conf(settings, **{"transactional.id": topic}))
    producer.init_transactions()
    for block in range(5):
        producer.begin_transaction()
        for number in range(MESSAGES // 5):
            for partition in range(2):
                producer.produce(topic, f"{block} {number}".encode(), partition=partition)
        producer.flush(LIMIT_S)
        if block == 2:
            producer.abort_transaction()
        else:
            producer.commit_transaction()
    with contextlib.closing(TopicReader(settings)) as made:
        yield made


def offsets(reader: PartitionReader, last: int) -> list[int]:
    """Return the offsets of the next messages."""
    return [offset for message in reader.read_through(last) if (offset := message.offset()) is not None]


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_each_message_is_read_once(settings: Settings, reader: TopicReader, step: int) -> None:
    block = MESSAGES // 5 + 1  # with the mark of its end
    expected = [offset for offset in range(5 * block) if offset // block != 2 and offset % block != block - 1]
    for number in (0, 1, 0):
        partition = TopicPartition(settings.kafka_topic, number)
        begin, end = reader.held(partition)
        assert (begin, end) == (0, 5 * block)
        messages = reader.open(partition, begin, end)
        found: list[int] = []
        for last in range(begin, end + 2 * step, step):
            read = offsets(messages, last)
            assert all(last - step < offset <= last for offset in read)
            found += read
        assert found == expected


def test_only_the_part_that_is_asked_for_is_read(
    settings: Settings, reader: TopicReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_reader, "MAX_MESSAGES", 10)
    messages = reader.open(TopicPartition(settings.kafka_topic, 0), 3, 150)
    assert offsets(messages, 5) == [3, 4, 5]
    messages.skip_to(12)  # near enough to be read on
    assert offsets(messages, 13) == list(range(6, 14))
    messages.skip_to(130)
    assert offsets(messages, 131) == [130, 131]
    assert offsets(messages, 1000) == list(range(132, 150))
    assert offsets(messages, 2000) == []
    assert offsets(reader.open(TopicPartition(settings.kafka_topic, 0), 7, 7), 100) == []


def test_a_kafka_that_sends_nothing_is_waited_for_as_long_as_the_settings_say(settings: Settings) -> None:
    nowhere = replace(settings, kafka_bootstrap_servers=f"127.0.0.1:{free_port()}", wait=0.6)
    with contextlib.closing(TopicReader(nowhere)) as reader:
        messages = reader.open(TopicPartition(settings.kafka_topic, 0), 0, 10)
        with pytest.raises(ServiceUnavailableError, match="sent no message"):
            messages.read_through(5)
