"""Measure the live page beside a busy market, and print a table of the figures and what is wanted.

Run it with `make bench-web`; it takes about five minutes. It starts a Kafka and a PostgreSQL of its own, a
simulated market, `cryptometrics web`, and Chromium. It is a program and not a test, because its figures are
those of one machine at one moment.

- *Commit to painted*: for each stored quote, from the commit of its transaction, as PostgreSQL records it, to
  the first frame that shows this quote or a newer one of its pair.
- *First view*: from the request for the page, or the click, to the frame after the last answer.
- *Heap*: of the page after a forced garbage collection: JavaScript, array buffers and the objects of the
  document. An hour's worth of updates, in which every market changes each time, is put into its stream.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import psutil
import psycopg
from playwright.sync_api import sync_playwright

from cryptometrics import config
from cryptometrics.cli.output import print_table
from cryptometrics.local import jars
from cryptometrics.local.postgres import PostgresServer
from cryptometrics.local.services import Services
from tests.browser.conftest import BROWSERS
from tests.conftest import Cli, clean_environment
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

PAIRS = [f"P{number:02}-USD" for number in range(50)]
RATE = 1000
"""Live ticks per second over all pairs."""
HISTORY_TICKS, HISTORY_STEP_MS = 864_000, 100
"""24 hours, with a tick of each pair every five seconds."""
LOAD_S = 180.0
"""How long a step of the history may take."""
SAMPLE_S = 20.0
"""How long paints and the server's work are measured."""
SETTLE_S = 3.0
"""How long a change of the load may take to show."""
LAST_S = 2.0
"""Quotes committed so shortly before the end are left out: the page may not have shown them yet."""
PAGES = 20
HOUR_UPDATES = 3600 * 5
"""Events of an hour at the server's pace of five a second."""
UPDATES_PER_FRAME = 10
SCRIPT = Path(__file__).with_suffix(".js")
GROUP = "g1"

_COMMITS = """
SELECT pair, timestamp, pg_xact_commit_timestamp(xmin) FROM crypto_metrics
WHERE timestamp >= %s AND pg_xact_commit_timestamp(xmin) BETWEEN %s AND %s
"""

_HAS_RISK = """
SELECT FROM crypto_risk WHERE as_of >= (SELECT max(complete_until) FROM crypto_markets) LIMIT 1
"""
_IS_LIVE = "SELECT FROM crypto_metrics WHERE timestamp >= %s LIMIT 1 OFFSET %s"


class Figure(NamedTuple):
    """One line of the table."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    """The value that is wanted at most."""

    @property
    def cells(self) -> tuple[str, str, str, str]:
        wanted = "" if self.limit is None else f"at most {self.limit:,g}"
        verdict = "" if self.limit is None else "yes" if self.value <= self.limit else "NO"
        return self.name, f"{self.value:,.2f} {self.unit}", wanted, verdict


class Streams:
    """Readers of the stream that read and forget, as open pages do from the server's point of view."""

    def __init__(self, address: str, count: int) -> None:
        place = urlsplit(address)
        request = f"GET /api/stream HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode()
        self._selector = selectors.DefaultSelector()
        for _ in range(count):
            sock = socket.create_connection((place.hostname, place.port), timeout=10)
            sock.sendall(request)
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ, sock)
        self._is_over = self._was_dropped = False
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.data.close()
        self._selector.close()
        assert not self._was_dropped, "the server has ended a stream"

    def _read(self) -> None:
        while not self._is_over:
            for key, _ in self._selector.select(timeout=0.2):
                self._was_dropped |= not key.data.recv(1 << 20)


