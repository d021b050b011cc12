"""Look up the lag without blocking: a live view goes on when Kafka does not answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from cryptometrics.errors import CryptometricsError
from cryptometrics.kafka import errors
from cryptometrics.kafka.client import make_admin
from cryptometrics.kafka.open_transactions import EndsProbe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptometrics.config import Settings
    from cryptometrics.kafka.open_transactions import OpenTransaction
    from cryptometrics.kafka.partition_ends import Place

ASK_EVERY_S = 1.0
ANSWER_S = 3.0
"""Seconds Kafka has to answer."""


class Lag:
    """The lag of each partition, or why it is not known.

    Kafka is asked at the moment a snapshot is read: an end from a second ago would hide the lag.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._address: str | None = None
        self._probe: EndsProbe | None = None
        self._asked_at = float("-inf")
        self._stored: dict[Place, int] = {}
        self.known: dict[Place, int] = {}
        self.trouble: str | None = None
        """Why the lag is not known; None while it is."""
        self._connect()

    def _connect(self) -> None:
        """Make a client, unless there is one of Kafka's present address; have none while it is stopped."""
        try:
            address = self._settings.running_kafka
            if address is None:  # another cluster may take the port
                self._probe, self.known = None, {}
                self.trouble = (
                    "the local Kafka is not running: start it with `cryptometrics up`, "
                    "or set KAFKA_BOOTSTRAP_SERVERS"
                )
            elif address != self._address:
                self._probe = EndsProbe(make_admin(self._settings), ANSWER_S)
            self._address = address
        except CryptometricsError as error:
            self.trouble = str(error)

    @property
    def open_transactions(self) -> Mapping[Place, OpenTransaction | None]:
        """The open transaction of each partition, or None; only known ones."""
        return self._probe.open if self._probe is not None else {}

    def ask(self, places: list[Place]) -> bool:
        """Request the ends of these, unless the last answer is recent or pending; return whether it did."""
        if time.monotonic() - self._asked_at < ASK_EVERY_S:
            return False
        self._connect()
        if self._probe is None or not self._probe.ask(places):
            return False
        self._asked_at = time.monotonic()
        return True

    def compare(self, next_offsets: Mapping[Place, int]) -> None:
        """Set the next offsets stored at the time of the request."""
        self._stored = dict(next_offsets)

    def listen(self, wait: float = 0.0) -> None:
        """Read the answers, if all arrive within `wait` seconds."""
        if self._probe is None:
            return
        try:
            if self._probe.listen(wait):
                ends = self._probe.ends
                self.known = {at: max(end - self._stored.get(at, end), 0) for at, end in ends.items()}
                self.trouble = None
        except KafkaException as error:
            self.known, self.trouble = {}, errors.text(error)
