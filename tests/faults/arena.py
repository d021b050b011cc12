"""The environment of one fault test: a load with a ledger, worker processes, and the final comparison."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import psutil
import psycopg
from confluent_kafka.admin import AdminClient

from cryptometrics.kafka import client
from cryptometrics.kafka.topic import create_topic, describe_topic
from tests.conftest import clean_environment, environment_of
from tests.faults.comparison import Comparison
from tests.faults.ledger import Ledger, Load, Market
from tests.faults.outcome import Outcome
from tests.faults.worker import CommandProcess, WorkerProcess
from tests.waiting import LIMIT_S, wait_until

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from pathlib import Path

    from cryptometrics.config import Settings
    from cryptometrics.local.services import Services
    from tests.faults.ledger import Quote

SEED = 4


@dataclass
class Arena:
    """One database, one topic, one load; `full` asks for the counts of the table."""

    settings: Settings
    services: Services
    folder: Path
    full: bool
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))
    environment: dict[str, str] = field(default_factory=dict)
    """Further variables of every command."""
    workers: list[WorkerProcess] = field(default_factory=list)
    commands: list[CommandProcess] = field(default_factory=list)
    """Commands that are no workers."""
    load: Load = field(init=False)
    outcomes: list[Outcome] = field(default_factory=list)
    primary: str | None = None
    """Connection string of the server to look at, where the settings name several."""
    _books: psycopg.Connection | None = None
    _recoveries: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        sys.stdout.write(f"seed {SEED}\n")  # pytest shows it where the test fails
        create_topic(self.settings, 4)
        self.begin(Market(SEED))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (*self.workers, *self.commands):
            if not each.ended():
                each.process.kill()
                each.process.wait()
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
        self.wait_for(f"{number} partitions", lambda: describe_topic(self.settings).partitions == number)

    def remake_topic(self, partitions: int = 4) -> None:
        """Delete the topic and make it again."""
        topic = self.settings.kafka_topic
        before = describe_topic(self.settings).id
        admin = AdminClient(client.client_conf(self.settings))
        admin.delete_topics([topic])[topic].result(60)
        self.wait_for("the topic is gone", lambda: topic not in admin.list_topics(timeout=10).topics)
        create_topic(self.settings, partitions)
        assert describe_topic(self.settings).id != before

    # Processes

    def worker(self, *arguments: str, through: str | None = None) -> WorkerProcess:
        """Start a worker; `through`: the connection string of a relay."""
        place = self.folder / f"worker-{len(self.workers)}.log"
        worker = WorkerProcess(place, self.group, self._environment(through), arguments)
        self.workers.append(worker)
        return worker

    def command(self, *arguments: str, through: str | None = None) -> CommandProcess:
        """Start a command that runs beside the workers until the test stops it."""
        place = self.folder / f"{arguments[0]}-{len(self.commands)}.log"
        command = CommandProcess(place, self._environment(through), arguments)
        self.commands.append(command)
        return command

    def _environment(self, through: str | None) -> dict[str, str]:
        environment = clean_environment() | environment_of(self.settings) | self.environment
        return environment if through is None else environment | {"DATABASE_URL": through}

    def check_processes(self) -> None:
        """Fail at once when a process ended that nobody meant to end."""
        for each in (*self.workers, *self.commands):
            if each.ended() and not each.doomed:
                raise AssertionError(
                    f"{each.log.stem} ended by itself with code {each.process.returncode}:\n"
                    + "\n".join(each.words().splitlines()[-30:])
                )

    # Services

    def end_service(self, name: str, how: signal.Signals) -> None:
        """End a service of this test run, and wait until its process is gone."""
        status = self.services.status()[name]
        assert status.pid is not None
        process = psutil.Process(status.pid)
        os.kill(status.pid, how)
        self.wait_for(
            f"the end of {name}",
            lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE,
        )

    # What is stored

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Query the database, bypassing any relay; it must be up."""
        return self.books().execute(query, values).fetchall()

    def books(self) -> psycopg.Connection:
        """Return the arena's own session of the database."""
        if self._books is None or self._books.closed:
            self._books = psycopg.connect(
                self.primary or self.settings.postgres(), autocommit=True, connect_timeout=5
            )
            self._books.execute("SET timezone = 'UTC'; SET default_transaction_read_only = off")
        return self._books

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

        def is_met() -> bool:
            met = bool(condition())
            self.check_processes()
            return met

        begun = time.monotonic()
        wait_until(is_met, lambda: f"{what}\n{self.last_words()}", limit=limit, poll=0.01)
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

    def all_partitions_move(self, limit: float = LIMIT_S) -> float:
        """Wait until every partition has new rows, and note how long it took; the load must run."""
        self._recoveries.append(self._wait_for_each_partition(limit))
        return self._recoveries[-1]

    def all_partitions_pass(self, ends: dict[int, int], limit: float = LIMIT_S) -> None:
        """Wait until every partition is stored beyond these ends, and note how long it took, under load.

        Unlike new rows, these cannot come from what a worker had read before the fault.
        """

        def passed() -> bool:
            now = self.next_offsets()
            return all(now[partition] > end for partition, end in ends.items())

        self._recoveries.append(self.wait_for("rows beyond the ends of each partition", passed, limit))

    def share(self, *workers: WorkerProcess) -> None:
        """Wait until each of these workers owns a part of the partitions, and nobody else any."""
        pids = {str(worker.pid) for worker in workers}
        self.wait_for("each worker owns a part", lambda: self.owners() == pids)

    def takes_over(self, heir: WorkerProcess, limit: float = LIMIT_S) -> None:
        """Wait until a worker owns every partition and has stored rows of each; note how long it took.

        New rows alone do not show it: PostgreSQL may still commit the batch of a worker that was suspended.
        """
        claimed = self.wait_for("one worker owns all", lambda: self.owners() == {str(heir.pid)}, limit)
        self._recoveries.append(claimed + self._wait_for_each_partition(limit))

    def _wait_for_each_partition(self, limit: float) -> float:
        before = self.next_offsets()
        return self.wait_for(
            "new rows in each partition",
            lambda: (
                len(now := self.next_offsets()) == len(before)
                and all(now[partition] > offset for partition, offset in before.items())
            ),
            limit,
        )

    def owners(self) -> set[str]:
        """Return the process ids of the partitions' owners; "" stands for none."""
        return {owner.rpartition(" ")[2] for (owner,) in self.ask("SELECT owner FROM consumer_offsets")}

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
                worker.stop_at_any_time()
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
        trouble = Comparison(
            self.books(), self.group, self.settings.kafka_topic, ledger, expected, outcome
        ).run()
        if trouble:
            outcome.wrong = max(outcome.wrong, 1)
        sys.stdout.write(f"{outcome}\n")
        assert not trouble, "\n".join(trouble[:20])
        if verify:
            self.verify()
        return outcome

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
            timeout=1800,
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
