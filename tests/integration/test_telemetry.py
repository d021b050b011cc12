"""The metrics of a real `process`: every name of the dashboards, correct for any number of workers."""

from __future__ import annotations

import json
import re
import signal
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families

from cryptometrics.dashboards import build
from cryptometrics.kafka.topic import describe_topic
from cryptometrics.pipeline.options import WorkerOptions
from cryptometrics.pipeline.worker import Worker
from cryptometrics.telemetry import process_metrics as telemetry
from cryptometrics.telemetry.endpoint import serving
from tests.database import rows
from tests.fakes.coinbase import FakeCoinbase
from tests.waiting import LIMIT_S, deadline, wait_until

if TYPE_CHECKING:
    import subprocess

    from cryptometrics.config import Settings
    from tests.conftest import Cli

TICKS = 4000
INGEST = "cryptometrics_ingest_"
"""Prefix of the metrics of `ingest`; the others are those of `process`."""
NAME = re.compile(r"\bcryptometrics_[a-z_]+")


def address_of(process: subprocess.Popen[str]) -> str:
    """Return where a command says that it serves; read before the pipe can be full."""
    assert process.stderr is not None
    for line in process.stderr:
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("event") == "metrics_served":
            return str(event["address"])
    raise AssertionError(f"it serves nothing, exit code {process.wait()}")


