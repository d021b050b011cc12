"""`down` and `up` under running commands: they wait, follow the services to other ports, and lose nothing."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import psycopg
import pytest

from cryptometrics.config import Settings
from cryptometrics.kafka import client
from cryptometrics.kafka.publisher import publish
from cryptometrics.local.services import Services
from tests.conftest import free_port
from tests.database import scalar
from tests.fakes.coinbase import FakeCoinbase
from tests.fakes.receiver import Receiver
from tests.terminal import Terminal
from tests.waiting import LIMIT_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from subprocess import Popen

    from tests.conftest import Cli


def stored(services: Services) -> int:
    """Return how many records of the topic have an outcome; 0 while the database is down."""
    try:
        with psycopg.connect(services.postgres_uri) as connection:
            found = connection.execute(
                "SELECT sum(metrics + rejected + gaps + duplicates) FROM consumer_offsets"
            ).fetchone()
    except psycopg.Error:
        return 0
    return int((found and found[0]) or 0)


def finish(process: Popen[str]) -> str:
    """Stop a command as Ctrl-C does, and return its output."""
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    return output


@contextlib.contextmanager
def another_kafka_at(address: str, home: Path, jars: Path, local: Cli) -> Iterator[None]:
    """Run the services of another data folder, with Kafka at this address and a topic of the same name."""
    with Services(home, jars, kafka_port=int(address.rpartition(":")[2])) as others:
        others.up()
        assert others.bootstrap_servers == address
        local("init-db", env={"CRYPTOMETRICS_HOME": str(home)})
        yield


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("workers", [1, 2])
def test_running_commands_outlive_down_and_find_up_at_another_port(
    local: Cli, home: Path, shared_jars: Path, workers: int
) -> None:
    with Services(home, shared_jars, kafka_port=0) as services, FakeCoinbase(("BTC-USD",), rate=50) as server:
        services.up()
        local("init-db", "--partitions", "2")
        simulated = local.start("simulate", "--rate", "200")
        live = local.start("ingest", "--json", "--pair", "BTC-USD", "--url", server.url)
        worker = local.start("process", "--group", "g1", "--workers", str(workers))
        wait_until(lambda: stored(services) > 0, "ticks are stored", running=worker)
        screen = Terminal(local, "watch", size=(24, 80))
        try:
            screen.until(lambda text: "BTC-USD" in text, "the screen")
            children = [
                child for child in psutil.Process(worker.pid).children() if "--reporting" in child.cmdline()
            ]
            address = services.bootstrap_servers

            local("down")
            with another_kafka_at(address, home / "other", shared_jars, local):
                screen.until(lambda text: "the data is old" in text, "the problem is shown")
                for child in children[:1]:
                    child.kill()  # its successor begins without services
                local("up")
                assert services.bootstrap_servers != address
                before, seen = stored(services), len(screen.drawn)
                wait_until(lambda: stored(services) > before + 1000, "ticks flow again", running=worker)
                screen.until(
                    lambda text: "BTC-USD" in text[seen:] and "is old" not in text[-2000:],
                    "the screen goes on",
                )
            sent, acknowledged = (int(part.split()[-1]) for part in finish(simulated).split(","))
            assert acknowledged == sent > 0
            report = json.loads(finish(live))
            assert report["acknowledged"] == report["sent"] > 0
            sent += report["sent"]
            wait_until(
                lambda: stored(services) >= sent,
                lambda: f"every tick is stored: {stored(services):,} of {sent:,}",
                running=worker,
            )
            screen.process.send_signal(signal.SIGINT)
            screen.until(lambda text: "\x1b[?1049l" in text, "the terminal is given back")
            assert screen.process.wait(LIMIT_S) == 0
        finally:
            screen.close()
        finish(worker)
        local("verify", "--group", "g1", "--topic")


def taken(address: str) -> socket.socket:
    """Take a port: a connection to it is accepted, and nobody answers."""
    host, _, port = address.rpartition(":")
    return socket.create_server((host, int(port)))


def page(address: str, path: str) -> Any:
    """Return an answer of the page's API; None if it has none now."""
    with contextlib.suppress(httpx.TransportError):  # it may not listen yet
        answer = httpx.get(f"{address}{path}", timeout=LIMIT_S)
        return answer.json() if answer.status_code == 200 else None
    return None


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_run_and_its_page_go_on(local: Cli, home: Path, shared_jars: Path) -> None:
    address = f"http://127.0.0.1:{free_port()}"

    def ticks() -> int:
        rows = (page(address, "/api/pairs") or {}).get("pairs", ())
        return sum(row["ticks"] for row in rows)

    with Services(home, shared_jars, kafka_port=0) as services:
        services.up()
        running = local.start(
            *("run", "--web", "--rate", "200", "--pair", "BTC-USD", "--group", "g1"),
            env={"CRYPTOMETRICS_WEB_PORT": address.rpartition(":")[2]},
        )
        wait_until(lambda: ticks() > 0, "the page shows ticks", running=running)
        kafka = services.bootstrap_servers
        local("down")
        with taken(kafka):
            assert running.poll() is None, running.communicate()
            local("up")
            assert services.bootstrap_servers != kafka
            before = stored(services)
            wait_until(lambda: ticks() > before + 1000, "the page goes on", running=running)
        sent, worker, *_ = finish(running).splitlines()
        assert sent.startswith("sent "), sent
        assert worker.startswith("group g1: "), worker
        local("process", "--group", "g1", "--until-caught-up")
        local("verify", "--group", "g1", "--topic")


