"""`web` on real services: what its API answers, who may ask, and what it does when PostgreSQL is away."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import hypothesis
import psycopg
import pytest
import schemathesis
from psycopg import conninfo, sql
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cryptometrics.local.postgres import PostgresServer
from cryptometrics.store.migrate import migrate
from cryptometrics.store.reader_session import connect_reader
from cryptometrics.store.roles import READER, create_roles
from tests.conftest import Cli, clean_environment, environment_of, free_port, settings_for
from tests.database import rows
from tests.waiting import LIMIT_S, deadline, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptometrics.config import Settings
    from cryptometrics.local.services import Services

TICKS = 3000
STOP_S = 2.0
"""How long the server may take to end."""
LOST_S = 3.0
"""How long the page may take to heal after PostgreSQL's return."""
TOKEN = "a token that nobody guesses"
HOSTILE = "<script>alert(1)</script>\x1b]0;title\x07\u202e" + "x" * 10_000
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
"""What every answer must be, by the API's own description."""
FUZZ_S = float(os.environ.get("FUZZ_SECONDS", "10"))
MARKETS, MAX_CHANGES = 1000, 30
"""An update of so many markets is half a megabyte, so that a reader who takes nothing is soon too slow."""
MANY_MARKETS = """
INSERT INTO session_extremes (consumer_group, venue, pair, session, highest_bid, highest_bid_at, lowest_ask,
    lowest_ask_at, max_spread, max_spread_at, last_bid, last_ask, last_at, first_at, ticks, late)
SELECT 'g1', 'coinbase', 'P' || n || '-USD', 's', 1, now(), 2, now(), 1, now(), 1, 100, now(), now(), 1, 0
FROM generate_series(1, %s) AS n
"""
CHANGE = "UPDATE session_extremes SET last_bid = last_bid + 0.01, ticks = ticks + 1 WHERE pair = 'BTC-USD'"


class Web:
    """A running `cryptometrics web`."""

    def __init__(self, cli: Cli, *options: str, **environment: str) -> None:
        self.process = cli.start("web", "--port", "0", *options, env=environment)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address, self.process.communicate()[1]
        self.client = httpx.Client(base_url=self.address, timeout=LIMIT_S)

    def get(self, path: str, status: int = 200, **parameters: object) -> Any:
        answer = self.client.get(path, params={name: str(value) for name, value in parameters.items()})
        assert answer.status_code == status, answer.text
        kind = "application/json" if status == 200 else "application/problem+json"
        assert answer.headers["content-type"] == kind
        return answer.json()

    @property
    def token(self) -> dict[str, str]:
        page = self.client.get("/").text
        return {
            "X-Cryptometrics-Token": page.partition('name="cryptometrics-token" content="')[2].partition('"')[
                0
            ]
        }

    def post(self, path: str, body: object, status: int) -> Any:
        answer = self.client.post(path, json=body, headers=self.token)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    @contextlib.contextmanager
    def stream(
        self, last_event_id: str | None = None, query: str = ""
    ) -> Iterator[Iterator[tuple[str, str, Any]]]:
        headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
        with self.client.stream("GET", f"/api/stream{query}", headers=headers) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield events(answer)

    def end(self) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            begun = time.monotonic()
            assert self.process.wait(LIMIT_S) == 0
            assert time.monotonic() - begun < STOP_S


