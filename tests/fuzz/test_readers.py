"""Fuzz every reader of outside data: settings, files and frames are accepted or refused with a message.

READERS lists all of them; a new reader must be added there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import itertools
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryptometrics import config
from cryptometrics.alerts.toml_lines import RulesError
from cryptometrics.cli import rule_file
from cryptometrics.config.fields import variable_of
from cryptometrics.errors import UserError
from cryptometrics.feeds.coinbase.advanced.feed import AdvancedFeed
from cryptometrics.feeds.coinbase.exchange.feed import ExchangeFeed
from cryptometrics.feeds.recording import Recording
from cryptometrics.kafka.client import client_conf
from cryptometrics.market.tick_decoder import RejectedError, decode
from cryptometrics.store.connection_options import checked, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptometrics.feeds.coinbase.feed import CoinbaseFeed

EXAMPLES = 100 * max(1, int(float(os.environ.get("FUZZ_SECONDS", "3")) / 3))
VARIABLES = [variable_of(field) for field in dataclasses.fields(config.Settings)]
texts = st.one_of(
    st.text(st.characters(blacklist_characters="\x00", blacklist_categories=["Cs"]), max_size=200),
    st.sampled_from(
        ["postgresql://a:b@c:1/d", "host=a", "-1", "1e999", "/nowhere", "%00", "\x1b[2J", "9" * 400]
    ),
)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def use() -> None:
    """Do with the configuration what commands do with it, short of connecting."""
    config.load.cache_clear()
    loaded = config.load()
    conf = client_conf(loaded)
    assert all(isinstance(value, str) for name, value in conf.items() if "." in name)
    uri = checked(loaded.postgres())
    assert isinstance(place(uri), str)


def refuses_in_one_line(attempt: Callable[[], None]) -> None:
    """Pass success and user errors; anything else is a crash."""
    said = "taken"
    try:
        attempt()
    except UserError as error:
        said = str(error)
    assert 0 < len(said) < 2000


few = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@few
@given(st.dictionaries(st.sampled_from(VARIABLES), texts, max_size=6))
def test_variables(folder: Path, variables: dict[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        refuses_in_one_line(use)


def _env_file(content: bytes) -> None:
    Path(".env").write_bytes(content)
    try:
        use()
    finally:
        Path(".env").unlink()


def _secret_file(content: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file, pytest.MonkeyPatch.context() as patch:
        file.write(content)
        file.flush()
        patch.setenv("DATABASE_URL_FILE", file.name)
        use()


def _endpoints(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYPTOMETRICS_HOME", home)
        Path(home, "endpoints.json").write_bytes(content)
        use()


def _alert_rules(content: bytes) -> None:
    Path("alerts.toml").write_bytes(content)
    try:
        rule_file.read(Path("alerts.toml"))
    except RulesError as error:
        raise UserError(str(error.problems[0])) from None


def _recording(content: bytes) -> None:
    Path("recording").write_bytes(content)
    feed = ExchangeFeed(None, book=True)
    for at, frame, *_ in Recording([Path("recording")]).lines():
        if isinstance(frame, bytes):
            _take(feed, frame, at)


def _frames(content: bytes) -> None:
    """Whatever comes, nothing is raised, and what goes on the topic is a tick, a gap, or rejected."""
    for kind, book in itertools.product((ExchangeFeed, AdvancedFeed), (False, True)):
        feed = kind(["BTC-USD"], book=book)
        for number, frame in enumerate([content, *content.split(b"\n"), content]):
            _take(feed, frame, 1_782_907_200.0 + number)


def _take(feed: CoinbaseFeed, frame: bytes, at: float) -> None:
    for key, value in feed.take(frame, at):
        with contextlib.suppress(RejectedError):
            decode(key, value, datetime.now(UTC))


READERS: dict[str, Callable[[bytes], None]] = {
    ".env": _env_file,
    "a secret's file": _secret_file,
    "endpoints.json": _endpoints,
    "alert rules": _alert_rules,
    "a recording": _recording,
    "a packed recording": lambda content: _recording(gzip.compress(content[:-1]) + content[-1:]),
    "frames of a WebSocket": _frames,
}
"""Each reads bytes from outside: it takes them or raises UserError, and nothing else."""
SEEDS = [
    b"DB_HOST=h\nDB_PASSWORD='x y'\nexport KAFKA_TOPIC=${HOME}\n# note\nKAFKA_CONF_CLIENT_ID=a\n",
    b"postgresql://user:password@host:5432/database?sslmode=verify-full",
    b'{"kafka": {"bootstrap_servers": "127.0.0.1:1"}, "postgres": {"uri": "postgresql:///x"}}',
    b"",
    b"\x00",
    b"\xff\xfe",
    b"${A:-${B}}",
    (
        b'{"type":"snapshot","product_id":"BTC-USD","bids":[["1.10","2"]],"asks":[["1.20","3"]]}\n'
        b'{"type":"l2update","product_id":"BTC-USD","time":"2026-07-01T12:00:00.000000Z",'
        b'"changes":[["buy","1.11","1"],["sell","1.20","0"]]}\n'
        b'{"type":"ticker","product_id":"BTC-USD","sequence":1,"best_bid":"1.1","best_ask":"1.2",'
        b'"time":"2026-07-01T12:00:00.000000Z","trade_id":7}\n'
        b'{"type":"match","product_id":"BTC-USD","trade_id":9,"time":"2026-07-01T12:00:00.1Z"}\n'
        b'{"type":"heartbeat","product_id":"BTC-USD","last_trade_id":12,"time":"2026-07-01T12:00:01Z"}\n'
        b'{"type":"subscriptions","channels":[{"name":"ticker","product_ids":["BTC-USD"]}]}\n'
        b'{"type":"error","message":"Failed to subscribe","reason":"X-USD is not a valid product"}'
    ),
    (
        b'{"rx":1782907200.5,"frame":{"type":"ticker","product_id":"BTC-USD","best_bid":"1","best_ask":"2",'
        b'"time":"2026-07-01T12:00:00.000000Z","trade_id":7}}\n{"rx":1782907201,"lost":"down","pairs":["A-B"]}\n'
    ),
    (
        b'[[rule]]\nname = "wide"\nkind = "spread_bps"\npairs = ["*-USD"]\nabove = 25\nfor = "10s"\n'
        b'resolve_below = 15.5\ncooldown = "5m"\nseverity = "critical"\n'
    ),
    b"A" * 100_000,
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return a seed in which pieces are replaced, or any bytes."""
    raw = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(raw)))
        raw[at : at + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    return bytes(raw)


@pytest.mark.parametrize("reader", READERS)
@few
@given(content=mutated())
def test_files(folder: Path, reader: str, content: bytes) -> None:
    refuses_in_one_line(lambda: READERS[reader](content))


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    config.load.cache_clear()
