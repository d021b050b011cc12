"""Start a worker when its services answer, under a name of its own in the group."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

from cryptometrics.kafka.admin import wait_for_kafka
from cryptometrics.kafka.topic import describe_topic
from cryptometrics.notify.sender import sending
from cryptometrics.pipeline.worker import Worker
from cryptometrics.pipeline.worker_slot import instance_id
from cryptometrics.store.connection import connect
from cryptometrics.store.database_errors import explaining

GC_THRESHOLD = 500_000
"""Objects more than were given back, before cycles are looked for; several batches hold fewer."""
SWITCH_S = 0.0005
"""How long the thread that calculates may keep the one that writes waiting for Python: a batch's transaction
is a dozen short turns, and with Python's own 5 ms each of them would be waited for."""

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptometrics.config import Settings
    from cryptometrics.pipeline.options import WorkerOptions
    from cryptometrics.pipeline.progress import WorkerTotals

    Notice = Callable[[BaseException, float], None]


def wait_for_services(settings: Settings, notice_of: Callable[[str], Notice]) -> None:
    """Return when Kafka and PostgreSQL answer; each is waited for `settings.wait` seconds at most.

    notice_of: gives, for a service's name, who is told that it is being waited for.
    Raises ServiceUnavailableError when one does not answer in time, UserError when it refuses.
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
    """Run one worker until `stop` says so or, if asked for, until it has caught up; return what it did.

    The services must be there at the start; one that goes away later is waited for without end.
    """
    # A batch is thousands of objects without a cycle: to look for one would cost a seventh of the time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    sys.setswitchinterval(SWITCH_S)
    cluster = settings.kafka_address
    topic = describe_topic(settings)
    # Kafka gives a member that comes back what it had, whatever the topic has become: so that is another one.
    read = f"{topic.name} {topic.id} {topic.partitions}"
    with (
        instance_id(options.group, cluster, read) as name,
        explaining(),
        sending(settings, options.group, options.rules),
    ):
        return Worker(settings, options, topic, name, stop, progress).run()
