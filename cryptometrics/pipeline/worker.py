"""One member of the consumer group: reads its partitions, calculates, and has the batches written.

There is one way out of every doubt (a lost connection, a lost answer to COMMIT, a fence, a refused row):
forget everything, ask the database where each partition stands, and read on from there.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import psycopg
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from cryptometrics import broker, log, retry
from cryptometrics.errors import CryptometricsError, ServiceUnavailableError
from cryptometrics.pipeline.calculate import MOST_REMEMBERED, Calculator, Record, Work
from cryptometrics.pipeline.writer import Totals, Writer
from cryptometrics.store import batch as store
from cryptometrics.store import data_loss, offsets
from cryptometrics.store.connection import connect_once, explained, is_refusal, is_transient
from cryptometrics.store.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptometrics.config import Settings

IDLE_S = 0.25
"""How long an idle worker waits for a first message before it looks around."""
LINGER_S = 0.005
"""How long a batch that is not full waits for more messages."""
PATIENCE_S = 1.0
"""How long a full writer is waited for before the partitions are paused."""
REVOKE_S = 10.0
"""How long a revocation waits for what is in hand; the group waits meanwhile."""
ABANDON_S = 10.0
"""How long a writer may take to come to rest after a failure."""
FINISH_S = 30.0
"""How long the end waits for the last batches."""
WATERMARK_S = 10.0
"""How long Kafka may take to say what a partition holds."""
SUMMARIZE_EVERY_S = 15.0
"""How often the index of the table learns of new blocks: until then every search reads them."""
COMMIT_EVERY_S = 1.0
"""How often Kafka is told, for lag tools only, what is stored."""

# What Kafka says while a broker restarts or a topic is new: librdkafka calls none of it retriable.
_PASSING = {
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.NETWORK_EXCEPTION,
}


@dataclass(frozen=True)
class Options:
    """What a worker is asked to do."""

    group: str
    session: str | None = None
    batch: int = 5_000
    until_caught_up: bool = False
    skip_lost: bool = False


class Worker:
    """Reads as a member of `options.group` until it is stopped or has caught up."""

    def __init__(
        self,
        settings: Settings,
        options: Options,
        instance_id: str,
        stop: Callable[[], bool],
        progress: Callable[[Worker], None] | None = None,
    ) -> None:
        self._settings = settings
        self._options = options
        self._stop = stop
        self._progress = progress
        self._log = log.get_logger(group=options.group)
        self._topic = broker.describe_topic(settings)
        self._reader = offsets.Reader(options.group, self._topic.name, self._topic.id)
        self._owner = f"{instance_id} pid {os.getpid()} on {socket.gethostname()}"
        self._consumer = Consumer(broker.consumer_conf(settings, options.group, instance_id))
        self._assigned: set[int] = set()
        self._unopened: set[int] = set()
        self._epochs: dict[int, int] = {}
        self._doubt: str | None = None
        self._failures = 0
        self._batches_seen = 0
        self._goals: dict[int, int] | None = None
        self._growth: dict[int, int] | None = None
        self._told: dict[int, int] = {}
        self._next_commit = 0.0
        self._next_summary = time.monotonic() + SUMMARIZE_EVERY_S
        self._next_goal_check = 0.0
        self._calculator = Calculator(options.group, options.session)
        self._writer = Writer(self._reader)
        self._backend: offsets.Backend | None = None

    @property
    def totals(self) -> Totals:
        """What was committed so far."""
        return self._writer.totals

    def lag(self) -> int:
        """Return how many messages of the assigned partitions are not yet stored, as far as is known."""
        lag = 0
        for partition, stored in self._writer.totals.next_offsets.items():
            if partition in self._assigned:
                _, high = self._consumer.get_watermark_offsets(self._at(partition), cached=True)
                lag += max(high - stored, 0)
        return lag

    def run(self) -> Totals:
        """Work until stopped, or until caught up; what is in hand is finished first."""
        try:
            self._start()
            while not self._stop() and not self._caught_up():
                self._step()
            if not self._writer.drain(FINISH_S):
                self._log.warning("not_finished", hint="what is not stored is read again by the next worker")
            self._commit_to_kafka(final=True)
        finally:
            self._consumer.close()
            self._writer.end()
            if self._calculator.state is not None:
                self._calculator.state.connection.close()
        return self.totals

    # One step

    def _step(self) -> None:
        if self._progress is not None:
            self._progress(self)
        if self._writer.failure is not None or self._doubt:
            self._recover()
            return
        try:
            self._open_new()
            messages = self._consume()
            if messages:
                self._submit(self._calculator.calculate(messages, self._writer.in_flight()))
        except (psycopg.Error, KafkaException) as error:
            self._doubt = self._judge(error)
            return
        if self._writer.totals.batches > self._batches_seen:
            self._batches_seen, self._failures = self._writer.totals.batches, 0
        self._commit_to_kafka()
        if time.monotonic() >= self._next_summary:
            self._next_summary = time.monotonic() + SUMMARIZE_EVERY_S
            self._calculator.summarize()
        if self._calculator.remembered() > MOST_REMEMBERED and self._writer.drain(FINISH_S):
            self._calculator.forget_pairs()

    def _consume(self) -> list[Record]:
        """Return what there is, up to a batch: at once when there is much, after a moment when little."""
        received = self._consumer.consume(1, IDLE_S)
        if received:
            received += self._consumer.consume(self._options.batch - 1, LINGER_S)
        messages = cast("list[Record]", [message for message in received if message.error() is None])
        if len(messages) < len(received):
            ended = [message for message in received if message.error() is not None]
            # What came before the end of a partition is calculated before the end is.
            if messages:
                self._submit(self._calculator.calculate(messages, self._writer.in_flight()))
            for message in ended:
                self._hear(message)
            return []
        return messages

    def _hear(self, message: Message) -> None:
        """Act on an event that comes in place of a message."""
        error, partition, offset = message.error(), message.partition(), message.offset()
        assert error is not None  # noqa: S101  (checked by the caller)
        if error.code() == KafkaError._PARTITION_EOF and partition is not None and offset is not None:
            # Markers of transactions and what compaction took leave no message, so the end tells of them.
            work = self._calculator.ended(partition, offset)
            if work is not None:
                self._submit(work)
        elif error.fatal() or error.code() in {
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError._AUTO_OFFSET_RESET,
        }:
            raise CryptometricsError(f"Kafka refuses to go on: {error.str()}")
        elif error.code() in {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION}:
            raise CryptometricsError(f"the topic {self._topic.name} is gone: {error.str()}")
        else:
            self._log.warning("kafka_event", error=error.str())

    def _submit(self, work: Work) -> None:
        """Hand a batch to the writer. While a slow database lets none in, keep the place in the group."""
        if not work.batch.parts or self._doubt:
            return
        if self._writer.offer(work, PATIENCE_S):
            return
        assigned = [self._at(partition) for partition in self._assigned]
        self._consumer.pause(assigned)
        while not self._writer.offer(work, 0.1):
            if self._writer.failure is not None or self._stop():
                self._doubt = self._doubt or "a batch was not taken"
                return
            self._consumer.poll(0)
            if self._progress is not None:
                self._progress(self)
            if self._in_doubt():
                return
        self._consumer.resume([self._at(partition) for partition in self._assigned])

    # Assignment

    def _in_doubt(self) -> bool:
        return self._doubt is not None  # a callback of the poll may have set it

    def _start(self) -> None:
        self._connect()
        state = self._calculator.state
        assert state is not None  # noqa: S101  (set by _connect)
        offsets.refuse_other_topic(state.connection, self._reader)
        held = self._all_held()
        offsets.register(state.connection, self._reader, {p: low for p, (low, _) in held.items()})
        if self._options.until_caught_up:
            self._goals = {partition: high for partition, (_, high) in held.items()}
        self._consumer.subscribe(
            [self._topic.name], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Accept, but read nothing yet: where to begin is in the database, which may have to be awaited."""
        for partition in partitions:
            partition.offset = OFFSET_BEGINNING
        consumer.incremental_assign(partitions)
        consumer.pause(partitions)
        new = {partition.partition for partition in partitions}
        self._assigned |= new
        self._unopened |= new
        self._log.info("partitions_assigned", partitions=sorted(new))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Finish what is in hand, so that the next owner begins after it; then let go."""
        revoked = {partition.partition for partition in partitions}
        if not self._writer.drain(REVOKE_S):
            self._doubt = "what was in hand at a revocation is not stored yet"
        self._let_go(revoked)
        consumer.incremental_unassign(partitions)
        self._log.info("partitions_revoked", partitions=sorted(revoked))

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Discard: another worker may own them by now."""
        lost = {partition.partition for partition in partitions}
        self._doubt = "partitions were lost"
        self._let_go(lost)
        consumer.incremental_unassign(partitions)
        self._log.warning("partitions_lost", partitions=sorted(lost))

    def _let_go(self, partitions: set[int]) -> None:
        self._assigned -= partitions
        self._unopened -= partitions
        self._calculator.drop(partitions)
        for partition in partitions:
            self._epochs.pop(partition, None)

    def _open_new(self) -> None:
        for partition in sorted(self._unopened):
            if self._open(partition):
                self._unopened.discard(partition)

    def _open(self, partition: int) -> bool:
        """Claim a partition and begin to read it where the database says; False where that has to wait."""
        state, backend = self._calculator.state, self._backend
        assert state is not None  # noqa: S101  (connected before anything is opened)
        assert backend is not None  # noqa: S101
        connection = state.connection
        stored = offsets.stored(connection, self._reader, partition)
        oldest, end = self._held(partition)
        if stored is None and not self._growth_stored():
            return False
        loss = data_loss.found(stored, self._topic.id, oldest, end) if stored else None
        if loss is not None and not self._options.skip_lost:
            raise loss.error(self._reader, partition)
        claim = None
        if (epoch := self._epochs.get(partition)) is not None:
            claim = offsets.renew(connection, self._reader, partition, epoch, backend)
        if claim is None:
            claim = offsets.claim(connection, self._reader, partition, oldest, self._owner, backend)
        if loss is not None:
            claim = data_loss.skip(connection, self._reader, claim, loss)
        self._epochs[partition] = claim.epoch
        self._calculator.own(claim)
        self._consumer.incremental_unassign([self._at(partition)])
        self._consumer.incremental_assign([self._at(partition, claim.next_offset)])
        self._consumer.resume([self._at(partition)])
        return True

    def _growth_stored(self) -> bool:
        """Whether the old partitions of a topic that got more are stored up to their ends of that moment.

        A pair may have moved from an old partition to a new one: its older ticks have to come first.
        """
        assert self._calculator.state is not None  # noqa: S101
        stored = offsets.next_offsets(
            self._calculator.state.connection, self._reader.group, self._reader.topic
        )
        if self._growth is None:
            self._growth = {partition: self._held(partition)[1] for partition in stored}
            self._log.warning("topic_grew", old_partitions=len(stored), hint="new ones wait for the old ones")
        return all(stored[partition] >= end for partition, end in self._growth.items())

    # Recovery

    def _judge(self, error: Exception) -> str:
        """Return why to read again from the database, or raise what no repetition can mend."""
        if isinstance(error, store.FencedError) or is_transient(error) or is_refusal(error):
            return str(error).strip() or type(error).__name__
        if isinstance(error, psycopg.Error) and (meaning := explained(error)):
            raise meaning from None
        if isinstance(error, KafkaException) and (
            error.args[0].retriable() or error.args[0].code() in _PASSING
        ):
            return str(error.args[0].str())
        raise error

    def _recover(self) -> None:
        """Forget, reconnect, ask the database where each partition stands, and read on from there."""
        failure, failed = self._writer.failure, self._writer.failed_work
        reason = self._judge(failure) if failure is not None else str(self._doubt)
        self._failures += 1
        wait = retry.wait_after(self._failures)
        self._log.warning(
            "starting_over", reason=reason.splitlines()[0], attempt=self._failures, wait_s=round(wait, 2)
        )
        self._forget()
        self._sit_out(wait)
        retrier = retry.retrying(
            (psycopg.OperationalError, psycopg.InterfaceError, KafkaException),
            timeout=None,
            notice=self._notice,
            sleep=self._sit_out,
            stop=self._stop,
        )
        try:
            retrier(self._reopen)
        except (psycopg.Error, KafkaException) as error:
            if not self._stop():
                raise
            self._log.warning("stopped_while_waiting", error=str(error).strip())
            return
        if failed is not None and is_refusal(failure) and self._failures > 1:
            self._write_in_parts(failed.messages)

    def _forget(self) -> None:
        if not self._writer.abandon(ABANDON_S):
            raise CryptometricsError("the database connection hangs and cannot be given up: start again")
        self._calculator.drop_all()
        self._consumer.pause([self._at(partition) for partition in self._assigned])
        self._unopened = set(self._assigned)
        self._doubt = None

    def _reopen(self) -> None:
        self._connect()
        self._doubt = None
        self._unopened = set(self._assigned)
        self._open_new()

    def _sit_out(self, seconds: float) -> None:
        """Wait, but keep the place in the group: rebalances are answered, messages passed over."""
        deadline = time.monotonic() + seconds
        while not self._stop() and (left := deadline - time.monotonic()) > 0:
            self._consumer.poll(min(left, 0.1))
            if self._progress is not None:
                self._progress(self)

    def _notice(self, error: BaseException, seconds: float) -> None:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        self._log.warning("service_unavailable", error=lines[-1], next_attempt_s=round(seconds, 1))

    def _write_in_parts(self, messages: Sequence[Record]) -> None:
        """Write what PostgreSQL refuses as a whole: halve it until the one row is found, and reject that one.

        What follows a refused tick is calculated again without it, because its extremes must not count.
        """
        halves: list[tuple[list[Record], dict[tuple[int, int], str]]] = [(list(messages), {})]
        while halves:
            part, refused = halves.pop()
            work = self._calculator.calculate(part, [], refused)
            if not work.batch.parts:
                continue
            self._submit(work)
            if self._writer.drain(FINISH_S):
                continue
            failure = self._writer.failure
            if failure is None or not is_refusal(failure):
                return  # something else has gone wrong: the loop starts over from what is stored
            self._forget()
            self._reopen()
            if len(part) > 1:
                middle = len(part) // 2
                halves += [(part[middle:], {}), (part[:middle], {})]
            else:
                only = part[0]
                why = failure.diag.message_primary or str(failure)  # type: ignore[attr-defined]
                halves.append((part, {(only.partition(), only.offset()): why}))
        self._reseek()

    def _reseek(self) -> None:
        """Let the consumer go on after what was just written from memory."""
        for partition, epoch_offset in self._calculator.positions().items():
            self._consumer.incremental_unassign([self._at(partition)])
            self._consumer.incremental_assign([self._at(partition, epoch_offset)])
            self._consumer.resume([self._at(partition)])

    # Around the loop

    def _connect(self) -> None:
        """Open both sessions: one writes, the other reads the past meanwhile."""
        uri = self._settings.postgres()
        if self._calculator.state is not None:
            self._calculator.state.connection.close()
        past, writing = connect_once(uri), connect_once(uri)
        for connection in (past, writing):
            connection.execute("SET statement_timeout = '60s'")
            connection.execute("SET lock_timeout = '10s'")
        self._calculator.state = State(past, self._options.group)
        self._backend = offsets.backend_of(writing)
        self._writer.begin(writing)

    def _held(self, partition: int) -> tuple[int, int]:
        """Return the offsets of a partition that Kafka holds: the oldest, and the one after the newest."""
        low, high = self._consumer.get_watermark_offsets(self._at(partition), timeout=WATERMARK_S)
        return low, high

    def _all_held(self) -> dict[int, tuple[int, int]]:
        """Return the same of every partition; a topic made a moment ago may have no leaders yet."""
        retrier = retry.retrying(
            KafkaException, timeout=self._settings.wait, notice=self._notice, stop=self._stop
        )
        try:
            return {partition: retrier(self._held, partition) for partition in range(self._topic.partitions)}
        except KafkaException as error:
            raise ServiceUnavailableError(
                f"Kafka does not say what the topic {self._topic.name} holds "
                f"({error.args[0].str()}): try again"
            ) from None

    def _caught_up(self) -> bool:
        """Whether all that was in the topic at the start is stored, by whichever workers."""
        if (
            self._goals is None
            or self._writer.failure is not None
            or time.monotonic() < self._next_goal_check
        ):
            return False
        self._next_goal_check = time.monotonic() + 0.2
        state = self._calculator.state
        if state is None or state.connection.closed:
            return False
        try:
            stored = offsets.next_offsets(state.connection, self._reader.group, self._reader.topic)
        except psycopg.OperationalError:
            return False  # the loop will meet the same, and start over
        return all(stored.get(partition, 0) >= goal for partition, goal in self._goals.items())

    def _commit_to_kafka(self, *, final: bool = False) -> None:
        """Tell Kafka what is stored: lag tools show it, nothing ever reads it."""
        if not final and time.monotonic() < self._next_commit:
            return
        self._next_commit = time.monotonic() + COMMIT_EVERY_S
        stored = {p: offset for p, offset in self._writer.totals.next_offsets.items() if p in self._assigned}
        news = [self._at(p, offset) for p, offset in stored.items() if self._told.get(p) != offset]
        if not news:
            return
        self._told |= stored
        try:
            self._consumer.commit(offsets=news, asynchronous=True)
        except KafkaException as error:
            self._log.debug("kafka_commit_failed", error=str(error))

    def _at(self, partition: int, offset: int | None = None) -> TopicPartition:
        if offset is None:
            return TopicPartition(self._topic.name, partition)
        return TopicPartition(self._topic.name, partition, offset)