def scrape(address: str) -> tuple[dict[str, float], set[str]]:
    """Return samples without labels but `le`, summed, and the names of all samples and families."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        text = answer.read().decode()
    sums: dict[str, float] = {}
    names: set[str] = set()
    for family in text_string_to_metric_families(text):
        names |= {family.name, f"{family.name}_total"} if family.type == "counter" else {family.name}
        for sample in family.samples:
            names.add(sample.name)
            key = f"{sample.name}:{sample.labels['le']}" if "le" in sample.labels else sample.name
            sums[key] = sums.get(key, 0.0) + sample.value
    return sums, names


def names_asked_for() -> set[str]:
    """Return every metric that a panel or an alerting rule asks for."""
    asked = [
        target["expr"]
        for dashboard in build.dashboards().values()
        for panel in dashboard["panels"]
        for target in panel["targets"]
        if "expr" in target
    ]
    rules = yaml.safe_load((build.FOLDER.parents[1] / "prometheus/rules.yml").read_text())
    asked += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    found = set(NAME.findall(" ".join(asked)))
    assert len(found) > 10
    return found


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_real_endpoint_has_every_name_and_the_right_numbers(
    workers: str, settings: Settings, cli: Cli
) -> None:
    cli("init-db")
    cli("simulate", "--rate", "0", "--count", str(TICKS), "--bad", "0.02", "--seed", "3")
    running = cli.start("process", "--group", "g1", "--workers", workers, "--metrics-port", "0")
    address = address_of(running)
    wait_until(
        lambda: scrape(address)[0].get("cryptometrics_batch_ticks_sum") == TICKS, "all is stored and exported"
    )
    sums, names = scrape(address)
    [row] = rows(settings, "SELECT sum(metrics), sum(rejected) FROM consumer_offsets")
    assert (sums["cryptometrics_ticks_total"], sums["cryptometrics_rejected_ticks_total"]) == row
    assert 0 < row[1] < TICKS / 10
    assert sums["cryptometrics_end_to_end_latency_seconds_count"] == row[0]
    assert sums["cryptometrics_consumer_lag"] == 0
    assert sums["cryptometrics_commit_seconds_count"] == sums["cryptometrics_batch_ticks_count"]
    assert sums["cryptometrics_build_info"] == 1
    assert {name for name in names_asked_for() if not name.startswith(INGEST)} <= names
    quotes = rows(settings, "SELECT count(*), sum(bid), sum(ask), sum(ask - bid) FROM pair_state")
    assert quotes[0][0] == 6
    assert [sums[f"cryptometrics_{name}"] for name in ("bid", "ask", "spread")] == [
        pytest.approx(float(total)) for total in quotes[0][1:]
    ]
    assert "cryptometrics_quote_age_seconds" in names
    health = urllib.request.urlopen(f"http://{address}/healthz", timeout=5)
    assert json.load(health)["ok"] is True
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://{address}/", timeout=5)
    if workers == "2":
        victim = psutil.Process(running.pid).children()[0]
        victim.kill()
        # Until the partitions are given out again, nobody has a lag to report.
        wait_until(
            lambda: not victim.is_running() and scrape(address)[0].get("cryptometrics_consumer_lag") == 0,
            "it is gone",
        )
        assert (
            scrape(address)[0]["cryptometrics_ticks_total"] == row[0]
        )  # the counts of a worker that ended are kept
    taken = cli("process", "--metrics-port", address.split(":")[1], code=2)
    assert f"cannot serve metrics on {address}" in taken.stderr
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=LIMIT_S)
    assert running.returncode == 0


def test_the_follower_serves_the_figures_that_it_has_stored(settings: Settings, cli: Cli) -> None:
    cli("init-db", "--partitions", "1")
    history = ["--rate", "0", "--step", "5s", "--seed", "7", "--start", "2026-07-01T12:00"]
    cli("simulate", *history, "--pair", "BTC-USD", "--count", "2400")
    cli("process", "--group", "g1", "--until-caught-up")
    running = cli.start("risk", "--follow", "--group", "g1", "--metrics-port", "0")
    address = address_of(running)
    wait_until(lambda: "cryptometrics_value_at_risk_ratio" in scrape(address)[0], "it has come to the end")
    sums = scrape(address)[0]
    [newest] = rows(
        settings,
        "SELECT volatility, drawdown, value_at_risk FROM crypto_latest_risk WHERE range = '24h'",
    )
    assert newest == tuple(
        sums[f"cryptometrics_{name}_ratio"] for name in ("volatility", "drawdown", "value_at_risk")
    )
    [(stored,)] = rows(settings, "SELECT count(*) FROM crypto_risk")
    assert sums["cryptometrics_risk_rows_total"] == stored
    assert (sums["cryptometrics_risk_active"], sums["cryptometrics_risk_behind_seconds"]) == (1, 0)
    health = json.load(urllib.request.urlopen(f"http://{address}/healthz", timeout=5))
    assert (health["ok"], health["active"]) == (True, True)
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=LIMIT_S)
    assert running.returncode == 0


def test_ingest_tells_what_its_report_tells(cli: Cli) -> None:
    cli("init-db", "--partitions", "1")
    with FakeCoinbase(("BTC-USD",), rate=200, trades=600, script=[(200, "cut")]) as server:
        running = cli.start(
            "ingest", "--pair", "BTC-USD", "--url", server.url, "--metrics-port", "0", "--json"
        )
        address = address_of(running)
        assert server.done.wait(LIMIT_S)
        wait_until(lambda: scrape(address)[0].get("cryptometrics_ingest_reconnects_total") == 1, "it is back")
        assert {name for name in names_asked_for() if name.startswith(INGEST)} <= scrape(address)[1]
        sums, seen = scrape(address)[0], -1.0
        while sums["cryptometrics_ingest_acknowledged_messages_total"] != seen:  # until nothing more comes
            seen = sums["cryptometrics_ingest_acknowledged_messages_total"]
            time.sleep(0.6)
            sums = scrape(address)[0]
        assert sums["cryptometrics_ingest_connected"] == 1
        assert json.load(urllib.request.urlopen(f"http://{address}/healthz", timeout=5))["connected"] is True
        running.send_signal(signal.SIGINT)
        output, _ = running.communicate(timeout=LIMIT_S)
    report = json.loads(output)
    [pair] = report["pairs"]
    for metric, key in (
        *(("ticks", "ticks"), ("gaps", "gaps"), ("missed_trades", "trades_missed")),
        *(("duplicate_ticks", "duplicates"), ("reconnects", "reconnects")),
    ):
        assert sums[f"cryptometrics_ingest_{metric}_total"] == pair[key], metric
    assert pair["ticks"] > 100


def test_a_database_that_lets_nothing_in_turns_health_red(
    settings: Settings, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same objects as in the command, in this process, so that red comes after one second."""
    monkeypatch.setattr(telemetry, "STALLED_S", 1.0)
    cli("init-db")
    cli("simulate", "--rate", "0", "--count", "10", "--seed", "3")
    metrics = telemetry.ProcessMetrics("g1")
    codes: list[int] = []

    def health(address: str) -> int:
        try:
            return int(urllib.request.urlopen(f"http://{address}/healthz", timeout=5).status)
        except urllib.error.HTTPError as error:
            return error.code

    blocker = psycopg.connect(settings.postgres())
    is_over = deadline()
    with serving(metrics.collect, metrics.health, "127.0.0.1", 0) as address:

        def show(worker: Worker) -> None:
            metrics.update(worker.report())
            codes.append(health(address))
            stored = worker.totals.offsets
            if (
                stored == 10
                and codes[-1] == 200
                and 503 not in codes
                and blocker.info.transaction_status == 0
            ):
                blocker.execute("SELECT FROM consumer_offsets FOR UPDATE")
                cli("simulate", "--rate", "0", "--count", "10", "--seed", "4")
            if codes[-1] == 503:
                blocker.rollback()

        def over() -> bool:
            assert not is_over(), codes[-10:]
            return 503 in codes and codes[-1] == 200

        topic = describe_topic(settings)
        Worker(settings, WorkerOptions("g1"), topic, "test-0", over, show).run()
    blocker.close()
    assert codes[-1] == 200
