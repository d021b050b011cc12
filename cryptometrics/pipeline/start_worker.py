"""Starts a worker: waits for its services, and gives it a name in the consumer group."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

from cryptometrics.kafka.admin_requests import wait_for_kafka
from cryptometrics.kafka.topic import describe_topic
from cryptometrics.notify.sender import sending
from cryptometrics.pipeline.worker import Worker
from cryptometrics.pipeline.worker_slot import instance_id
from cryptometrics.store.connection import connect
from cryptometrics.store.database_errors import explaining

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptometrics.config import Settings
    from cryptometrics.pipeline.options import WorkerOptions
    from cryptometrics.pipeline.worker_report import WorkerTotals

    Notice = Callable[[BaseException, float], None]

GC_THRESHOLD = 500_000
"""Net allocations before the cyclic garbage collector runs; several batches stay below it."""
SWITCH_INTERVAL_S = 0.0005
"""GIL switch interval: at the default of 5 ms the writer stalls on every round trip of a transaction."""


def wait_for_services(settings: Settings, notice_of: Callable[[str], Notice]) -> None:
    """Wait until Kafka and PostgreSQL answer, each for at most `settings.wait` seconds.

    notice_of: returns the callback that reports failed attempts, for the name of a service.
    Raises ServiceUnavailableError if a service does not answer in time, UserError if it refuses.
    """
    wait_for_kafka(settings, notice_of("Kafka"))
    connect(settings, notice=notice_of("PostgreSQL")).close()


def run_worker(
    settings: Settings,
    options: WorkerOptions,
    *,
    stop: Callable[[], bool],
    progress: Callable[[Worker], None] | None = None,
) -> WorkerTotals:
    """Run one worker until `stop` returns True or, if asked for, until it has caught up; return its totals.

    The services must be up at the start. Later the worker waits for them without limit.
    """
    # A batch is thousands of objects without a cycle: searching them would cost a seventh of the time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    topic = describe_topic(settings)
    # A returning member gets its old partitions back; if the topic has changed, it needs a new name.
    read = f"{topic.name} {topic.id} {topic.partitions}"
    with (
        instance_id(options.group, settings.kafka_address, read) as name,
        explaining(),
        sending(settings, options.group, options.rules, options.channels),
    ):
        return Worker(settings, options, topic, name, stop, progress).run()
