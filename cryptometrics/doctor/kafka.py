"""Checks of Kafka: whether it answers, its encryption, and the settings that can lose records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.doctor.diagnosis import ok, skipped, warning, wrong
from cryptometrics.errors import CryptometricsError
from cryptometrics.kafka.admin_requests import wait_for_kafka
from cryptometrics.kafka.topic_settings import read_topic_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.config import Settings
    from cryptometrics.doctor.diagnosis import Diagnosis
    from cryptometrics.kafka.topic_settings import TopicSettings

DAY_MS = 86_400_000
_ON_THIS_MACHINE = ("127.", "localhost:", "[::1]")
_ENCRYPTED = {"SSL", "SASL_SSL"}


def check_kafka(settings: Settings) -> Iterator[Diagnosis]:
    """Check Kafka as these settings reach it."""
    try:
        address = settings.kafka_address
        yield encryption(address, str(settings.kafka().get("security.protocol", "PLAINTEXT")))
        wait_for_kafka(settings)
        yield ok("kafka", f"{address} answers")
        found = read_topic_settings(settings)
    except CryptometricsError as error:
        yield wrong("kafka", str(error), "start Kafka or correct its settings, then run `doctor` again")
        return
    yield skipped(
        "clock of kafka", "Kafka does not tell its time: check that its machines synchronize their clocks"
    )
    if found is None:
        yield wrong("topic", f"there is no topic {settings.kafka_topic}", "cryptometrics init-db")
        return
    yield from check_topic(settings.kafka_topic, found, local=settings.uses_local_kafka)


def encryption(servers: str, protocol: str) -> Diagnosis:
    """Check that nothing travels a network in plain text."""
    if protocol in _ENCRYPTED:
        return ok("kafka tls", f"{protocol}: encrypted")
    if all(server.strip().startswith(_ON_THIS_MACHINE) for server in servers.split(",")):
        return ok("kafka tls", f"{protocol}: the broker is on this machine")
    return warning(
        "kafka tls",
        f"{protocol} to {servers}: not encrypted",
        "set KAFKA_SECURITY_PROTOCOL to SSL or SASL_SSL",
    )


def check_topic(name: str, topic: TopicSettings, *, local: bool) -> Iterator[Diagnosis]:
    """Check how Kafka keeps the topic; local: it is the one broker that `up` runs, which has no others."""
    yield partitions(name, topic)
    yield replication(name, topic, local=local)
    yield in_sync(name, topic)
    yield retention(name, topic)
    yield compaction(name, topic)
    yield unclean_election(name, topic)


def partitions(name: str, topic: TopicSettings) -> Diagnosis:
    """Check that every partition has a leader and all of its replicas."""
    if topic.without_leader:
        found = f"partitions {_listed(topic.without_leader)} of {name} have no leader"
        return wrong("topic", found, "start the brokers that hold them")
    if topic.under_replicated:
        found = f"partitions {_listed(topic.under_replicated)} of {name} lack a replica"
        return warning("topic", found, "start the brokers that hold the replicas")
    return ok("topic", f"{name} has {topic.partitions} partitions, each with a leader")


def replication(name: str, topic: TopicSettings, *, local: bool) -> Diagnosis:
    """Check that a broker may be lost without losing records."""
    found = f"replication factor {topic.replicas} with {topic.brokers} brokers"
    if topic.replicas > 1 or local:
        return ok("replication", found)
    return warning(
        "replication",
        f"{found}: a broker that loses its disk loses the records",
        f"use 3 brokers, and reassign the partitions of {name} to 3 replicas (kafka-reassign-partitions.sh)",
    )


def in_sync(name: str, topic: TopicSettings) -> Diagnosis:
    """Check how many replicas acknowledge a record."""
    required = int(topic.values.get("min.insync.replicas", "1"))
    found = f"min.insync.replicas={required} with replication factor {topic.replicas}"
    fix = _alter(name, f"min.insync.replicas={max(topic.replicas - 1, 1)}")
    if required > topic.replicas:
        return wrong("min.insync.replicas", f"{found}: no record can be written", fix)
    if topic.replicas > 1 and required == topic.replicas:
        return warning("min.insync.replicas", f"{found}: one lost broker stops all writes", fix)
    if topic.replicas > 2 and required == 1:
        return warning("min.insync.replicas", f"{found}: one lost broker can lose acknowledged records", fix)
    return ok("min.insync.replicas", found)


def retention(name: str, topic: TopicSettings) -> Diagnosis:
    """Check that a worker may be stopped for a day without missing records."""
    milliseconds = int(topic.values.get("retention.ms", "-1"))
    limit = int(topic.values.get("retention.bytes", "-1"))
    kept = "without end" if milliseconds < 0 else f"for {milliseconds / 3_600_000:,.3g} h"
    found = f"records are kept {kept} (retention.ms={milliseconds})"
    if 0 <= milliseconds < DAY_MS:
        return warning(
            "retention",
            f"{found}: a worker that is stopped for longer misses records",
            _alter(name, f"retention.ms={7 * DAY_MS}"),
        )
    if limit >= 0:
        return warning(
            "retention",
            f"{found}, but at most {limit:,} bytes of each partition: a burst drops records earlier",
            _alter(name, "retention.bytes=-1"),
        )
    return ok("retention", found)


def compaction(name: str, topic: TopicSettings) -> Diagnosis:
    """Check that Kafka does not drop all but the newest record of each pair."""
    policy = topic.values.get("cleanup.policy", "delete")
    found = f"cleanup.policy={policy}"
    if "compact" not in policy:
        return ok("compaction", found)
    return wrong(
        "compaction",
        f"{found}: Kafka drops older ticks of each pair before they are processed",
        _alter(name, "cleanup.policy=delete"),
    )


def unclean_election(name: str, topic: TopicSettings) -> Diagnosis:
    """Check that a replica that lacks records never becomes the leader."""
    value = topic.values.get("unclean.leader.election.enable", "false")
    found = f"unclean.leader.election.enable={value}"
    if value != "true":
        return ok("leader election", found)
    return warning(
        "leader election",
        f"{found}: after a failure acknowledged records can be lost",
        _alter(name, "unclean.leader.election.enable=false"),
    )


def _alter(name: str, setting: str) -> str:
    return f"kafka-configs.sh --alter --entity-type topics --entity-name {name} --add-config {setting}"


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))
