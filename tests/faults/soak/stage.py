"""Everything that runs during a soak: two feeds, two workers, the risk follower, the page, two receivers."""

from __future__ import annotations

import contextlib
import random
import threading
from typing import TYPE_CHECKING, Self

import httpx
import psycopg

from cryptometrics.kafka import client
from cryptometrics.kafka.partition_ends import PartitionEnds
from tests.conftest import free_port
from tests.fakes.coinbase import FakeCoinbase, Faults
from tests.fakes.receiver import Receiver, moody
from tests.faults.ledger import PAIRS
from tests.faults.relay import Relay
from tests.faults.soak.samples import Sampler
from tests.waiting import LIMIT_S

if TYPE_CHECKING:
    from tests.faults.arena import Arena
    from tests.faults.worker import CommandProcess, WorkerProcess

SIMULATED_RATE, LIVE_RATE = 300, 60
"""Ticks a second: of the simulator, over all pairs, and trades of the fake exchange."""
LIVE_PAIRS = ("BTC-USD", "ETH-USD", "SOL-USD")
SCENARIOS = ("fat-finger", "flash-crash", "crossed-book", "liquidity-drought", "frozen-quotes", "clock-skew")
"""In this order, evenly over the time. Scenarios without ticks are missing: recovery is seen by new rows."""
BAD = 0.002
"""Share of invalid ticks."""
BACKLOG = 200_000
"""Ticks that wait for the workers: several of their largest batches."""
MOODY = 0.2
"""Share of the requests that the receivers of alerts do not take, or do not answer."""
PARTITIONS = range(4)
RULES = """
[[rule]]
name = "move"
kind = "mid_move_pct"
within = "10s"
level = 0.08
resolve_below = 0.04
cooldown = "20s"

[[rule]]
name = "wide"
kind = "spread_bps"
level = 5
for = "2s"
resolve_below = 3
cooldown = "10s"
severity = "critical"

[[rule]]
name = "silent"
kind = "stale"
for = "15s"

[[rule]]
name = "missed"
kind = "gap"

[[rule]]
name = "rejected"
kind = "rejected_pct"
within = "20s"
level = 0.5
cooldown = "10s"

[[rule]]
name = "fall"
kind = "drawdown_pct"
range = "15m"
min_coverage = 0
level = 1
severity = "critical"
"""

_TICKS = "SELECT venue, sum(ticks) FROM session_extremes WHERE consumer_group = %s GROUP BY venue"
_BEHIND = """
SELECT count(*) FROM (
    SELECT venue, date_bin('1 minute', min(complete_until), 'epoch') AS complete
    FROM window_progress WHERE consumer_group = %(group)s GROUP BY venue) AS minutes
LEFT JOIN risk_progress USING (venue)
WHERE risk_progress.consumer_group = %(group)s AND risk_progress.complete_until < complete
"""
_UNDELIVERED = "SELECT count(*) FROM alert_notifications WHERE delivered_at IS NULL"


