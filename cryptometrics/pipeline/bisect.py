"""A batch that PostgreSQL refuses as a whole: halved until the one row is found, and that one rejected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from cryptometrics.errors import CryptometricsError
from cryptometrics.store import offsets
from cryptometrics.store.batch_transaction import FencedError
from cryptometrics.store.database_errors import is_refusal, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptometrics.kafka.record import Record
    from cryptometrics.pipeline.database import Database

PART_S = 30.0
"""How long one part may take to be written; then the loop goes on after it as after any batch."""

Refused = dict[tuple[int, int], str]
"""(partition, offset) → PostgreSQL's message."""


@dataclass
class BatchBisector:
    """Writes one batch in parts, at a time when nothing else is being written."""

    database: Database
    topic: offsets.GroupTopic
    epochs: Callable[[], dict[int, int]]
    """Gives the partitions that may be written at the moment, with the epoch of each one's claim."""
    may_continue: Callable[[], bool]
    """Asked between parts, of which there may be thousands: who answers keeps the place in the group."""

    def write(self, messages: Sequence[Record]) -> None:
        """Write them all, but each one that PostgreSQL refuses as rejected, with PostgreSQL's own message.

        What follows a refused tick is calculated again without it, because its extremes must not count.
        Where something else goes wrong the writer has its failure. Raises CryptometricsError when PostgreSQL
        does not even take the rejection: no repetition can mend that.
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
                todo.append((part, _with(refused, part[0], failure)))
            self._rewind()

    def _rewind(self) -> None:
        """Calculate again from what is stored: a refusal has undone its transaction and nothing else."""
        self.database.calculator.drop_all()
        for partition, epoch in sorted(self.epochs().items()):
            claim = offsets.renew(
                self.database.connection, self.topic, partition, epoch, self.database.backend
            )
            if claim is None:
                raise FencedError(f"partition {partition} has another owner")
            self.database.calculator.own(claim)
        self.database.writer.resume()


def _with(refused: Refused, message: Record, failure: Exception) -> Refused:
    """Return what is refused now that this message, alone, was; raise where it had been rejected already."""
    place = message.partition(), message.offset()
    why = (failure.diag.message_primary if isinstance(failure, psycopg.Error) else None) or one_line(failure)
    if place in refused:
        raise CryptometricsError(
            f"PostgreSQL refuses offset {place[1]} of partition {place[0]} even as a rejected one "
            f"({why}): see which constraint or trigger of the tables does that"
        )
    return {place: why}
