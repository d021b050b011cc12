"""Topic and producer on a real Kafka, and the errors without one."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from cryptometrics.config import Secret
from cryptometrics.errors import ServiceUnavailableError, UserError
from cryptometrics.kafka import admin_requests, client, group_consumer, lag, partition_ends
from cryptometrics.kafka.admin_requests import wait_for_kafka
from cryptometrics.kafka.publisher import Publisher
from cryptometrics.kafka.topic import create_topic, describe_topic
from tests.waiting import LIMIT_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.config import Settings
    from cryptometrics.local.services import Services


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Return a port on which nobody listens, and nobody begins to meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_a_topic_is_made_once_and_then_left_as_it_is(settings: Settings) -> None:
    assert create_topic(settings, 3)
    made = describe_topic(settings)
    assert (made.name, made.partitions) == (settings.kafka_topic, 3)
    assert not create_topic(settings, 5)
    assert describe_topic(settings) == made


def test_made_by_several_at_once_it_is_made_by_one(settings: Settings) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: create_topic(settings, 2), range(8)))
    assert sorted(made) == [False] * 7 + [True]
    assert describe_topic(settings).partitions == 2


def test_topics_of_different_names_have_different_ids(settings: Settings) -> None:
    other = replace(settings, kafka_topic=settings.kafka_topic + "_other")
    for each in (settings, other):
        create_topic(each, 1)
    assert describe_topic(settings).id != describe_topic(other).id


def test_a_missing_topic_names_the_command_that_makes_it(settings: Settings) -> None:
    with pytest.raises(UserError, match=f"no topic {settings.kafka_topic} .*`cryptometrics init-db`"):
        describe_topic(settings)


def test_a_kafka_that_does_not_answer_in_time_holds_nothing_known(
    settings: Settings, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_topic(settings, 1)
    topic, place = describe_topic(settings), (settings.kafka_topic, 0)
    reading, watching = group_consumer.GroupConsumer(settings, topic, "g1", "w1"), lag.Lag(settings)
    assert reading.ends.held(0) == (0, 0)
    watching.ask([place])
    watching.listen(10)
    assert (watching.known, watching.trouble) == ({place: 0}, None)
    monkeypatch.setattr(partition_ends, "ANSWER_S", 1.0)
    monkeypatch.setattr(lag, "ANSWER_S", 1.0)
    monkeypatch.setattr(lag, "ASK_EVERY_S", 0.0)
    kafka = services.status()["kafka"].pid
    assert kafka is not None
    os.kill(kafka, signal.SIGSTOP)
    try:
        with pytest.raises(KafkaException):
            reading.ends.held(0)
        watching.ask([place])
        watching.listen(10)
        assert watching.known == {}
        assert watching.trouble
    finally:
        os.kill(kafka, signal.SIGCONT)
    reading.close()


def test_the_successor_of_a_producer_publishes_what_was_queued_and_what_was_in_flight(
    settings: Settings, services: Services
) -> None:
    create_topic(settings, 1)
    local = replace(settings, kafka_bootstrap_servers=None)
    successor = client.make_producer(local)
    assert isinstance(successor, client.LocalProducer)
    publisher = Publisher(client.make_producer(local), settings.kafka_topic)
    values = [str(number).encode() for number in range(2_000)]
    kafka = services.status()["kafka"].pid
    assert kafka is not None
    publisher.send_all([(b"k", value) for value in values[:500]])
    publisher.drain(10)
    os.kill(kafka, signal.SIGSTOP)
    try:
        publisher.send_all([(b"k", value) for value in values[500:1_500]])
        publisher.poll(0.2)  # the first of them are sent, and nobody answers
        publisher.send_all([(b"k", value) for value in values[1_500:]])
        publisher._continue_with(successor)
        assert (publisher.state.sent, publisher.state.failed) == (2_000, 0)
    finally:
        os.kill(kafka, signal.SIGCONT)
    publisher.drain(10)
    assert (publisher.state.acknowledged, publisher.state.waiting) == (2_000, 0)
    consumer = Consumer(client.client_conf(settings, **{"group.id": "test", "enable.partition.eof": True}))
    consumer.assign([TopicPartition(settings.kafka_topic, 0, 0)])
    found: list[bytes] = []
    while (message := consumer.poll(10)) is not None and not message.error():
        found.append(message.value() or b"")
    consumer.close()
    # What was in flight may be there twice, because the broker stored it when it went on.
    assert list(dict.fromkeys(found)) == values


def test_a_broker_that_answers_is_not_waited_for(settings: Settings) -> None:
    notices: list[BaseException] = []
    wait_for_kafka(settings, lambda error, _: notices.append(error))
    assert not notices


def test_no_broker_is_one_line_after_the_wait(
    settings: Settings, closed_port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    nowhere = f"127.0.0.1:{closed_port}"
    away = replace(settings, kafka_bootstrap_servers=nowhere, wait=0.5)
    with pytest.raises(ServiceUnavailableError) as caught:
        wait_for_kafka(away)
    message = str(caught.value)
    assert nowhere in message
    assert "Connection refused" in message
    assert "KAFKA_BOOTSTRAP_SERVERS" in message
    assert "\n" not in message
    # librdkafka would write to stderr by itself.
    assert capfd.readouterr().err == ""


def test_each_failed_attempt_is_told(settings: Settings, closed_port: int) -> None:
    away = replace(
        settings, kafka_bootstrap_servers=f"127.0.0.1:{closed_port}", wait=admin_requests.ATTEMPT_S + 0.5
    )
    notices: list[str] = []
    with pytest.raises(ServiceUnavailableError):
        wait_for_kafka(away, lambda error, _: notices.append(str(error)))
    assert notices
    assert all("Connection refused" in text for text in notices)


def test_a_refused_login_is_not_tried_again(settings: Settings) -> None:
    login = replace(
        settings,
        kafka_security_protocol="SASL_PLAINTEXT",
        kafka_sasl_mechanism="PLAIN",
        kafka_sasl_username="someone",
        kafka_sasl_password=Secret("wrong"),
    )
    with pytest.raises(UserError, match="KAFKA_SASL"):
        wait_for_kafka(login)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("KAFKA_CONF_NO_SUCH_THING", "1", "no.such.thing"),
        ("KAFKA_CONF_SOCKET_TIMEOUT_MS", "soon", "socket.timeout.ms"),
    ],
)
def test_settings_that_librdkafka_refuses_are_the_users_mistake(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    for use in (wait_for_kafka, client.make_producer, describe_topic):
        with pytest.raises(UserError, match=words):
            use(settings)


def test_the_user_may_tune_a_client_but_not_break_its_promise(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_CONF_ENABLE_IDEMPOTENCE", "false")
    monkeypatch.setenv("KAFKA_CONF_LINGER_MS", "50")
    conf = client.client_conf(settings, **{"enable.idempotence": True})
    assert conf["enable.idempotence"] is True
    assert conf["linger.ms"] == "50"


def test_no_commit_is_sent_that_could_wait_for_a_coordinator(settings: Settings) -> None:
    """The client would give up no partition before its answer, and so stay out of the group."""
    create_topic(settings, 1)
    member = group_consumer.GroupConsumer(settings, describe_topic(settings), "g1", "w1")
    member.join(lambda _: None, lambda _: None, lambda _: None)
    wait_until(lambda: member.keep_place(0.05) or member.assigned, "the member has the partition")
    reader = Consumer(client.client_conf(settings, **{"group.id": "g1"}))

    def committed() -> int:
        [place] = reader.committed([TopicPartition(settings.kafka_topic, 0)], timeout=LIMIT_S)
        return place.offset

    member.commit({0: 1})
    wait_until(lambda: member.keep_place(0.05) or committed() == 1, "the offset is committed")
    member._see_error(KafkaError(KafkaError._TRANSPORT))
    member.commit({0: 2})
    member.commit({0: 3}, last=True)
    member.close()  # sends what was to be committed
    assert committed() == 1
    reader.close()