HOUR = ("--rate", "0", "--step", "5s", "--count", "720", "--seed", "7", "--pair", "BTC-USD")
"""Simulated quotes of one hour."""
RULES = """
[[rule]]
name = "wide"
kind = "spread_bps"
pairs = ["WIDE-USD"]
level = 25
"""


def quote(settings: Settings, ask: str) -> None:
    """Publish a quote of the pair that the rule is about."""
    now = datetime.now(UTC).isoformat()
    fields = {"type": "quote", "product_id": "WIDE-USD", "best_bid": "100", "best_ask": ask, "time": now}
    published = publish(
        client.make_producer(settings), settings.kafka_topic, [[(b"WIDE-USD", json.dumps(fields).encode())]]
    )
    assert published.acknowledged == 1


def figures_until(settings: Settings) -> str:
    """Return the time of the newest figures of risk, once every complete minute has them; else nothing."""
    place = scalar(settings, "SELECT max(complete_until) FROM risk_progress WHERE venue = 'simulated'")
    complete = scalar(
        settings,
        "SELECT date_bin('1 minute', min(complete_until), 'epoch') FROM window_progress "
        "WHERE venue = 'simulated'",
    )
    return f"{place:%H:%M}" if place is not None and place == complete else ""


def lags(address: str) -> list[int | None]:
    """Return the lag of each partition as the page has it."""
    return [part["lag"] for part in (page(address, "api/pipeline") or {}).get("partitions", ())]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_figures_the_page_and_messages_go_on(local: Cli, home: Path, shared_jars: Path) -> None:
    (local.cwd / "alerts.toml").write_text(RULES)
    settings = Settings.of({"CRYPTOMETRICS_HOME": home})
    accepts: list[str] = []
    with (
        Services(home, shared_jars, kafka_port=0) as services,
        Receiver(lambda: "accept" if accepts else "refuse") as receiver,
    ):
        services.up()
        local("init-db", "--partitions", "2")
        worker = local.start("process", "--group", "g1", env={"CRYPTOMETRICS_WEBHOOK_URL": receiver.url})
        follower = local.start("risk", "--follow", "--group", "g1")
        server = local.start("web", "--port", "0", "--group", "g1")
        assert server.stdout is not None
        address = server.stdout.readline().strip()

        def newest() -> str:
            rows = (page(address, "api/pairs") or {}).get("pairs", ())
            return max((row["timestamp"] for row in rows if row["venue"] == "simulated"), default="")

        local("simulate", *HOUR, "--start", "2026-07-01T12:00")
        quote(settings, "110")
        wait_until(lambda: bool(receiver.posts), "the message is sent, and refused", running=worker)
        wait_until(lambda: figures_until(settings) > "12:50", "there are figures", running=follower)
        wait_until(lambda: newest().startswith("2026-07-01T12:59"), "the page is current", running=server)

        kafka = services.bootstrap_servers
        local("down")
        with taken(kafka):
            wait_until(lambda: page(address, "healthz") is None, "the page says so", running=server)
            local("up")
            assert services.bootstrap_servers != kafka
            accepts.append("from now on")
            local("simulate", *HOUR, "--start", "2026-07-01T13:00")
            quote(settings, "100.01")
            wait_until(lambda: len(receiver.taken()) == 2, "both messages arrive", running=worker)
            wait_until(lambda: figures_until(settings) > "13:50", "the figures go on", running=follower)
            wait_until(lambda: newest().startswith("2026-07-01T13:59"), "the page goes on", running=server)
            wait_until(
                lambda: lags(address) == [0, 0],
                "the page asks Kafka at its new address",
                running=server,
            )
        assert [(post.body["status"], post.body["pair"]) for post in receiver.taken()] == [
            *(("firing", "WIDE-USD"), ("resolved", "WIDE-USD"))
        ]  # fmt: skip
        assert "rows written" in finish(follower)
        finish(server)
        finish(worker)
        local("verify", "--group", "g1", "--topic")
