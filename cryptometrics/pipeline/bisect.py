"""Bisects a batch that PostgreSQL refuses, until the refused row is found and rejected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from cryptometrics.errors import CryptometricsError
from cryptometrics.store import partition_claims
from cryptometrics.store.batch_transaction import FencedError
from cryptometrics.store.database_errors import is_refusal, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptometrics.kafka.record import Record
    from cryptometrics.pipeline.worker_sessions import Database

PART_S = 30.0
"""Limit for writing one part; after it, the loop continues as after any slow batch."""

Refused = dict[tuple[int, int], str]
"""(partition, offset) → PostgreSQL's message."""


@dataclass
class BatchBisector:
    """Writes one batch in parts while nothing else is written."""

    database: Database
    topic: partition_claims.GroupTopic
    epochs: Callable[[], dict[int, int]]
    """Returns the epoch of each partition that may be written now."""
    may_continue: Callable[[], bool]
    """Called between parts; polls Kafka, so that the worker stays in its group."""

    def write(self, messages: Sequence[Record]) -> None:
        """Write all messages; those that PostgreSQL refuses become rejects with PostgreSQL's own message.

        The ticks after a refused one are calculated again without it, because its extremes must not count.
        Any other failure is left in the writer. Raises CryptometricsError if PostgreSQL refuses even the
        rejected row, because retries cannot help.
        """
        todo: list[tuple[Sequence[Record], Refused]] = [(messages, {})]
        while todo and self.may_continue():
            part, refused = todo.pop()
            work = self.database.calculator.calculate(part, [], refused)
            if work.batch.parts:
                self.database.writer.offer(work, PART_S)
            if self.database.writer.drain(PART_S):
                continue
            failure = self.database.writer.failure
            if failure is None or not is_refusal(failure):
                return
            if len(part) > 1:
                middle = len(part) // 2
                todo += [(part[middle:], {}), (part[:middle], {})]
            else:
                todo.append((part, _refuse(refused, part[0], failure)))
            self._rewind()

    def _rewind(self) -> None:
        """Reset the calculator to what is stored: the refused transaction was rolled back."""
        self.database.calculator.drop_all()
        for partition, epoch in sorted(self.epochs().items()):
            claim = partition_claims.renew(
                self.database.connection, self.topic, partition, epoch, self.database.backend
            )
            if claim is None:
                raise FencedError(f"partition {partition} has another owner")
            self.database.calculator.own(claim)
        self.database.writer.resume()


def _refuse(refused: Refused, message: Record, failure: Exception) -> Refused:
    """Return the refusal of a message that was written alone; raise if it was already written as a reject."""
    place = message.partition(), message.offset()
    why = (failure.diag.message_primary if isinstance(failure, psycopg.Error) else None) or one_line(failure)
    if place in refused:
        raise CryptometricsError(
            f"PostgreSQL refuses offset {place[1]} of partition {place[0]} even as a rejected one "
            f"({why}): look for a constraint or trigger that causes this"
        )
    return {place: why}