def main() -> None:
    """Measure everything and print the table."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        sys.exit("needs a Chromium to drive: install the distribution's package chromium")
    load, begun = os.getloadavg()[0], time.monotonic()
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with (
        market() as (cli, uri),
        sync_playwright() as playwright,
        contextlib.closing(playwright.chromium.launch(executable_path=path, args=arguments)) as browser,
    ):
        server = cli.start("web", "--port", "0", "--group", GROUP, stderr=subprocess.DEVNULL)
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        figures = []
        for figure in chain(
            first_views(browser, address),
            live(browser, address, cli, uri, server.pid),
            hour_of_stream(browser, address),
        ):
            say(f"  {figure.name}: {figure.cells[1]}")
            figures.append(figure)
        version = browser.version
    print_table(
        ("figure", "measured", "wanted", "reached"),
        [figure.cells for figure in figures],
        numbers=("measured", "wanted"),
        title=f"{os.cpu_count()} cores, Chromium {version}, {datetime.now(UTC):%Y-%m-%d}",
    )
    say(f"load at the start {load:.1f}; took {time.monotonic() - begun:.0f} s")


def say(text: str) -> None:
    """Report on stderr."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201  (a program for developers)


@contextlib.contextmanager
def market() -> Iterator[tuple[Cli, str]]:
    """Run services with a day of history, a worker and a follower; yield how to run commands, and the URI."""
    shared = jars.folder(config.load().home)
    jars.ensure(shared, say)
    folder = Path(tempfile.mkdtemp(prefix="cryptometrics-page-"))
    folder.chmod(0o711)  # PostgreSQL's own user must be able to pass through
    home = folder / "home"
    cli = Cli(folder, clean_environment() | {"CRYPTOMETRICS_HOME": str(home)})
    try:
        record_commit_times(PostgresServer(home / "postgres"))
        with Services(home, shared, kafka_port=0) as services:
            services.up(say)
            try:
                say("a day of history")
                cli("init-db")
                count, step = str(HISTORY_TICKS), f"{HISTORY_STEP_MS}ms"
                pairs = ",".join(PAIRS)
                fast = ("--rate", "0", "--step", step, "--count", count)
                cli("simulate", "--pair", pairs, *fast, timeout=LOAD_S)
                cli("process", "--group", GROUP, "--until-caught-up", timeout=LOAD_S)
                for command in (["process", "--group", GROUP], ["risk", "--follow", "--catch-up", "15m"]):
                    cli.start(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                with psycopg.connect(services.postgres_uri, autocommit=True) as connection:
                    wait_until(lambda: connection.execute(_HAS_RISK).rowcount, "risk", limit=LOAD_S)
                yield cli, services.postgres_uri
            finally:
                cli.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def record_commit_times(server: PostgresServer) -> None:
    """Let PostgreSQL record the time of each commit from its next start on."""
    server.up(say)
    with psycopg.connect(server.address, autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET track_commit_timestamp = on")
    server.down()


@contextlib.contextmanager
def opened(browser: Browser, address: str, path: str = "/") -> Iterator[Page]:
    """Open a page in a new profile with nothing in its cache."""
    with contextlib.closing(browser.new_context(viewport={"width": 1280, "height": 860})) as context:
        context.add_init_script(path=SCRIPT)
        page = context.new_page()
        page.goto(address.rstrip("/") + path)
        page.locator("#connection[data-state=live]").wait_for()
        yield page


def first_views(browser: Browser, address: str) -> Iterator[Figure]:
    """Measure how long pages take to show a day of history."""
    say("first views")
    with opened(browser, address) as page:
        page.locator("tbody tr").nth(len(PAIRS) - 1).wait_for()
        yield Figure("first view: Market", page.evaluate("measure.settled(0)") / 1000, "s", 2)
    with opened(browser, address, f"/pair/simulated/{PAIRS[0]}") as page:
        page.get_by_role("application").locator("canvas").first.wait_for()
        took = page.evaluate("measure.settled(3)") / 1000
        yield Figure("first view: a pair, 1 h", took, "s", 2)
        before = page.evaluate("measure.requests()")
        begun = page.evaluate("performance.now()")
        page.get_by_role("button", name="24h", exact=True).click()
        took = (page.evaluate(f"measure.settled({before + 3})") - begun) / 1000
        yield Figure("first view: its 24 h", took, "s", 2)


def live(browser: Browser, address: str, cli: Cli, uri: str, pid: int) -> Iterator[Figure]:
    """Measure the page and the server while quotes arrive."""
    say(f"{RATE:,} ticks/s")
    begun = datetime.now(UTC)
    feed = cli.start(
        *("simulate", "--pair", ",".join(PAIRS), "--rate", str(RATE)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    process = psutil.Process(pid)
    with opened(browser, address) as page, psycopg.connect(uri, autocommit=True) as connection:
        page.locator("tbody tr").nth(len(PAIRS) - 1).wait_for()
        wait_until(lambda: connection.execute(_IS_LIVE, [begun, RATE]).rowcount, "live quotes")
        page.wait_for_timeout(1000 * SETTLE_S)
        page.evaluate("measure.recordPaints()")
        begun = datetime.now(UTC)
        one = cores(process, page)
        ended = datetime.now(UTC) - timedelta(seconds=LAST_S)
        commits = connection.execute(_COMMITS, [begun, begun, ended]).fetchall()
        delays = sorted(delays_of(commits, page.evaluate("measure.paints")))
        yield Figure("quotes stored", len(delays) / (ended - begun).total_seconds(), "per s")
        for name, share, limit in (("median", 0.5, None), ("p99", 0.99, 500.0), ("largest", 1.0, None)):
            delay = 1000 * delays[min(len(delays) - 1, int(share * len(delays)))]
            yield Figure(f"commit to painted, {name}", delay, "ms", limit)
        say(f"{PAGES} streams")
        with Streams(address, PAGES - 1):
            page.wait_for_timeout(1000 * SETTLE_S)
            many = cores(process, page)
            memory = process.memory_info().rss / 1e6
    feed.kill()
    feed.wait()
    yield Figure("server, one page", one, "cores")
    yield Figure(f"server, {PAGES} pages: more than one", many - one, "cores", 0.3)
    yield Figure(f"server's memory with {PAGES} pages", memory, "MB", 150)


def cores(process: psutil.Process, page: Page) -> float:
    """Return how much of a core a process uses for a while, in which the page stays responsive."""
    before, begun = process.cpu_times(), time.monotonic()
    page.wait_for_timeout(1000 * SAMPLE_S)
    after, ended = process.cpu_times(), time.monotonic()
    used = after.user + after.system - before.user - before.system
    return float(used / (ended - begun))


def delays_of(
    commits: list[tuple[str, datetime, datetime]], paints: list[tuple[float, list[tuple[str, str]]]]
) -> Iterator[float]:
    """Yield for each quote the seconds from its commit to the first paint of it or of a newer one."""
    shown: dict[str, tuple[list[datetime], list[float]]] = defaultdict(lambda: ([], []))
    for at, quotes in paints:
        for pair, timestamp in quotes:
            times, moments = shown[pair]
            times.append(datetime.fromisoformat(timestamp))
            moments.append(at / 1000)
    for pair, event_time, committed in commits:
        times, moments = shown[pair]
        yield moments[bisect_left(times, event_time)] - committed.timestamp()


def hour_of_stream(browser: Browser, address: str) -> Iterator[Figure]:
    """Measure how much the heap of a page grows over an hour's worth of updates."""
    for name, path in (("Market", "/"), ("a pair", f"/pair/simulated/{PAIRS[0]}")):
        say(f"an hour of updates: {name}")
        with opened(browser, address, path) as page:
            if path != "/":
                page.get_by_role("application").locator("canvas").first.wait_for()
            page.evaluate("measure.settled(0)")
            before = heap_mb(page)
            page.evaluate(f"measure.feed({HOUR_UPDATES}, {UPDATES_PER_FRAME})")
            after = heap_mb(page)
        yield Figure(f"heap of the page {name}", before, "MB")
        yield Figure("  growth in an hour of updates", after - before, "MB", 5)


def heap_mb(page: Page) -> float:
    """Return the megabytes that the page's objects take after a garbage collection."""
    session = page.context.new_cdp_session(page)
    for _ in range(3):  # what a finalizer releases is collected by the next one
        session.send("HeapProfiler.collectGarbage")
    usage = session.send("Runtime.getHeapUsage")
    session.detach()
    parts = ("usedSize", "embedderHeapUsedSize", "backingStorageSize")
    return float(sum(usage.get(part, 0) for part in parts)) / 1e6


if __name__ == "__main__":
    main()