class Stage(contextlib.ExitStack):
    """The processes of a soak; use it as a context manager."""

    def __init__(self, arena: Arena, seed: int, seconds: float) -> None:
        super().__init__()
        self.arena = arena
        self.chance = random.Random(seed)
        self._seconds, self._seed = seconds, seed
        self._port = free_port()

    def __enter__(self) -> Self:
        super().__enter__()
        self.sampler = self.enter_context(Sampler())
        self.relay = self.enter_context(Relay(self.arena.settings.postgres()))
        self.exchange = self.enter_context(
            FakeCoinbase(
                LIVE_PAIRS, seed=self._seed, rate=LIVE_RATE, faults=Faults(drop=0.001, duplicate=0.01)
            )
        )
        self.webhook = self.enter_context(Receiver(moody(self._seed, MOODY)))
        self.desk = self.enter_context(Receiver(moody(self._seed + 1, MOODY)))
        self.page = self.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{self._port}", timeout=10))
        channel = f'[[channel]]\nname = "desk"\nurl = "json://127.0.0.1:{self.desk.port}/"\n'
        (self.arena.folder / "alerts.toml").write_text(RULES + channel)
        self.arena.environment["CRYPTOMETRICS_WEBHOOK_URL"] = self.webhook.url
        self._start()
        return self

    def _start(self) -> None:
        group = ("--group", self.arena.group)
        apart = self._seconds / len(SCENARIOS)
        scenarios = [
            part
            for number, name in enumerate(SCENARIOS)
            for part in ("--scenario", f"{name}@{(number + 0.5) * apart:.0f}s")
        ]
        # The buffers of the workers have their full size at once: memory that grows afterwards is a leak.
        # The backlog is of ten seconds, so that it fires few alerts: people get many of them as one list.
        backlog = self.arena.command(
            "simulate", "--pair", ",".join(PAIRS), "--rate", "0", "--count", str(BACKLOG),
            "--step", "0.05ms", "--seed", str(self._seed),
        )  # fmt: skip
        assert backlog.wait(LIMIT_S) == 0, backlog.words()[-2000:]
        self.steady = self._worker("worker 1")
        self.victim = self._worker("worker 2")
        self.feeds = [
            self._command(
                "simulate", "--pair", ",".join(PAIRS), "--rate", str(SIMULATED_RATE), "--bad", str(BAD),
                "--seed", str(self._seed), *scenarios,
            ),
            self._command("ingest", "--pair", ",".join(LIVE_PAIRS), "--url", self.exchange.url),
        ]  # fmt: skip
        self.arena.share(self.steady, self.victim)
        self.arena.wait_for("rows of each venue", lambda: len(self._ticks()) == 2)
        self.readers = [
            self._command("risk", "--follow", *group),
            self._command("web", "--port", str(self._port), *group),
        ]
        self.arena.wait_for("the page is current", self.page_is_current)
        self._open_page = self.enter_context(OpenPage(f"http://127.0.0.1:{self._port}/api/stream"))

    def _worker(self, name: str) -> WorkerProcess:
        worker = self.arena.worker(through=self.relay.uri)
        self.sampler.watch(name, worker.pid)
        return worker

    def _command(self, *arguments: str) -> CommandProcess:
        command = self.arena.command(*arguments, through=self.relay.uri)
        self.sampler.watch(arguments[0], command.pid)
        return command

    def replace_victim(self) -> None:
        """Kill the second worker, and start another in its place."""
        self.victim.kill()
        self.victim = self._worker("worker 2")

    # What is seen

    def recovers(self) -> float:
        """Wait until both workers own partitions, each has new rows, and the page is current; return seconds.

        The seconds are those until each partition and both venues have new rows.
        """
        seconds = self.arena.all_partitions_move()
        before = self._ticks()
        seconds += self.arena.wait_for(
            "new rows of each venue",
            lambda: all(ticks > before[venue] for venue, ticks in self._ticks().items()),
        )
        self.arena.share(self.steady, self.victim)
        self.arena.wait_for("the page is current", self.page_is_current)
        return seconds

    def _ticks(self) -> dict[str, int]:
        return dict(self.arena.ask(_TICKS, self.arena.group))

    def page_is_current(self) -> bool:
        try:
            return self.page.get("/healthz").status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def undelivered(self) -> int:
        return int(self.arena.ask(_UNDELIVERED)[0][0])

    # The end

    def finish(self) -> None:
        """End the feeds, wait until everything is stored, computed and delivered, and end the rest."""
        for feed in self.feeds:
            assert feed.stop() == 0, feed.words()[-2000:]
        ends = PartitionEnds(client.make_admin(self.arena.settings), self.arena.settings.kafka_topic)
        held = {
            partition: end for partition, (_, end) in ends.held_by(PARTITIONS, wait=LIMIT_S).items() if end
        }
        self.arena.wait_for("all is stored", lambda: self.arena.next_offsets() == held, 2 * LIMIT_S)
        self.arena.wait_for("the risk of each minute", lambda: not self._minutes_behind())
        self.arena.wait_for("all is delivered", lambda: not self.undelivered(), 2 * LIMIT_S)
        assert self._open_page.events, "the open page has received no event"
        for command in (*self.readers, self.steady, self.victim):
            assert command.stop() == 0, command.words()[-2000:]

    def _minutes_behind(self) -> int:
        with psycopg.connect(self.arena.settings.postgres()) as connection:
            found = connection.execute(_BEHIND, {"group": self.arena.group}).fetchall()
        return int(found[0][0])


class OpenPage(threading.Thread):
    """Reads the stream of the page's server, as an open page does, and connects again when it ends."""

    def __init__(self, url: str) -> None:
        super().__init__(name="open-page", daemon=True)
        self._url = url
        self._closed = threading.Event()
        self.events = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self.join(LIMIT_S)

    def run(self) -> None:
        while not self._closed.wait(0.5):  # a browser also waits before it connects again
            with contextlib.suppress(httpx.HTTPError), httpx.stream("GET", self._url, timeout=10) as answer:
                for line in answer.iter_lines():
                    self.events += line.startswith("data:")
                    if self._closed.is_set():
                        return
