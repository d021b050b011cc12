"""A worker: one member of the consumer group, which reads partitions and calculates and writes batches.

Every doubt (a lost connection, a lost answer to COMMIT, a fence, a refused row) has the same way out: discard
all state, load each partition's next offset from the database, and continue from there.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

import psycopg
from confluent_kafka import KafkaException

from cryptometrics import log, retry
from cryptometrics.errors import CryptometricsError, ServiceUnavailableError
from cryptometrics.kafka import errors
from cryptometrics.kafka.group_consumer import GroupConsumer
from cryptometrics.pipeline.bisect import BatchBisector
from cryptometrics.pipeline.owned_partitions import Claims
from cryptometrics.pipeline.pair_cache import MAX_SESSIONS
from cryptometrics.pipeline.progress import CatchUpTarget, StallDetector
from cryptometrics.pipeline.restart_reason import message, restart_reason
from cryptometrics.pipeline.worker_report import WorkerReport, WorkerTotals
from cryptometrics.pipeline.worker_sessions import Database
from cryptometrics.store import batch_transaction as store
from cryptometrics.store import partition_claims, window_completion
from cryptometrics.store.database_errors import is_refusal
from cryptometrics.store.text_encoding import require_storable
from cryptometrics.times import Interval

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from confluent_kafka import Message

    from cryptometrics.config import Settings
    from cryptometrics.kafka.record import Record
    from cryptometrics.kafka.topic import Topic
    from cryptometrics.pipeline.calculator import CalculatedBatch
    from cryptometrics.pipeline.options import WorkerOptions

PATIENCE_S = 1.0
"""Limit for the writer to accept a batch; after it, the partitions are paused."""
REVOKE_S = 3.0
"""Limit for writing pending batches at a revocation, while the whole group waits."""
FINISH_S = 30.0
"""Limit for writing pending batches at the end."""
COMMIT_EVERY_S = 1.0
"""Time between two commits of the stored offsets to Kafka, which only lag tools read."""
SUMMARIZE_EVERY_S = 15.0
"""Time between two updates of the BRIN index; until an update, every search reads the new blocks."""
WINDOWS_EVERY_S = 5.0
"""Time between two markings of the minutes that the watermark has passed."""
REJOIN_S = 20.0
"""A worker that is fenced again this soon after it rejoined, although no broker left, shares its name."""


class Worker:
    """Works as a member of `options.group` until it is stopped or has caught up."""

    def __init__(
        self,
        settings: Settings,
        options: WorkerOptions,
        topic: Topic,
        instance_id: str,
        stop: Callable[[], bool],
        progress: Callable[[Worker], None] | None = None,
    ) -> None:
        self._settings = settings
        self._options = options
        self._stop = stop
        self._progress = progress
        self._log = log.get_logger(group=options.group)
        self._partitions = range(topic.partitions)
        self._topic = partition_claims.GroupTopic(options.group, topic.name, topic.id)
        self._consumer = GroupConsumer(settings, topic, options.group, instance_id, options.budget)
        owner = f"{instance_id} pid {os.getpid()}"
        self._claims = Claims(self._topic, self._consumer, owner, skip_lost=options.skip_lost)
        self._database: Database | None = None
        self.totals = WorkerTotals()
        """Everything committed since the start."""
        self.trouble: str | None = None
        """Why it cannot work at the moment."""
        self._doubt: str | None = None
        self._failures = 0
        self._batches_seen = 0
        self._catch_up: CatchUpTarget | None = None
        self._rejoined_at: float | None = None
        self._commit_interval = Interval(COMMIT_EVERY_S)
        self._summary_interval = Interval(SUMMARIZE_EVERY_S)
        self._windows_interval = Interval(WINDOWS_EVERY_S)
        self._stall_detector = StallDetector(self._consumer.ends.held)

    def lag(self) -> int:
        """Return the number of messages not stored yet in the assigned partitions, as far as known."""
        return sum(self._consumer.lags(self.totals.next_offsets).values())

    def report(self) -> WorkerReport:
        """Return a copy of the totals, with the state of the assigned partitions."""
        lags = self._consumer.lags(self.totals.next_offsets)
        open_transactions = self._consumer.transactions.seconds(self._consumer.assigned)
        return WorkerReport.of(self.totals, lags, open_transactions)

    def run(self) -> WorkerTotals:
        """Work until stopped or caught up, then finish the pending batches; return the totals.

        Raises ServiceUnavailableError if it stored nothing and is stopped while PostgreSQL is away.
        """
        try:
            self._start()
            while not self._stop() and not self._caught_up():
                self._step()
            if self._database is None and not self.totals.offsets:
                raise ServiceUnavailableError(
                    f"nothing was stored: PostgreSQL does not answer ({self.trouble})"
                )
            if self._catch_up is not None and not self._stop():
                # Where nothing can be read, everything is stored before a partition is even assigned.
                self._consumer.transactions.check(self._consumer.assigned or self._partitions)
            if self._database is not None and not self._database.writer.drain(FINISH_S):
                self._log.warning("not_finished", hint="the next worker reads unstored messages again")
            elif self._database is not None:
                with contextlib.suppress(psycopg.Error):  # the next worker marks them as well
                    self._complete_windows()
            self._consumer.commit(self.totals.next_offsets, last=True)
        finally:
            self._consumer.close()
            self._disconnect()
        return self.totals

    def _start(self) -> None:
        """Register the group's partitions and join it.

        If a service fails meanwhile, wait for it as at the start of any command. Raises the last error if
        the worker is stopped before.
        """
        retrier = retry.retrying(
            (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.ReadOnlySqlTransaction),
            timeout=self._settings.wait,
            notice=self._notice,
            stop=self._stop,
        )
        retrier(self._begin)
        self.trouble = None
        self._consumer.join(self._on_assign, self._on_revoke, self._on_lost)

    def _begin(self) -> None:
        self._connect()
        require_storable(self._db.connection, self._options.names())
        partition_claims.refuse_other_topic(self._db.connection, self._topic)
        stored = partition_claims.next_offsets(self._db.connection, self._topic)
        held = self._consumer.ends.held_by(self._partitions, wait=self._settings.wait, stop=self._stop)
        partition_claims.register(
            self._db.connection, self._topic, {p: oldest for p, (oldest, _) in held.items()}
        )
        if self._options.until_caught_up:
            self._catch_up = CatchUpTarget(held, stored)

    # The loop

    def _step(self) -> None:
        self._report_progress()
        if self._doubt or self._consumer.fenced or self._db.writer.failure is not None:
            self._start_over()
            return
        try:
            for partition in sorted(self._claims.unopened):
                self._open(partition)
            messages, events = self._consumer.consume(self._options.batch, self._db.writer.drain)
            self._claims.check_topic(self._consumer.topic_id())
            # Messages first: they precede the end of their partition.
            if messages:
                self._submit(self._db.calculator.calculate(messages, self._db.writer.in_flight()))
            for event in events:
                self._handle_event(event)
            self._run_periodic_tasks(drained=len(messages) + len(events) < self._options.batch)
        except (psycopg.Error, KafkaException, store.FencedError) as error:
            self._doubt = restart_reason(error)
            return
        if self.totals.batches > self._batches_seen:
            self._batches_seen, self._failures = self.totals.batches, 0
        if self._commit_interval.elapsed():
            self._consumer.commit(self.totals.next_offsets)
        if self._db.calculator.cache_size() > MAX_SESSIONS and self._db.writer.drain(FINISH_S):
            self._db.calculator.drop_pairs()

    def _run_periodic_tasks(self, *, drained: bool) -> None:
        """Run the tasks that are due, with or without new ticks; drained: everything fetched was consumed."""
        if self._summary_interval.elapsed():
            self._db.index_updater.request(self._db.calculator.take_days())
        if self._windows_interval.elapsed():
            self._complete_windows()
        self._consumer.transactions.poll(self._consumer.assigned)
        if self._consumer.is_left_out():
            self._log.warning("left_out_by_kafka", hint="joins the group anew")
            self._consumer.rejoin()
        positions = self._db.calculator.positions()
        if (stalled := self._stall_detector.find_stalled(positions, drained=drained)) is not None:
            self._doubt = f"partition {stalled} is stalled although Kafka holds more of it"

    def _complete_windows(self) -> None:
        """Mark the minutes that the watermark has passed, including those of silent pairs."""
        positions = self._db.calculator.positions()
        at_end = [] if self._db.writer.in_flight() else self._consumer.at_end(positions)
        window_completion.complete_passed(self._db.connection, self._topic, positions, at_end)

    def _handle_event(self, event: Message) -> None:
        """Handle an event, which `consume` returns instead of a message."""
        error, partition, offset = event.error(), event.partition(), event.offset()
        assert error is not None  # noqa: S101  (else it is a message)
        if errors.is_partition_end(error) and partition is not None and offset is not None:
            # Transaction markers and compacted records leave no message: only the end reveals these offsets.
            work = self._db.calculator.skip_to(partition, offset)
            if work is not None:
                self._submit(work)
        elif errors.is_offset_missing(error):
            # Kafka no longer holds the next record. Opening the partition again determines the loss.
            self._doubt = error.str()
        elif errors.is_gone(error):
            raise CryptometricsError(f"the topic {self._topic.name} is gone: {error.str()}")
        elif errors.is_final(error):
            raise CryptometricsError(f"Kafka refuses to go on: {error.str()}")
        else:
            self._log.warning("kafka_event", error=error.str())

    def _submit(self, work: CalculatedBatch) -> None:
        """Pass a batch to the writer. While a slow database blocks it, stay in the group."""
        if not work.batch.parts or self._doubt:
            return
        writer = self._db.writer
        if writer.offer(work, PATIENCE_S):
            return
        self._consumer.pause()
        self._stall_detector.reset()
        while not writer.offer(work, 0.1):
            if writer.failure is not None or self._stop():
                self._doubt = self._doubt or "the writer did not accept a batch"
            elif self._consumer.keep_place(0):
                self._doubt = (
                    "a message arrived while all partitions were paused"  # skipping it would lose it
                )
            self._report_progress()
            if self._in_doubt():
                return
        self._consumer.resume()

    def _in_doubt(self) -> bool:  # a method, because callbacks change it where mypy cannot see
        return self._doubt is not None

    def _report_progress(self) -> None:
        if self._progress is not None:
            self._progress(self)

    # Assignment

    def _on_assign(self, partitions: set[int]) -> None:
        self._claims.add(partitions)
        self._log.info("partitions_assigned", partitions=sorted(partitions))

    def _on_revoke(self, partitions: set[int]) -> None:
        """Finish the pending batches, so that the next owner begins after them; then release the claims."""
        if self._database is not None and not self._database.writer.drain(REVOKE_S):
            self._doubt = "batches were still pending at a revocation"
        self._claims.release(partitions, self._database)
        self._log.info("partitions_revoked", partitions=sorted(partitions))

    def _on_lost(self, partitions: set[int]) -> None:
        """Release the claims at once: another worker may own the partitions by now."""
        self._doubt = "partitions were lost"
        self._claims.release(partitions, self._database)
        self._log.warning("partitions_lost", partitions=sorted(partitions))

    def _open(self, partition: int) -> None:
        """Open a partition at its stored offset, unless it has to wait."""
        if not self._claims.open(partition, self._db):
            return
        self.totals.next_offsets[partition] = self._db.calculator.positions()[partition]
        if self._catch_up is not None:
            self._catch_up.opened(partition)

    # Starting over

    def _rejoin(self) -> None:
        """Rejoin the group after Kafka gave this worker's place to another.

        A restarted broker may do so when it remembers an older generation of the group than its members, and
        do so again after the next restart.
        """
        now = time.monotonic()
        again = self._rejoined_at is not None and now - self._rejoined_at < REJOIN_S
        if again and not self._consumer.disconnected:
            raise CryptometricsError(
                f"another worker keeps taking this one's place in group {self._topic.group}: "
                "give each machine its own host name"
            )
        self._rejoined_at = now
        self._log.warning("fenced_by_kafka", hint="rejoins the group")
        self._consumer.rejoin()
        self._doubt = self._doubt or "Kafka gave this worker's place in the group to another"

    def _start_over(self) -> None:
        """Discard all state, reconnect, and continue from the offsets in the database."""
        if self._consumer.fenced:
            self._rejoin()
        writer = self._database.writer if self._database is not None else None
        failure = writer.failure if writer is not None else None
        failed = writer.failed_batch if writer is not None else None
        reason = restart_reason(failure) if failure is not None else self._doubt
        self._failures += 1
        self.totals.measured.retries += 1
        self.trouble = reason
        wait = retry.wait_after(self._failures)
        self._log.warning("starting_over", reason=reason, failures=self._failures, wait_s=round(wait, 2))
        self._reset()
        self._wait_in_group(wait)
        retrier = retry.retrying(
            (psycopg.OperationalError, psycopg.InterfaceError, KafkaException, store.FencedError),
            timeout=None,
            notice=self._notice,
            sleep=self._wait_in_group,
            stop=self._stop,
        )
        try:
            retrier(self._reopen)
            if failed is not None and is_refusal(failure):
                self._write_in_parts(failed.messages)
        except (psycopg.Error, KafkaException, store.FencedError) as error:
            self._doubt = restart_reason(error)

    def _reset(self) -> None:
        self._disconnect()
        self._stall_detector.reset()
        self._consumer.pause()

    def _reopen(self) -> None:
        self._consumer.follow()
        self._connect()
        self.totals.measured.reconnects += 1
        self._doubt = self.trouble = None
        self._claims.unopened = set(self._consumer.assigned)
        try:
            for partition in sorted(self._claims.unopened):
                self._open(partition)
        except KafkaException as error:
            restart_reason(error)  # raises if starting over cannot help
            raise

    def _wait_in_group(self, seconds: float) -> None:
        """Wait, but stay in the group: answer rebalances, and ignore messages."""
        deadline = time.monotonic() + seconds
        while not self._stop() and (left := deadline - time.monotonic()) > 0:
            self._consumer.keep_place(min(left, 0.1))
            self._report_progress()

    def _notice(self, error: BaseException, seconds: float) -> None:
        self.totals.measured.retries += 1
        self.trouble = message(error)
        self._report_progress()
        self._log.warning("service_unavailable", error=self.trouble, next_attempt_s=round(seconds, 1))

    def _write_in_parts(self, messages: Sequence[Record]) -> None:
        """Write a refused batch in parts, and continue after it."""
        self._consumer.pause()
        BatchBisector(self._db, self._topic, self._claims.opened, self._may_continue).write(messages)
        for partition, offset in self._db.calculator.positions().items():
            self._consumer.go_to(partition, offset)

    def _may_continue(self) -> bool:
        self._consumer.keep_place(0)
        self._report_progress()
        return not (self._stop() or self._doubt or self._consumer.fenced)

    # Around the loop

    @property
    def _db(self) -> Database:
        assert self._database is not None  # noqa: S101  (there is none only while starting over)
        return self._database

    def _connect(self) -> None:
        self._disconnect()
        self._database = Database.connect(self._settings, self._topic, self._options, self.totals)

    def _disconnect(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _caught_up(self) -> bool:
        if self._catch_up is None or self._doubt or not self._catch_up.interval.elapsed():
            return False
        try:
            return self._catch_up.is_reached(partition_claims.next_offsets(self._db.connection, self._topic))
        except psycopg.Error as error:
            self._doubt = restart_reason(error)
            return False
