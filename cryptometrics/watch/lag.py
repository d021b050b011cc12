"""Look up the lag without blocking: the screen goes on when Kafka does not answer."""

from __future__ import annotations

import concurrent.futures
import time
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException

from cryptometrics.errors import CryptometricsError
from cryptometrics.kafka import errors
from cryptometrics.kafka.client import make_admin
from cryptometrics.kafka.partition_ends import offset_in, request_ends

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

    from cryptometrics.config import Settings
    from cryptometrics.watch.snapshot import Partition

ASK_EVERY_S = 1.0
ANSWER_S = 3.0
"""Seconds Kafka has to answer."""

Place = tuple[str, int]
"""Topic and partition."""


class Lag:
    """The lag of each partition, or why it is not known.

    Kafka is asked at the moment a snapshot is read: an end from a second ago would hide the lag.
    """

    def __init__(self, settings: Settings) -> None:
        self._admin: AdminClient | None = None
        self._asked: dict[Place, concurrent.futures.Future[Any]] = {}
        self._asked_at = float("-inf")
        self._stored: dict[Place, int] = {}
        self.known: dict[Place, int] = {}
        self.trouble: str | None = None
        """Why the lag is not known; None while it is."""
        try:
            self._admin = make_admin(settings)
        except CryptometricsError as error:
            self.trouble = str(error)

    def ask(self, places: list[Place]) -> bool:
        """Request the ends of these, unless the last answer is recent or pending; return whether it did."""
        if self._admin is None or self._asked or not places:
            return False
        if time.monotonic() - self._asked_at < ASK_EVERY_S:
            return False
        self._asked_at = time.monotonic()
        self._asked = request_ends(self._admin, places, ANSWER_S)
        return True

    def compare(self, partitions: list[Partition]) -> None:
        """Set the offsets stored at the time of the request."""
        self._stored = {(part.topic, part.partition): part.next_offset for part in partitions}

    def listen(self, wait: float = 0.0) -> None:
        """Read the answers, if all arrive within `wait` seconds."""
        if not self._asked or concurrent.futures.wait(self._asked.values(), wait).not_done:
            return
        try:
            ends = {place: offset_in(answer) for place, answer in self._asked.items()}
            self.known = {place: max(end - self._stored.get(place, end), 0) for place, end in ends.items()}
            self.trouble = None
        except KafkaException as error:
            self.known, self.trouble = {}, errors.text(error)
        self._asked = {}
