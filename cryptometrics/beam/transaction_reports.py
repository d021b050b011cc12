"""Report open Kafka transactions that hold back the readers of a job.

The command that started the job reports them, because its readers may run where nobody reads their logs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptometrics.kafka.client import make_admin
from cryptometrics.kafka.open_transactions import TransactionMonitor
from cryptometrics.kafka.topic import describe_topic

if TYPE_CHECKING:
    from cryptometrics.config import Settings


class TransactionReports:
    """Logs each open transaction of the topic once, and its end; follows the local Kafka to a new address."""

    def __init__(self, settings: Settings, group: str) -> None:
        """group: part of each event. Raises UserError if the topic does not exist."""
        topic = describe_topic(settings)
        self._settings = settings
        self._group = group
        self._topic = topic.name
        self._partitions = range(topic.partitions)
        self._address = settings.kafka_address
        self._monitor = self._make_monitor()

    def check(self) -> None:
        """Report what is open now, however new, before a run that reads to the end which Kafka has now."""
        self._monitor.check(self._partitions)

    def poll(self) -> None:
        """Report what has been open for a while; returns at once, so call it in a loop."""
        address = self._settings.running_kafka
        if address is None:  # the local Kafka is stopped
            return
        if address != self._address:
            self._address = address
            self._monitor = self._make_monitor()
        self._monitor.poll(self._partitions)

    def _make_monitor(self) -> TransactionMonitor:
        admin = make_admin(self._settings)
        return TransactionMonitor(admin, self._topic, self._address, group=self._group)
