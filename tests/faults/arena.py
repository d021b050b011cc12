"""The place of one fault: a load with a ledger, workers as processes, and the comparison at the end."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import psutil
import psycopg
from confluent_kafka.admin import AdminClient

from cryptometrics import broker
from tests.conftest import clean_environment, environment_of
from tests.faults.ledger import Extremes, Ledger, Load, Market, Row, counts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptometrics.config import Settings
    from cryptometrics.local.services import Services
    from tests.faults.ledger import Expected, Quote

SEED = 4
LIMIT_S = 60.0
"""Seconds that a recovery may take in a test on a busy machine; what it did take stands in the table."""
LOOK_S = 0.01


@dataclass
class Outcome:
    """A row of the table at the end."""

    fault: str
    times: int
    ticks: int = 0
    lost: int = 0
    duplicated: int = 0
    wrong: int = 0
    seconds: float | None = None
    """From the end of the fault to the first new commit, the longest of them."""
    note: str = ""


class WorkerProcess:
    """A `cryptometrics process`, its words in a file."""

    def __init__(
        self, place: Path, group: str, environment: dict[str, str], arguments: tuple[str, ...]
    ) -> None:
        self.log = place
        with place.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cryptometrics", "process", "--group", group, *arguments],
                cwd=place.parent,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.doomed = False
        """Whether its end is what the test wants."""

    @property
    def pid(self) -> int:
        return self.process.pid

    def ended(self) -> bool:
        return self.process.poll() is not None

    def kill(self) -> None:
        """`kill -9`."""
        self.doomed = True
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def stop(self, limit: float = 60.0) -> int:
        """SIGTERM, as a person or a service manager ends it; return its exit code."""
        self.doomed = True
        self.process.terminate()
        return self.process.wait(limit)

    def wait(self, limit: float) -> int:
        self.doomed = True
        return self.process.wait(limit)

    def words(self) -> str:
        return self.log.read_text(errors="replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return its log events of this name."""
        found = []
        for line in self.words().splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and event.get("event") == name:
                    found.append(event)
        return found

    def resident(self) -> int:
        """Return its memory in bytes."""
        return int(psutil.Process(self.pid).memory_info().rss)