def events(answer: httpx.Response) -> Iterator[tuple[str, str, Any]]:
    """Yield id, name and data of each event."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield fields["id"], fields["event"], json.loads(fields["data"])
            fields = {}


def next_of(found: Iterator[tuple[str, str, Any]], wanted: str) -> tuple[str, Any]:
    """Return id and data of the next event with a name."""
    return next((number, data) for number, name, data in found if name == wanted)


@pytest.fixture(scope="module")
def filled(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, Settings]]:
    """Return a database with simulated quotes, rejected messages and an alert."""
    name = f"web_{uuid.uuid4().hex[:12]}"
    settings = settings_for(services, name, name)
    with psycopg.connect(services.postgres_uri, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    cli = Cli(tmp_path_factory.mktemp("web"), clean_environment() | environment_of(settings))
    cli("init-db")
    cli("simulate", "--rate", "0", "--step", "100ms", "--count", str(TICKS), "--bad", "0.01", "--seed", "3")
    cli("process", "--group", "g1", "--until-caught-up")
    rows(
        settings,
        "INSERT INTO alerts (consumer_group, rule, kind, venue, pair, severity, level, value, message, "
        "started_at, fired_at, resolved_at) SELECT 'g1', rule, 'spread', 'simulated', 'BTC-USD', 'critical', "
        "10, 12.5, 'spread 12.5 bps', now(), last_at, resolved_at FROM session_extremes, "
        "(VALUES ('wide', NULL), ('over', now())) AS rules (rule, resolved_at) WHERE pair = 'BTC-USD'",
    )
    rows(
        settings,
        "INSERT INTO rejected_ticks (consumer_group, topic, kafka_partition, kafka_offset, reason, detail, "
        "value) VALUES ('g1', 't', 99, 1, 'hostile', %s, %s)",
        HOSTILE[:500],
        HOSTILE.encode(),
    )
    yield cli, settings
    cli.end()
    with psycopg.connect(services.postgres_uri, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def web(filled: tuple[Cli, Settings]) -> Iterator[Web]:
    web = Web(filled[0])
    yield web
    web.end()


def test_it_prints_its_address_and_serves_the_page_under_strict_rules(web: Web) -> None:
    assert web.address.startswith("http://127.0.0.1:")
    answers = [
        web.client.get(path)
        for path in ("/", "/pair/simulated/BTC-USD", "/risk", "/alerts", "/pipeline", "/static/favicon.svg")
    ]
    answers += [web.client.get("/static/bokeh/bokeh.min.js"), web.client.get("/nothing/here")]
    assert [answer.status_code for answer in answers] == [200] * 7 + [404]
    assert len({answer.text for answer in answers[:5]}) == 1
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe-eval" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in answer.headers
        assert "server" not in answer.headers
    assert 'name="cryptometrics-token" content="{{' not in answers[0].text
    assert "<script>" not in answers[0].text
    assert answers[6].headers["content-type"].startswith("text/javascript")
    again = web.client.get("/static/favicon.svg", headers={"If-None-Match": answers[5].headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_other_hosts_and_origins_are_refused(web: Web, headers: dict[str, str], status: int) -> None:
    for path in ("/", "/api/pairs", "/api/stream"):
        answer = web.client.get(path, headers=headers)
        assert answer.status_code == status
        assert answer.json()["status"] == status


def test_files_outside_of_the_list_are_not_served(web: Web) -> None:
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/static/bokeh/x.js"):
        assert web.client.get(path).status_code == 404


def test_what_is_wrong_with_a_request_is_a_problem(web: Web) -> None:
    assert "no ticks of XXX-USD" in web.get("/api/quotes", 404, pair="XXX-USD")["detail"]
    assert "venue nowhere" in web.get("/api/pairs", 404, venue="nowhere")["detail"]
    assert "group other" in web.get("/api/pairs", 404, group="other")["detail"]
    assert "no portfolio" in web.get("/api/portfolio", 404, name="none")["detail"]
    assert "pair" in web.get("/api/quotes", 422)["detail"]
    assert "pair" in web.get("/api/quotes", 422, pair="btc")["detail"]
    assert "points" in web.get("/api/quotes", 422, pair="BTC-USD", points=10**9)["detail"]
    assert "group" in web.get("/api/pairs", 422, group="\x00")["detail"]
    assert "31 days" in web.get("/api/quotes", 400, pair="BTC-USD", since="2020-01-01")["detail"]
    assert "not a time" in web.get("/api/quotes", 400, pair="BTC-USD", since="soon")["detail"]
    assert web.client.delete("/api/pairs").status_code == 403
    assert web.client.post("/api/pairs").json()["title"] == "Forbidden"
    assert web.get("/docs", 404)["title"] == "Not Found"
    assert set(web.get("/api/openapi.json")["paths"]) >= {
        "/api/pairs", "/api/quotes", "/api/candles", "/api/risk", "/api/portfolio", "/api/alerts",
        "/api/pipeline", "/api/stream", "/healthz", "/metrics",
    }  # fmt: skip


def test_pairs_are_those_of_session(web: Web, filled: tuple[Cli, Settings]) -> None:
    answer = web.get("/api/pairs")
    assert (answer["group"], answer["groups"]) == ("g1", ["g1"])
    known = json.loads(filled[0]("session", "--json").stdout)
    assert [row["pair"] for row in answer["pairs"]] == [row["pair"] for row in known]
    for row, session in zip(answer["pairs"], known, strict=True):
        names = (
            *(
                "venue",
                "pair",
                "session",
                "ticks",
                "bid",
                "ask",
                "bid_size",
                "ask_size",
                "mid_price",
                "spread",
            ),
            *("highest_bid", "lowest_ask", "max_spread", "volatility", "drawdown"),
        )
        assert {name: row[name] for name in names} == {name: session[name] for name in names}
        assert row["timestamp"] == session["last_at"]
        assert row["simulated"] is True


def test_quotes_end_with_the_newest_one(web: Web) -> None:
    [btc] = [row for row in web.get("/api/pairs")["pairs"] if row["pair"] == "BTC-USD"]
    answer = web.get("/api/quotes", pair="BTC-USD", range="1h", points=100)
    assert answer["venue"] == "simulated"
    assert answer["watermark"] == btc["timestamp"]
    assert 10 < len(answer["points"]) <= 101
    newest = dict(zip(answer["columns"], answer["points"][-1], strict=True))
    assert all(Decimal(newest[name]) == Decimal(btc[name]) for name in ("bid", "ask", "mid_price"))
    assert Decimal(newest["low"]) <= Decimal(newest["mid_price"]) <= Decimal(newest["high"])
    assert {run["label"] for run in answer["labels"]} == {"simulated"}
    assert {alert["rule"] for alert in answer["alerts"]} == {"wide", "over"}
    silent = web.get("/api/quotes", pair="BTC-USD", since="2024-01-01", until="2024-01-02")
    assert (silent["points"], silent["watermark"]) == ([], None)


def test_candles_hold_the_quotes(web: Web) -> None:
    answer = web.get("/api/candles", pair="BTC-USD", interval="5m", range="1h")
    assert answer["candles"]
    for candle in answer["candles"]:
        low, *within, high = (Decimal(candle[name]) for name in ("low", "open", "close", "high"))
        assert all(low <= price <= high for price in within)
    [btc] = [row for row in web.get("/api/pairs")["pairs"] if row["pair"] == "BTC-USD"]
    assert sum(candle["ticks"] for candle in answer["candles"]) == btc["ticks"]
    assert Decimal(answer["candles"][-1]["close"]) == Decimal(btc["mid_price"])


def test_risk_portfolio_and_alerts(web: Web) -> None:
    risk = web.get("/api/risk")
    assert len(risk["correlation"]["matrix"]) == len(risk["correlation"]["pairs"])
    assert web.get("/api/risk", pair="BTC-USD")["series"]["points"] == []
    assert web.get("/api/portfolio") == {"portfolios": [], "portfolio": None, "series": None}
    alerts = web.get("/api/alerts")
    assert [alert["rule"] for alert in alerts["firing"]] == ["wide"]
    assert [alert["rule"] for alert in alerts["history"]] == ["over"]
    assert alerts["firing"][0]["threshold"] == "10"
    assert web.get("/api/alerts", state="history")["firing"] == []
    assert web.get("/api/alerts", before=alerts["history"][0]["id"])["history"] == []


def test_the_pipeline_accounts_for_every_offset_and_cuts_hostile_text(
    web: Web, filled: tuple[Cli, Settings]
) -> None:
    answer = {}

    def is_complete() -> bool:
        nonlocal answer
        answer = web.get("/api/pipeline")
        return all(part["lag"] is not None for part in answer["partitions"])

    wait_until(is_complete, "Kafka's ends")
    for part in answer["partitions"]:
        outcomes = ("metrics", "rejected", "gaps", "duplicates", "holes")
        assert sum(part[name] for name in outcomes) == part["next_offset"] == part["end_offset"]
        assert part["owner"]
    reasons = {each["reason"]: each for each in answer["rejected"]}
    assert len(reasons) > 2
    hostile = reasons["hostile"]["newest"]
    assert hostile["text"] == HOSTILE[:2000]
    assert hostile["bytes"] == len(HOSTILE.encode())
    assert hostile["cut"] is True
    raw = web.client.get("/api/pipeline").content
    assert b"\x1b" not in raw  # JSON escapes control characters

    assert answer["verified"] is None
    with psycopg.connect(filled[1].postgres()) as connection:
        connection.execute(
            "INSERT INTO verified_groups VALUES (%s, '2026-11-28 10:00+00', true, 0, '{}')", [answer["group"]]
        )
    wait_until(lambda: web.get("/api/pipeline")["verified"] is not None, "the verification")
    assert web.get("/api/pipeline")["verified"] == {"at": "2026-11-28T10:00:00Z", "with_topic": True}


def test_people_acknowledge_and_silence(web: Web, filled: tuple[Cli, Settings]) -> None:
    [alert] = web.get("/api/alerts")["firing"]
    path, said = f"/api/alerts/{alert['id']}/acknowledge", {"by": "ann", "why": "<b>known</b>"}
    for headers in ({}, {"X-Cryptometrics-Token": "guessed"}):
        assert web.client.post(path, json=said, headers=headers).status_code == 403
    assert web.get("/api/alerts")["firing"] == [alert]
    assert web.post(path, said, 204) is None
    acknowledged = web.get("/api/alerts")["firing"][0]["acknowledged"]
    assert {name: acknowledged[name] for name in ("by", "why")} == said
    assert "already acknowledged, by ann" in web.post(path, said, 409)["detail"]
    assert web.post("/api/alerts/999999/acknowledge", said, 404)["title"] == "Not Found"
    order = {"by": "ann", "why": "maintenance", "rule": "limit.*", "pair": "BTC-*"}
    silence = web.post("/api/silences", order | {"for": "2h"}, 201)
    assert {name: silence[name] for name in order} == order
    assert web.get("/api/alerts")["silences"] == [silence]
    for wrong in ({}, {"for": "2h", "until": "2h"}, {"for": "soon"}, {"for": "90d"}, {"until": "2020-01-01"}):
        assert web.post("/api/silences", order | wrong, 400)["status"] == 400
    for invalid in ({"by": ""}, {"why": "x" * 1001}, {"other": "x"}, {"rule": None}):
        assert web.post("/api/silences", order | {"for": "2h"} | invalid, 422)["status"] == 422
    assert (
        "control characters" in web.post("/api/silences", order | {"for": "2h", "by": "a\x1b"}, 400)["detail"]
    )
    assert web.post("/api/silences/end", {}, 404)["status"] == 404
    web.post(f"/api/silences/{silence['id']}/end", {"by": "bob"}, 200)
    assert web.get("/api/alerts")["silences"] == []
    assert web.post(f"/api/silences/{silence['id']}/end", {"by": "bob"}, 404)["status"] == 404
    assert web.client.post(path, content=b"x" * 20_000, headers=web.token).status_code == 413


def test_health_and_metrics(web: Web) -> None:
    assert web.get("/healthz")["database"] == "ok"
    assert "cryptometrics_web_database_up 1.0" in web.client.get("/metrics").text


def test_the_stream_sends_changes_and_what_was_missed(web: Web, filled: tuple[Cli, Settings]) -> None:
    _, settings = filled
    with web.stream() as found:
        _, snapshot = next_of(found, "snapshot")
        assert [alert["rule"] for alert in snapshot["alerts"]] == ["wide"]
        assert snapshot["pipeline"]["metrics"] > 0
        rows(settings, CHANGE)
        last, update = next(
            (number, data) for number, name, data in found if name == "update" and data["pairs"]
        )
        [changed] = update["pairs"]
        [before] = [row for row in snapshot["pairs"] if row["pair"] == "BTC-USD"]
        assert Decimal(changed["bid"]) == Decimal(before["bid"]) + Decimal("0.01")
        _, beat = next_of(found, "beat")
        assert beat["database"] == "ok"
    rows(settings, CHANGE)
    wait_until(
        lambda: (
            next(row for row in web.get("/api/pairs")["pairs"] if row["pair"] == "BTC-USD")["ticks"]
            > changed["ticks"]
        ),
        "the change",
    )
    for resumed in (web.stream(last), web.stream(query=f"?after={last}")):
        with resumed as found:
            bids = []
            for _, name, data in found:
                assert name != "snapshot"
                bids += [row["bid"] for row in data.get("pairs", []) if row["pair"] == "BTC-USD"]
                if bids:
                    break
            assert Decimal(bids[0]) > Decimal(changed["bid"])
    with web.stream("of-another-start-7") as found:
        _, again = next_of(found, "snapshot")
        assert again["resumed"] is False


def test_fifty_streams_get_the_same(web: Web, filled: tuple[Cli, Settings]) -> None:
    _, settings = filled
    with contextlib.ExitStack() as opened:
        found = [opened.enter_context(web.stream()) for _ in range(50)]
        for each in found:
            next_of(each, "snapshot")
        rows(settings, CHANGE)
        updates = [
            next((number, data) for number, name, data in each if name == "update" and data["pairs"])
            for each in found
        ]
        assert all(update == updates[0] for update in updates)
        assert web.get("/healthz")["streams"] == 50
    wait_until(lambda: web.get("/healthz")["streams"] == 0, "the end of the streams")


def test_a_slow_reader_is_dropped_and_nobody_waits_for_it(settings: Settings, cli: Cli) -> None:
    rows(settings, MANY_MARKETS, MARKETS)
    web = Web(cli)
    place = httpx.URL(web.address)
    with socket.socket() as slow, web.stream() as found:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((place.host, place.port))
        slow.sendall(f"GET /api/stream HTTP/1.1\r\nHost: {place.netloc.decode()}\r\n\r\n".encode())
        assert slow.recv(12) == b"HTTP/1.1 200"  # and no more of it
        next_of(found, "snapshot")
        wait_until(lambda: web.get("/healthz")["streams"] == 2, "both streams")
        for change in range(1, MAX_CHANGES):
            rows(settings, "UPDATE session_extremes SET last_bid = last_bid + 1")
            begun = time.monotonic()
            update = next(
                data for _, name, data in found if name == "update" and bids_of(data) == {1 + change}
            )
            assert len(update["pairs"]) == MARKETS
            assert time.monotonic() - begun < LOST_S
            if web.get("/healthz")["streams"] == 1:
                break
        assert "cryptometrics_web_streams_dropped_total 1.0" in web.client.get("/metrics").text
    web.end()


def bids_of(update: Any) -> set[Decimal]:
    """Return the bids of the markets that an update changes."""
    return {Decimal(row["bid"]) for row in update["pairs"]}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_open_streams(filled: tuple[Cli, Settings], number: signal.Signals) -> None:
    web = Web(filled[0])
    with web.stream() as found:
        next_of(found, "snapshot")
        begun = time.monotonic()
        web.process.send_signal(number)
        assert list(found) is not None  # the stream ends in order, without an error
        assert web.process.wait(LIMIT_S) == 0
        assert time.monotonic() - begun < STOP_S
    assert web.process.communicate()[1] == ""
    web.client.close()


def test_a_port_in_use_is_one_line(web: Web, filled: tuple[Cli, Settings]) -> None:
    port = web.address.rstrip("/").rpartition(":")[2]
    done = filled[0]("web", "--port", port, code=2)
    [line] = done.stderr.splitlines()
    assert line.startswith(f"error: port {port} on 127.0.0.1 is in use: ")


def test_an_outdated_schema_and_an_empty_database_are_one_line(settings: Settings, cli: Cli) -> None:
    assert "no ticks are stored yet" in cli("web", "--port", "0", code=2).stderr
    rows(settings, "DROP TABLE alert_acknowledgements CASCADE")
    [line] = cli("web", "--port", "0", "--group", "g1", code=2).stderr.splitlines()
    assert "cryptometrics init-db" in line


def test_another_loopback_address_is_served(filled: tuple[Cli, Settings]) -> None:
    web = Web(filled[0], "--host", "::1")
    assert web.address.startswith("http://[::1]:")
    assert web.get("/api/pairs")["group"] == "g1"
    web.end()


def test_without_the_extra_it_says_how_to_install_it(tmp_path: Path) -> None:
    code = "import sys; sys.modules['uvicorn'] = None; from cryptometrics.cli import main; main(['web'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: web needs FastAPI and uvicorn: pip install 'cryptometrics[web]'"
    ]


def test_beyond_this_machine_it_needs_a_token(filled: tuple[Cli, Settings]) -> None:
    cli, _ = filled
    refused = cli("web", "--host", "0.0.0.0", "--port", "0", code=2)
    assert "CRYPTOMETRICS_WEB_TOKEN" in refused.stderr
    short = cli("web", "--host", "0.0.0.0", "--port", "0", code=2, env={"CRYPTOMETRICS_WEB_TOKEN": "short"})
    assert "at least 16 characters" in short.stderr
    web = Web(cli, "--host", "0.0.0.0", CRYPTOMETRICS_WEB_TOKEN=TOKEN)
    link = httpx.URL(web.address)
    with httpx.Client(base_url=f"http://127.0.0.1:{link.port}") as stranger:
        for path in ("/", "/api/pairs", "/api/stream", "/static/favicon.svg", "/login?code=x"):
            assert stranger.get(path).status_code in (401, 403), path
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert stranger.get("/api/pairs", headers=bearer).status_code == 200
        assert stranger.get("/api/pairs", headers={"Authorization": "Bearer other"}).status_code == 401
        entered = stranger.get(link)
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        cookie = entered.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert TOKEN not in cookie
        assert stranger.get("/api/pairs").status_code == 200  # with the cookie
        stranger.cookies.clear()
        assert stranger.get(link).status_code == 403
        assert web.process.stderr is not None
        assert "/login?code=" in web.process.stderr.readline()
    web.end()


def test_its_session_has_the_rights_of_the_reader(settings: Settings) -> None:
    delete = b"SET TRANSACTION READ WRITE; DELETE FROM alerts"
    with (
        connect_reader(settings, statement_timeout_s=5) as own,
        pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
    ):
        own.execute("DELETE FROM alerts")
    with psycopg.connect(settings.postgres()) as admin:
        create_roles(admin)
    with connect_reader(settings, statement_timeout_s=5) as reader:
        assert reader.execute("SELECT current_user").fetchone() == (READER,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute(delete)


def test_postgresql_is_restarted_under_it(open_folder: Path, cli_with: Any) -> None:
    server = PostgresServer(open_folder / f"w{uuid.uuid4().hex[:6]}")
    try:
        server.up(lambda _text: None)
        uri = conninfo.make_conninfo(server.address)
        with psycopg.connect(uri) as connection:
            migrate(connection)
            connection.execute(
                "INSERT INTO session_extremes (consumer_group, venue, pair, session, highest_bid, "
                "highest_bid_at, lowest_ask, lowest_ask_at, max_spread, max_spread_at, last_bid, last_ask, "
                "last_at, first_at, ticks, late) VALUES ('g1', 'coinbase', 'BTC-USD', 's', 1, now(), 2, "
                "now(), 1, now(), 1, 2, now(), now(), 1, 0)"
            )
        port = free_port()
        cli = cli_with({"DATABASE_URL": uri, "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}"})
        web = Web(cli)
        with web.stream() as found:
            next_of(found, "snapshot")
            server.down()
            assert next(
                data["database"] for _, name, data in found if name == "beat" and data["database"] != "ok"
            ).startswith("lost since 20")
            answer = web.client.get("/api/pairs")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.headers["content-type"] == "application/problem+json"
            assert web.get("/healthz", 503)["status"] == 503
            server.up(lambda _text: None)
            begun = time.monotonic()
            next(data for _, name, data in found if name == "beat" and data["database"] == "ok")
            assert time.monotonic() - begun < LOST_S
        assert web.get("/api/pairs")["pairs"][0]["bid"] == "1"
        web.end()
        server.down()
        waited = cli("web", "--port", "0", code=3, env={"CRYPTOMETRICS_WAIT": "1"})
        assert "PostgreSQL" in waited.stderr.splitlines()[-1]
    finally:
        server.down()
        server.purge()


def test_no_request_is_a_bug_of_the_server(web: Web) -> None:
    """Requests made from the API's own description: each answer is as described, and none is a 5xx."""
    schema = schemathesis.openapi.from_url(f"{web.address}api/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) > 10
    for operation in operations:
        if operation.path != "/api/stream":  # it has no end
            send_requests(web, operation, FUZZ_S / len(operations))
    assert web.get("/healthz")["database"] == "ok"


def send_requests(web: Web, operation: schemathesis.APIOperation[Any, Any, Any, Any], seconds: float) -> None:
    """Send requests of one operation, and check each answer."""
    is_over, token = deadline(seconds), web.token

    @hypothesis.settings(
        max_examples=max(25, int(200 * seconds)),
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy())
    def check(case: schemathesis.Case[Any]) -> None:
        if not is_over():
            case.validate_response(case.call(headers=token), checks=CHECKS)

    check()
