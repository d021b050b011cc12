"""`down` and `up` under running commands: they wait, follow the services to other ports, and lose nothing."""

from __future__ import annotations

import contextlib
import json
import signal
from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest

from cryptometrics.local.services import Services
from tests.fakes.coinbase import FakeCoinbase
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
