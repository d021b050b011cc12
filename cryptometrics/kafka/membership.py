"""Detect a consumer that has left its group and does not rejoin by itself.

librdkafka normally rejoins. After a broker crash on an overloaded machine, one client did not, and its worker
stayed idle for minutes. So a worker without partitions asks Kafka whether it is still a member.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from confluent_kafka import ConsumerGroupState

if TYPE_CHECKING:
    from concurrent.futures import Future

    from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they are documented there
        AdminClient,
        ConsumerGroupDescription,
    )

ASK_EVERY_S = 5.0
ANSWER_S = 3.0
PATIENCE_S = 20.0
"""Seconds without a place before it counts as lost: several times what joining takes."""


class Membership:
    """Asks Kafka about the place of one member, without waiting, and only while it has no partitions."""

    def __init__(self, group: str, instance_id: str) -> None:
        self._group = group
        self._instance_id = instance_id
        self._asked: Future[ConsumerGroupDescription] | None = None
        self._asked_at = 0.0
        self._placed_at = time.monotonic()
        """When it last had partitions, or Kafka last said that it is to have none."""

    def is_lost(self, admin: AdminClient, partitions: set[int]) -> bool:
        """Return whether the client should be replaced; call it with every round of the worker's loop.

        partitions: those it has. While Kafka does not answer, nothing is known, so nothing is lost.
        """
        now = time.monotonic()
        if partitions:
            self._placed_at, self._asked = now, None
            return False
        if self._asked is not None and self._asked.done():
            answer, self._asked = self._asked, None
            if answer.exception() is None:
                if self._has_place(answer.result()):
                    self._placed_at = now
                elif now - self._placed_at > PATIENCE_S:
                    self._placed_at = now  # the new client needs time, too
                    return True
        if self._asked is None and now - max(self._placed_at, self._asked_at) > ASK_EVERY_S:
            self._asked_at = now
            asked = admin.describe_consumer_groups([self._group], request_timeout=ANSWER_S)
            self._asked = asked[self._group]
        return False

    def _has_place(self, group: ConsumerGroupDescription) -> bool:
        """Whether the group has settled with this member in it, and has no partition for it."""
        return group.state == ConsumerGroupState.STABLE and any(
            member.group_instance_id == self._instance_id and not member.assignment.topic_partitions
            for member in group.members
        )
