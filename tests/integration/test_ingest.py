"""The live feed from a fake exchange that fails, through Kafka into PostgreSQL, against its ledger.

With INGEST=full the long test runs for a minute instead of some seconds.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import itertools
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.sync.server import serve

from cryptometrics.feeds.recording import Recording
from tests.conftest import free_port
from tests.database import rows, scalar
from tests.fakes.coinbase import FakeCoinbase, Faults
from tests.waiting import LIMIT_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cryptometrics.config import Settings
    from cryptometrics.local.services import Services
    from tests.conftest import Cli
    from tests.fakes.market import Account

LONG = os.environ.get("INGEST") == "full"
PAIRS = ("BTC-USD", "ETH-USD", "SOL-USD")
OF_PAIRS = tuple(itertools.chain.from_iterable(("--pair", pair) for pair in PAIRS))


class Feed:
    """A running `ingest` or `record`, its log kept."""

    def __init__(self, cli: Cli, *arguments: str | Path, env: dict[str, str] | None = None) -> None:
        self._log = cli.cwd / f"feed-{time.monotonic_ns()}.log"
        with self._log.open("wb") as log:
            self.process = cli.start(*arguments, "--json", stderr=log, env=env)

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = self._log.read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in found if event["event"] == name]

    def stderr(self) -> str:
        return self._log.read_text()

    def end(self, code: int = 0) -> dict[str, Any]:
        """End it as Ctrl-C does and return its report."""
        self.process.send_signal(signal.SIGINT)
        return self.result(code)

    def result(self, code: int = 0) -> dict[str, Any]:
        out, _ = self.process.communicate(timeout=LIMIT_S)
        assert self.process.returncode == code, self.stderr()
        report: dict[str, Any] = json.loads(out) if out else {}
        return report


def started(feed: Feed, pairs: int = len(PAIRS)) -> None:
    wait_until(lambda: len(feed.events("feed_started")) >= pairs, "each pair has started")


def missed_by_gaps(gaps: list[dict[str, Any]], pair: str) -> list[int]:
    """Return every trade that gaps say is missed, as often as they say it."""
    return [
        trade
        for gap in gaps
        if gap["pair"] == pair and gap["trades_missed"]
        for trade in range(gap["first_trade_id"], gap["last_trade_id"] + 1)
    ]


def hear_the_last(server: FakeCoinbase) -> None:
    """Wait until the last trade of each product has arrived."""
    products = server.products.values()
    wait_until(lambda: all(p.trade_id in p.account.heard for p in products), "the last trades are sent")
    server.act("flush")


def without_repetitions(quotes: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [quote for quote, _ in itertools.groupby(quotes)]


def check_rows(settings: Settings, pair: str, account: Account) -> None:
    """Compare the rows of a pair, and its session, with the tickers that were sent."""
    expected: list[tuple[Any, ...]] = []
    seen: set[int] = set()
    for ticker in account.tickers:
        if ticker["trade_id"] not in seen:
            seen.add(ticker["trade_id"])
            bid, ask = Decimal(ticker["best_bid"]), Decimal(ticker["best_ask"])
            last = expected[-1] if expected else (0, bid, ask, bid, ask, ask - bid)
            extremes = max(last[3], bid), min(last[4], ask), max(last[5], ask - bid)
            expected.append((ticker["trade_id"], bid, ask, *extremes))
    stored = rows(
        settings,
        "SELECT trade_id, bid, ask, highest_bid, lowest_ask, max_spread FROM crypto_metrics WHERE pair = %s "
        "ORDER BY kafka_offset",
        pair,
    )
    assert stored == expected


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_cut_dropped_and_duplicated_it_equals_the_ledger(settings: Settings, cli: Cli) -> None:
    cli("init-db", "--partitions", "3")
    trades, rate = (60_000, 1000) if LONG else (6_000, 900)
    every = trades // 10
    faults = itertools.cycle(("cut", "close going away", "frame {garbage", "cut", "frame [1,2]", "deep"))
    script = list(zip(range(every, trades - every, every), faults, strict=False))
    script.append((trades // 2 + 7, "huge"))
    server = FakeCoinbase(
        PAIRS,
        rate=rate,
        trades=trades,
        faults=Faults(drop=0.01, duplicate=0.02, reorder=0.02, cascade=0.05, unknown=0.01),
        script=sorted(script),
    )
    with server:
        feed = Feed(cli, "ingest", *OF_PAIRS, "--url", server.url)
        process = cli.start("process", "--group", "g1", stderr=subprocess.DEVNULL)
        assert server.done.wait(180)
        hear_the_last(server)
        report = feed.end()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT_S)
    cli("process", "--group", "g1", "--until-caught-up")
    accounts = {name: product.account for name, product in server.products.items()}
    # Gaps alone report what was cut off and dropped: all of it, once.
    stored_gaps = json.loads(cli("gaps", "--json").stdout)
    of_pair = {each["pair"]: each for each in stored_gaps["pairs"]}
    for pair, account in accounts.items():
        assert len(account.missed()) > 20
        for gaps in (report["gaps"], stored_gaps["gaps"]):
            assert sorted(missed_by_gaps(gaps, pair)) == sorted(account.missed())
        assert of_pair[pair]["trades_missed"] == len(account.missed())
        check_rows(settings, pair, account)
    for numbers in report["pairs"]:
        account = accounts[numbers["pair"]]
        ids = Counter(ticker["trade_id"] for ticker in account.tickers)
        assert numbers["ticks"] == len(account.tickers)
        assert numbers["duplicates"] == len(account.tickers) - len(ids)
        assert numbers["late"] > 0
        assert of_pair[numbers["pair"]]["reconnects"] == numbers["reconnects"] > 1
    assert report["passed_over"]["malformed"] >= 2
    assert report["passed_over"]["unknown type"] > 10
    assert report["sent"] == report["acknowledged"]
    books = rows(settings, "SELECT sum(metrics), sum(gaps), sum(duplicates) FROM consumer_offsets")[0]
    assert books[1] == len(report["gaps"]) == len(stored_gaps["gaps"])
    assert books[2] == sum(each["duplicates"] for each in report["pairs"])
    cli("verify", "--topic")


def test_a_start_tells_what_was_missed_since_the_last_one(settings: Settings, cli: Cli) -> None:
    cli("init-db", "--partitions", "2")
    with FakeCoinbase(PAIRS, rate=400) as server:
        first = Feed(cli, "ingest", *OF_PAIRS, "--url", server.url)
        process = cli.start("process", "--group", "g1", stderr=subprocess.DEVNULL)
        counts = "SELECT count(*) FROM crypto_metrics GROUP BY pair HAVING count(*) > 50"
        wait_until(lambda: len(rows(settings, counts)) == len(PAIRS), "each pair has rows")
        first.process.kill()
        first.process.wait()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT_S)
        cli("process", "--group", "g1", "--until-caught-up")
        made = server.made
        wait_until(lambda: server.made > made + 300, "some trades go by unheard")
        second = Feed(cli, "ingest", *OF_PAIRS, "--url", server.url)
        started(second)
        made = server.made
        wait_until(lambda: server.made > made + 200, "there are more trades")
        second.end()
    cli("process", "--group", "g1", "--until-caught-up")
    cli("process", "--group", "later", "--until-caught-up")  # in one batch what took g1 two
    ids_of = "SELECT trade_id FROM crypto_metrics WHERE (consumer_group, pair) = (%s, %s)"
    for group in ("g1", "later"):
        gaps = json.loads(cli("gaps", "--group", group, "--json").stdout)["gaps"]
        for pair in PAIRS:
            starts = [gap for gap in gaps if gap["pair"] == pair and gap["kind"] == "start"]
            assert [bool(start["trades_missed"]) for start in starts] == [False, True]
            ids = rows(
                settings, ids_of, group, pair
            )  # fmt: skip
            stored = sorted(trade for (trade,) in ids)
            # What is stored and what is missed are all trades there were, each once.
            assert sorted(stored + missed_by_gaps(gaps, pair)) == list(range(stored[0], stored[-1] + 1))
    cli("verify", "--topic")
    text = cli("gaps", "--group", "g1", "--pair", "BTC-USD").stdout
    assert text.splitlines()[0].split() == [
        *("venue", "pair", "covered_s", "ticks", "gaps", "trades_missed", "longest_gap_s", "reconnects")
    ]  # fmt: skip
    assert "ETH-USD" not in text
    rows(settings, "UPDATE feed_gaps SET trades_missed = trades_missed + 1 WHERE kind = 'start'")
    assert "gap" in cli("verify", code=1).stdout


def test_the_order_book_gives_a_quote_at_each_change(settings: Settings, cli: Cli) -> None:
    cli("init-db", "--partitions", "2")
    with FakeCoinbase(PAIRS, rate=300, trades=1500, script=[(500, "cut")]) as server:
        feed = Feed(cli, "ingest", *OF_PAIRS, "--book", "--url", server.url)
        assert server.done.wait(LIMIT_S)
        hear_the_last(server)
        report = feed.end()
    assert {channel for request in server.subscriptions for channel in request["channels"]} == {
        *("matches", "level2_batch", "heartbeat")
    }  # fmt: skip
    cli("process", "--group", "g1", "--until-caught-up")
    for pair, product in server.products.items():
        changes = without_repetitions(product.account.quotes)
        stored = rows(
            settings,
            "SELECT (bid * 100)::int, (ask * 100)::int FROM crypto_metrics "
            "WHERE pair = %s AND kind = 'quote' ORDER BY kafka_offset",
            pair,
        )
        # A new snapshot gives a quote even if it equals the last one.
        assert without_repetitions(stored) == changes
        assert sorted(missed_by_gaps(report["gaps"], pair)) == sorted(product.account.missed())
    cli("verify", "--topic")


def test_a_book_that_is_lost_is_asked_for_again(settings: Settings, cli: Cli, tmp_path: Path) -> None:
    bad = json.dumps({"type": "snapshot", "product_id": PAIRS[0], "bids": [["a", "b"]]})
    # The last pair's book cannot be had: after one more attempt the others are left in peace.
    with FakeCoinbase(PAIRS, rate=300, bad_books=PAIRS[2:]) as server:
        feed = Feed(cli, "record", tmp_path / "r.jsonl.gz", *OF_PAIRS, "--book", "--url", server.url)
        wait_until(lambda: len(server.subscriptions) == 2, "the bad book is asked for again")
        made = server.made
        wait_until(lambda: server.made > made + 900, "there are trades")
        assert len(server.subscriptions) == 2
        server.act(f"frame {bad}")
        wait_until(lambda: len(server.subscriptions) == 3, "the lost book is asked for again")
        made = server.made
        wait_until(lambda: server.made > made + 600, "there are trades again")
        assert len(server.subscriptions) == 3
        report = feed.end()
    assert [event["pairs"] for event in feed.events("books_lost")] == [[PAIRS[2]], [PAIRS[0]]]
    heard: dict[str, set[int]] = {pair: set() for pair in PAIRS}
    snapshots = Counter[str]()
    for _, frame, *_ in Recording([tmp_path / "r.jsonl.gz"]).lines():
        found: dict[str, Any] = json.loads(frame) if isinstance(frame, bytes) else {"type": "lost"}
        if found["type"] in {"match", "last_match"}:
            heard[found["product_id"]].add(found["trade_id"])
        elif found["type"] == "snapshot":
            snapshots[found["product_id"]] += 1
    assert snapshots == {PAIRS[0]: 4, PAIRS[1]: 3, PAIRS[2]: 3}
    assert {gap["kind"] for gap in report["gaps"]} <= {"start", "down", "missed", "unreadable", "end"}
    unreadable = [gap["pair"] for gap in report["gaps"] if gap["kind"] == "unreadable"]
    assert set(unreadable) == {PAIRS[0], PAIRS[2]}
    for pair, ids in heard.items():
        # On a slow machine, the first connection may end before the first trade: then only a gap has it.
        told = sorted([*ids, *missed_by_gaps(report["gaps"], pair)])
        assert told == list(range(told[0], max(ids) + 1))
    assert all(numbers["reconnects"] == 2 for numbers in report["pairs"])


QUOTES_AFTER = """
SELECT count(*) FROM crypto_metrics m JOIN feed_gaps g USING (kafka_partition, pair)
WHERE g.kind = 'unreadable' AND m.kind = 'quote' AND m.kafka_offset > g.kafka_offset
"""
QUOTES_WITHIN = """
SELECT count(*) FROM crypto_metrics m JOIN feed_gaps g USING (pair)
WHERE g.kind = 'unreadable' AND m.kind = 'quote' AND m.timestamp > g.begins_at AND m.timestamp < g.ends_at
"""


def test_an_unreadable_update_of_a_live_book_is_a_gap_before_the_next_quotes(
    settings: Settings, cli: Cli
) -> None:
    cli("init-db", "--partitions", "2")
    bad = json.dumps({"type": "l2update", "product_id": PAIRS[0], "changes": [["buy", "a lot", "1"]]})
    with FakeCoinbase(PAIRS, rate=300) as server:
        feed = Feed(cli, "ingest", *OF_PAIRS, "--book", "--url", server.url)
        worker = cli.start("process", "--group", "g1", stderr=subprocess.DEVNULL)
        counts = "SELECT pair FROM crypto_metrics WHERE kind = 'quote' GROUP BY pair HAVING count(*) > 10"
        wait_until(lambda: len(rows(settings, counts)) == len(PAIRS), "each pair has quotes", running=worker)
        server.act(f"frame {bad}")
        wait_until(lambda: scalar(settings, QUOTES_AFTER) > 10, "its quotes go on", running=worker)
        report = feed.end()
        worker.send_signal(signal.SIGINT)
        worker.communicate(timeout=LIMIT_S)
    cli("process", "--group", "g1", "--until-caught-up")
    assert scalar(settings, QUOTES_WITHIN) == 0
    assert [event["pairs"] for event in feed.events("books_lost")] == [[PAIRS[0]]]
    assert len(server.subscriptions) == 2, "the connection was made anew"
    unreadable = rows(settings, "SELECT pair FROM feed_gaps WHERE kind = 'unreadable'")
    assert unreadable == [(PAIRS[0],)]
    assert {gap["pair"] for gap in report["gaps"] if gap["kind"] == "down"} == set(PAIRS)
    assert report["passed_over"]["malformed"] == 1
    cli("verify", "--topic")


@pytest.mark.timeout(180)
def test_silence_and_a_half_open_socket_count_as_down(settings: Settings, cli: Cli, tmp_path: Path) -> None:
    with FakeCoinbase(PAIRS, rate=100, script=[(100, "half-open")]) as server:
        feed = Feed(cli, "record", tmp_path / "r.jsonl.gz", *OF_PAIRS, "--url", server.url)
        wait_until(lambda: bool(feed.events("feed_gap")), "it is noticed")
        report = feed.end()
    gaps = [gap for gap in report["gaps"] if gap["kind"] not in {"start", "end"}]
    assert {gap["kind"] for gap in gaps} == {"silence"}
    assert {gap["pair"] for gap in gaps} == set(PAIRS)
    for numbers in report["pairs"]:
        assert numbers["longest_silence_s"] > 14
        account = server.products[numbers["pair"]].account
        assert set(missed_by_gaps(gaps, numbers["pair"])) == account.missed()


def test_kafka_away_for_longer_than_the_buffer_lasts_is_a_gap(
    settings: Settings, cli: Cli, services: Services
) -> None:
    cli("init-db", "--partitions", "1")
    kafka = services.status()["kafka"].pid
    assert kafka is not None
    with FakeCoinbase(PAIRS, rate=400) as server:
        feed = Feed(
            cli,
            "ingest",
            *OF_PAIRS,
            "--url",
            server.url,
            env={"KAFKA_CONF_QUEUE_BUFFERING_MAX_MESSAGES": "300"},
        )
        started(feed)
        os.kill(kafka, signal.SIGSTOP)
        try:
            wait_until(lambda: bool(feed.events("feed_lost")), "the reading stops")
            made = server.made
            wait_until(lambda: server.made > made + 100, "trades go by unheard")
        finally:
            os.kill(kafka, signal.SIGCONT)
        wait_until(lambda: len(feed.events("feed_gap")) >= len(PAIRS), "it goes on")
        made = server.made
        wait_until(lambda: server.made > made + 100, "there are trades again")
        report = feed.end()
    assert {gap["kind"] for gap in report["gaps"]} == {"start", "overflow", "end"}
    assert report["sent"] == report["acknowledged"]
    cli("process", "--group", "g1", "--until-caught-up")
    for pair in PAIRS:
        ids = rows(settings, "SELECT trade_id FROM crypto_metrics WHERE pair = %s", pair)
        stored, missed = sorted(trade for (trade,) in ids), missed_by_gaps(report["gaps"], pair)
        assert len(missed) > 10
        assert sorted(stored + missed) == list(range(stored[0], stored[-1] + 1))
    cli("verify", "--topic")


def authority(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Make a certificate for this machine; return the server's context and the file that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    today = dt.datetime.now(dt.UTC)
    names: list[x509.GeneralName] = [
        x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    ]  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    trusted, secret = folder / "ca.pem", folder / "key.pem"
    trusted.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trusted, secret)
    return context, trusted


def test_over_tls_what_is_recorded_is_replayed_to_the_same_messages(
    settings: Settings, cli: Cli, tmp_path: Path
) -> None:
    cli("init-db", "--partitions", "1")
    context, trusted = authority(tmp_path)
    script = [(200, "cut"), (300, "frame {"), (350, "zero-ticker BTC-USD")]
    with FakeCoinbase(PAIRS, trades=500, rate=300, tls=context, script=script) as server:
        untrusted = cli("ingest", "--url", server.url, code=2)
        assert "SSL_CERT_FILE" in untrusted.stderr.splitlines()[-1]
        feed = Feed(
            cli,
            "ingest",
            *OF_PAIRS,
            "--url",
            server.url,
            "--record",
            tmp_path / "r",
            env={"SSL_CERT_FILE": str(trusted)},
        )
        assert server.done.wait(LIMIT_S)
        hear_the_last(server)
        live = feed.end()
    assert live["passed_over"] == {"malformed": 1}
    replayed = json.loads(cli("replay", tmp_path / "r.gz", *OF_PAIRS, "--json").stdout)
    assert replayed["gaps"] == live["gaps"]
    assert (replayed["sent"], replayed["frames"]) == (live["sent"], live["frames"])
    for numbers in (*live["pairs"], *replayed["pairs"]):
        for name in ("covered_s", "longest_silence_s", "quote_age_s"):  # which go on to the moment of the end
            del numbers[name]
    assert replayed["pairs"] == live["pairs"]
    cli("process", "--group", "g1", "--until-caught-up")
    books = rows(settings, "SELECT metrics, rejected, gaps, duplicates FROM consumer_offsets")[0]
    ticks, gaps = sum(pair["ticks"] for pair in live["pairs"]), len(live["gaps"])
    # The second half is the first once more: nothing of it is stored again but what was no tick.
    assert (books[0] + books[1] + books[3], books[1], books[2]) == (2 * ticks, 2, 2 * gaps)
    assert books[3] >= ticks - 1
    assert rows(settings, "SELECT count(*) FROM feed_gaps WHERE kind = 'start' AND trades_missed <> 0") == [
        (0,)
    ]
    cli("verify", "--topic")


def test_what_cannot_be_had_ends_the_command_with_one_line(settings: Settings, cli: Cli) -> None:
    cli("init-db")
    with FakeCoinbase(("BTC-USD", "BTC-EUR", "ETH-USD")) as server:
        unknown = cli("ingest", "--pair", "BTC-USD", "--pair", "BTC-USX", "--url", server.url, code=2)
        line = unknown.stderr.splitlines()[-1]
        assert line.startswith("error: the exchange has no product BTC-USX")
        assert "BTC-USX is not a valid product" in line
        assert "the closest are BTC-USD" in line
    with FakeCoinbase(("ZZ-TOP",)) as server:
        refused = cli("record", "r.gz", "--url", server.url, code=2)
        assert "is not a valid product" in refused.stderr.splitlines()[-1]
    for bad in ("http://x", "wss://host:99999", "wss://[::1/", "wss://[::zz]/", "wss://a..b/", "wss://:80/"):
        for command in (("ingest",), ("record", "t.gz")):
            stderr = cli(*command, "--url", bad, code=2).stderr
            assert "not an address" in stderr.splitlines()[-1]
            assert "Traceback" not in stderr
    for proxy in ("socks5h://localhost:1", "http://localhost:99999", "http://u:pa/ss@a..b:1", "gopher://x:1"):
        stderr = cli(
            "record", "u.gz", "--url", "wss://example.org/", code=2, env={"https_proxy": proxy}
        ).stderr
        assert "https_proxy" in stderr.splitlines()[-1]
        assert "Traceback" not in stderr
        assert "pa/ss" not in stderr
    missing = cli("record", "no/such/folder/x.gz", "--url", server.url, code=2)
    assert "cannot record into" in missing.stderr


@contextlib.contextmanager
def exchange(how: str) -> Iterator[str]:
    """Yield the address of an exchange that refuses connections, does not answer them, or only ends them."""
    with contextlib.ExitStack() as stack:
        if how == "ends":
            server = stack.enter_context(serve(lambda connection: connection.close(), "127.0.0.1", 0))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            port = server.socket.getsockname()[1]
        elif how == "hangs":
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = listener.getsockname()[1]
        else:
            port = free_port()
        yield f"ws://127.0.0.1:{port}"


@pytest.mark.parametrize("how", ["refuses", "hangs", "ends"])
@pytest.mark.parametrize("command", ["ingest", "record"])
def test_a_feed_that_received_nothing_reports_that_and_fails(
    how: str, command: str, settings: Settings, cli: Cli, tmp_path: Path
) -> None:
    cli("init-db", "--partitions", "1")
    arguments = ("ingest",) if command == "ingest" else ("record", "r.gz")
    with exchange(how) as url:
        stopped = Feed(cli, *arguments, "--url", url)
        wait_until(lambda: "onnect" in stopped.stderr() or stopped.events("feed_lost"), "it has begun")
        stopped.end(code=3)
        errors = [stopped.stderr()]
        if how != "hangs":  # each attempt may take 10 s there
            errors.append(cli(*arguments, "--url", url, code=3, env={"CRYPTOMETRICS_WAIT": "0.5"}).stderr)
    for error in errors:
        last = error.splitlines()[-1]
        assert last.startswith(f"error: nothing was received: the exchange at {url} did not answer for "), (
            last
        )
        assert ("(" in last) == (how != "hangs"), last
        assert "recorded" not in error
        assert "Traceback" not in error
    assert not (tmp_path / "r.gz").exists()


def test_many_pairs_are_spread_and_requests_stay_below_the_limit(
    settings: Settings, cli: Cli, tmp_path: Path
) -> None:
    many = [f"A{number}-USD" for number in range(120)]
    options = itertools.chain.from_iterable(("--pair", pair) for pair in many)
    with FakeCoinbase(many, rate=500) as server:
        feed = Feed(cli, "record", tmp_path / "r.gz", *options, "--url", server.url)
        started(feed, len(many))
        assert server.clients() == 3
        server.act("cut")
        wait_until(lambda: server.clients() == 3, "all are back")
        server.act("error ErrSlowConsume")  # is shown, and is the exchange's to act upon
        wait_until(lambda: len(feed.events("feed_refused")) == 3, "it is shown")
        feed.end()
    assert sorted(pair for each in server.subscriptions[:3] for pair in each["product_ids"]) == sorted(many)
    times = sorted(server.requests)
    assert all(late - early > 0.9 for early, late in zip(times, times[9:], strict=False))