@dataclass
class Arena:
    """One database, one topic, one load; `full` asks for the counts of the table."""

    settings: Settings
    services: Services
    folder: Path
    full: bool
    outcomes: list[Outcome]
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))
    workers: list[WorkerProcess] = field(default_factory=list)
    load: Load = field(init=False)
    _books: psycopg.Connection | None = None
    _recoveries: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        sys.stdout.write(f"seed {SEED}\n")  # pytest shows it where the test fails
        broker.make_topic(self.settings, 4)
        self.begin(Market(SEED))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            if not worker.ended():
                worker.process.kill()
                worker.process.wait()
        self.load.halt()
        if self._books is not None:
            self._books.close()

    @property
    def group(self) -> str:
        """A consumer group of its own: Kafka remembers the members of one that was killed for a while."""
        return f"group-{self.settings.kafka_topic}"

    def times(self, short: int, full: int) -> int:
        return full if self.full else short

    def begin(self, market: Market, ledger: Ledger | None = None) -> None:
        """Send this market from now on."""
        self.load = Load(self.settings, market, ledger)

    def wait_for_partitions(self, number: int) -> None:
        """Wait until Kafka says that the topic has so many partitions."""
        self.wait_for(
            f"{number} partitions", lambda: broker.describe_topic(self.settings).partitions == number
        )

    def remake_topic(self, partitions: int = 4) -> None:
        """Delete the topic and make it again."""
        topic = self.settings.kafka_topic
        before = broker.describe_topic(self.settings).id
        admin = AdminClient(broker.client_conf(self.settings))
        admin.delete_topics([topic])[topic].result(60)
        self.wait_for("the topic is gone", lambda: topic not in admin.list_topics(timeout=10).topics)
        broker.make_topic(self.settings, partitions)
        assert broker.describe_topic(self.settings).id != before

    # Workers

    def worker(self, *arguments: str, through: str | None = None) -> WorkerProcess:
        """Start a worker; `through`: the connection string of a relay."""
        environment = clean_environment() | environment_of(self.settings)
        if through is not None:
            environment["DATABASE_URL"] = through
        place = self.folder / f"worker-{len(self.workers)}.log"
        worker = WorkerProcess(place, self.group, environment, arguments)
        self.workers.append(worker)
        return worker

    def check_workers(self) -> None:
        """Fail at once when a worker ended that nobody meant to end."""
        for worker in self.workers:
            if worker.ended() and not worker.doomed:
                raise AssertionError(
                    f"a worker ended by itself with code {worker.process.returncode}:\n"
                    + "\n".join(worker.words().splitlines()[-30:])
                )

    # What is stored

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the database, past any relay; it has to be there."""
        if self._books is None or self._books.closed:
            self._books = psycopg.connect(self.settings.postgres(), autocommit=True, connect_timeout=5)
            self._books.execute("SET timezone = 'UTC'; SET default_transaction_read_only = off")
        return self._books.execute(query, values).fetchall()

    def next_offsets(self) -> dict[int, int]:
        """Return what is stored of each partition; waits for a database that has just come back."""
        found: list[dict[int, int]] = []
        self.wait_for("an answer of the database", lambda: self._look(found))
        return found[0]

    def _look(self, found: list[dict[int, int]]) -> bool:
        try:
            rows = self.ask(
                "SELECT kafka_partition, next_offset FROM consumer_offsets "
                "WHERE consumer_group = %s AND topic = %s",
                self.group,
                self.settings.kafka_topic,
            )
        except psycopg.OperationalError:
            if self._books is not None:
                self._books.close()
            return False
        found.append(dict(rows))
        return True

    def stored(self) -> int:
        """Return how many offsets are stored."""
        return sum(self.next_offsets().values())

    def wait_for(self, what: str, condition: Callable[[], object], limit: float = LIMIT_S) -> float:
        """Wait for a condition and return the seconds that it took."""
        begun = time.monotonic()
        while not condition():
            self.check_workers()
            if time.monotonic() - begun > limit:
                raise AssertionError(f"after {limit:g} s still not: {what}\n{self.last_words()}")
            time.sleep(LOOK_S)
        self.check_workers()
        return time.monotonic() - begun

    def wait_for_event(
        self, worker: WorkerProcess, name: str, beyond: int = 0, limit: float = LIMIT_S
    ) -> None:
        """Wait until a worker has logged an event of this name more than `beyond` times."""
        self.wait_for(f"{name} by a worker", lambda: len(worker.events(name)) > beyond, limit)

    def last_words(self) -> str:
        return "\n".join(
            f"--- {worker.log.name}\n" + "\n".join(worker.words().splitlines()[-15:])
            for worker in self.workers[-3:]
        )

    def wait_for_progress(self, more: int = 1, limit: float = LIMIT_S) -> float:
        """Wait until `more` offsets are stored beyond what is stored now."""
        before = self.stored()
        return self.wait_for("new rows", lambda: self.stored() >= before + more, limit)

    def recovers(self, limit: float = LIMIT_S) -> None:
        """Wait for new rows after a fault that has just ended, and note how long it took."""
        self._recoveries.append(self.wait_for_progress(1, limit))

    def all_partitions_move(self, limit: float = LIMIT_S) -> None:
        """Wait until every partition has got new rows; the load has to run."""
        before = self.next_offsets()
        self._recoveries.append(
            self.wait_for(
                "new rows in each partition",
                lambda: (
                    len(now := self.next_offsets()) == len(before)
                    and all(now[partition] > offset for partition, offset in before.items())
                ),
                limit,
            )
        )

    def caught_up(self) -> bool:
        stored = self.next_offsets()
        return all(stored.get(partition, 0) >= end for partition, end in self.load.ledger.ends().items())

    # The end

    def finish(
        self,
        fault: str,
        times: int,
        *,
        refused: Callable[[Quote], bool] | None = None,
        note: str = "",
    ) -> Outcome:
        """End the load, wait until all is stored, end the workers, and compare every row with the ledger."""
        self.load.end()
        self.wait_for("caught up", self.caught_up, 2 * LIMIT_S)
        for worker in self.workers:
            if not worker.ended():
                code = worker.stop()
                # One that has only just begun may not listen yet.
                assert code == 0 or (code == -signal.SIGTERM and not worker.words()), worker.words()
        return self.compare(fault, times, refused=refused, note=note)

    def compare(
        self,
        fault: str,
        times: int,
        *,
        refused: Callable[[Quote], bool] | None = None,
        note: str = "",
        verify: bool = True,
    ) -> Outcome:
        """Compare the tables with the ledger, row by row, and write the outcome down before judging it."""
        ledger = self.load.ledger
        ledger.check()
        expected = ledger.expected(refused)
        outcome = Outcome(fault, times, ledger.sent, note=note)
        outcome.seconds = max(self._recoveries, default=None)
        self.outcomes.append(outcome)
        trouble = self._compare(expected, outcome)
        if trouble:
            outcome.wrong = max(outcome.wrong, 1)
        sys.stdout.write(f"{outcome}\n")
        assert not trouble, "\n".join(trouble[:20])
        if verify:
            self.verify()
        return outcome

    def _compare(self, expected: Expected, outcome: Outcome) -> list[str]:
        topic = self.settings.kafka_topic
        rows = [
            Row(*row)
            for row in self.ask(
                "SELECT kafka_partition, kafka_offset, pair, bid, ask, mid_price, spread, highest_bid, "
                "lowest_ask, max_spread, timestamp, session, kind, trade_id "
                "FROM crypto_metrics WHERE consumer_group = %s",
                self.group,
            )
        ]
        rejected = self.ask(
            "SELECT kafka_partition, kafka_offset, sha256(key), sha256(value) FROM rejected_ticks "
            "WHERE consumer_group = %s AND topic = %s",
            self.group,
            topic,
        )
        skipped = self.ask(
            "SELECT kafka_partition, generate_series(first_offset, last_offset), reason FROM skipped_offsets "
            "WHERE consumer_group = %s AND topic = %s",
            self.group,
            topic,
        )
        trouble: list[str] = []
        fates = Counter((row.partition, row.offset) for row in rows)
        fates.update((partition, offset) for partition, offset, *_ in rejected)
        fates.update((partition, offset) for partition, offset, reason in skipped if reason != "lost")
        given_up = {(partition, offset) for partition, offset, reason in skipped if reason == "lost"}
        if given_up != self.load.ledger.given_up:
            trouble.append(f"given up: {sorted(given_up)}, it should be {sorted(self.load.ledger.given_up)}")
        known = expected.rows.keys() | expected.rejected.keys() | expected.duplicates
        lost = sorted(known - fates.keys())
        twice = sorted(place for place, count in fates.items() if count > 1)
        unknown = sorted(fates.keys() - known)
        outcome.lost = len(lost) + sum(reason == "hole" for _, _, reason in skipped)
        outcome.duplicated = sum(fates[place] - 1 for place in twice) + len(unknown)
        trouble += [f"lost: {place}" for place in lost]
        trouble += [f"more than one fate: {place}" for place in twice]
        trouble += [f"nobody sent this: {place}" for place in unknown]
        trouble += [f"a hole where there was none: {skip}" for skip in skipped if skip[2] == "hole"]

        wrong = [row for row in rows if expected.rows.get((row.partition, row.offset)) != row]
        trouble += [
            f"stored {row}\nexpected {expected.rows.get((row.partition, row.offset))}" for row in wrong
        ]
        for partition, offset, key, value in rejected:
            sent = expected.rejected.get((partition, offset))
            if sent is None or (_digest(sent.key), _digest(sent.value)) != (key, value):
                trouble.append(f"rejected, but not as sent: {(partition, offset)}")
        found = {(partition, offset) for partition, offset, reason in skipped if reason == "duplicate"}
        trouble += [f"not counted as a duplicate: {place}" for place in sorted(expected.duplicates - found)]

        sessions = {
            (pair, session): Extremes(*extremes)
            for pair, session, *extremes in self.ask(
                "SELECT pair, session, highest_bid, highest_bid_at, lowest_ask, lowest_ask_at, max_spread, "
                "max_spread_at, last_bid, last_ask, last_at, first_at, ticks, late FROM session_extremes "
                "WHERE consumer_group = %s",
                self.group,
            )
        }
        trouble += [
            f"session {key}: {sessions.get(key)}\nexpected {expected.sessions.get(key)}"
            for key in sorted(sessions.keys() | expected.sessions.keys())
            if sessions.get(key) != expected.sessions.get(key)
        ]
        books = self.ask(
            "SELECT sum(metrics), sum(rejected), sum(duplicates), sum(gaps + holes), "
            "sum(next_offset - first_offset) FROM consumer_offsets WHERE consumer_group = %s AND topic = %s",
            self.group,
            topic,
        )[0]
        should = counts(expected)
        balanced = (
            *(should[fate] for fate in ("metrics", "rejected", "duplicates")),
            len(given_up),
            len(known) + len(given_up),
        )
        if tuple(books) != balanced:
            trouble.append(f"the books say {books}, they should say {balanced}")
        outcome.wrong = len(wrong)
        return trouble

    def verify(self, code: int = 0) -> str:
        """Let the product's own proof say the same."""
        environment = clean_environment() | environment_of(self.settings)
        command = [sys.executable, "-m", "cryptometrics"]
        done = subprocess.run(
            [*command, "verify", "--group", self.group, "--topic"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == code, f"verify: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def cut_workers(admin: psycopg.Connection) -> int:
    """End the workers' sessions; return how many there were."""
    return len(
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'cryptometrics'"
        ).fetchall()
    )


def _digest(value: bytes | None) -> bytes | None:
    return None if value is None else hashlib.sha256(value).digest()
