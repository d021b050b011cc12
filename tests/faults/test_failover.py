"""A standby of PostgreSQL that is promoted under load, and the old primary that comes back."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from cryptometrics.config import Secret
from cryptometrics.store.migrate import migrate
from tests.fakes.receiver import Receiver
from tests.faults.arena import SEED, cut_workers
from tests.faults.ledger import Market
from tests.faults.standby import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptometrics.config import Settings
    from tests.faults.arena import Arena
    from tests.postgres_server import PostgresProcess

RATE = 2_000
OFFSETS = "SELECT kafka_partition, next_offset FROM consumer_offsets"
BOOKS = "SELECT * FROM consumer_offsets ORDER BY kafka_partition"
RISK = "SELECT max(complete_until) FROM risk_progress"
WAITING = "SELECT count(*) FROM alert_notifications WHERE delivered_at IS NULL"
SPREADS = """
[[rule]]
name = "any-spread"
kind = "spread_bps"
level = 0.001
cooldown = "10m"
"""
"""Fires for each pair about every ten minutes of its ticks."""


@pytest.fixture
def pair(open_folder: Path) -> Iterator[Pair]:
    with Pair(open_folder, f"pair-{uuid.uuid4().hex[:8]}") as pair:
        yield pair


@pytest.fixture
def settings(settings: Settings, pair: Pair) -> Settings:
    """Return the settings of the two servers' database, with the schema, and of a topic."""
    with psycopg.connect(pair.uri) as connection:
        migrate(connection)
    return replace(settings, database_url=Secret(pair.uri))


def offsets(server: PostgresProcess) -> dict[int, int]:
    return dict(server.execute(OFFSETS))


def fail_over(arena: Arena, pair: Pair, *, synchronous: bool) -> int:
    """Let the primary fail and promote its standby; return how many offsets the standby lacks."""
    pair.attach(synchronous=synchronous)
    arena.wait_for_progress(RATE)
    if not synchronous:
        before = arena.stored()
        pair.hold_back()
        arena.wait_for("the standby falls behind", lambda: arena.stored() > before + 2 * RATE)
    stored = arena.next_offsets()
    pair.primary.kill()
    ends = arena.load.ledger.ends()
    if synchronous:
        arena.wait_for(
            "every commit on the standby",
            lambda: all(kept >= stored[partition] for partition, kept in offsets(pair.standby).items()),
        )
    lost = sum(stored.values()) - sum(offsets(pair.standby).values())
    pair.promote()
    arena.primary = pair.primary.uri()
    arena.all_partitions_pass(ends)
    return lost


@pytest.mark.parametrize("kind", ["synchronous", "asynchronous"])
def test_a_standby_is_promoted_under_load(arena: Arena, pair: Pair, kind: str) -> None:
    """From the second time on, the old primary is the standby, and still the first host of the list."""
    times = arena.times(2, 5)
    arena.load.start(RATE)
    worker = arena.worker()
    arena.wait_for_progress()
    lost = [fail_over(arena, pair, synchronous=kind == "synchronous") for _ in range(times)]
    assert worker.events("starting_over")
    if kind == "synchronous":
        assert max(lost) <= 0
        note = "the old primary comes back as the standby"
    else:
        assert min(lost) > RATE, "the standby had everything"
        note = f"{sum(lost):,} offsets that the standby lacked, stored again"
    arena.finish(f"failover to {'a' if kind[0] == 's' else 'an'} {kind} standby", times, note=note)


def test_the_old_primary_comes_back_and_accepts_writes(arena: Arena, pair: Pair) -> None:
    """It is the first host of the list, so libpq would choose it for each new session."""
    times = arena.times(2, 5)
    arena.load.start(RATE)
    worker = arena.worker()
    arena.wait_for_progress()
    fail_over(arena, pair, synchronous=False)
    old = pair.standby
    old.start()
    assert old.execute("SELECT pg_is_in_recovery()") == [(False,)]
    before = old.execute(BOOKS)
    for _ in range(times):
        cut_workers(arena.books())
        arena.all_partitions_pass(arena.load.ledger.ends())
    later = arena.worker()
    arena.share(worker, later)
    assert later.events("former_primary")[0]["server"] == old.place
    arena.all_partitions_pass(arena.load.ledger.ends())
    assert old.execute(BOOKS) == before
    arena.finish("the old primary comes back, first in the list", times, note="and accepts writes")


def test_only_the_old_primary_answers(arena: Arena, pair: Pair) -> None:
    """A worker that knows of a later primary stores nothing in an earlier one, and says why."""
    arena.load.start(RATE)
    worker = arena.worker()
    arena.wait_for_progress()
    fail_over(arena, pair, synchronous=False)
    old = pair.standby
    pair.primary.stop()
    old.start()
    before = old.execute(BOOKS)
    arena.wait_for(
        "the reason",
        lambda: any("a former primary" in event["error"] for event in worker.events("service_unavailable")),
    )
    pair.primary.start()
    arena.all_partitions_pass(arena.load.ledger.ends())
    assert old.execute(BOOKS) == before
    arena.finish("only the old primary answers for a while", 1)


def test_risk_alerts_and_the_page_go_on_with_the_new_primary(arena: Arena, pair: Pair) -> None:
    times = arena.times(1, 5)
    rules = arena.folder / "rules.toml"
    rules.write_text(SPREADS)
    step = timedelta(milliseconds=50)  # at this rate, minutes pass in less than a second
    arena.begin(Market(SEED, datetime.now(UTC) - timedelta(days=1), step))
    with Receiver() as receiver:
        arena.load.start(RATE)
        arena.environment["CRYPTOMETRICS_WEBHOOK_URL"] = receiver.url
        arena.worker("--alerts", str(rules))
        arena.wait_for_progress()
        risk = arena.command("risk", "--follow", "--group", arena.group)
        web = arena.command("web", "--port", "0", "--group", arena.group)
        arena.wait_for("the page's address", lambda: re.search(r"^http.*$", web.words(), re.MULTILINE))
        address = re.findall(r"^http.*$", web.words(), re.MULTILINE)[0]
        arena.wait_for("the first figures", lambda: arena.ask(RISK)[0][0])
        arena.wait_for("the first alert", lambda: receiver.posts)
        for _ in range(times):
            place = arena.ask(RISK)[0][0]
            fail_over(arena, pair, synchronous=False)
            wait_for_readers(arena, place, receiver, address)
        arena.load.end()
        arena.wait_for("caught up", arena.caught_up)
        arena.wait_for("all alerts delivered", lambda: arena.ask(WAITING) == [(0,)])
        assert risk.stop() == web.stop() == 0
        keys = {str(key) for (key,) in arena.ask("SELECT idempotency_key FROM alert_notifications")}
        assert keys <= {post.key for post in receiver.posts}
        arena.finish("failover with risk, alerts and the page", times, note="which go on")


def wait_for_readers(arena: Arena, place: datetime, receiver: Receiver, address: str) -> None:
    """Wait until figures, alerts and the page have come further than the old primary."""
    ends, posts = arena.next_offsets(), len(receiver.posts)
    arena.wait_for("later figures", lambda: arena.ask(RISK)[0][0] > place)
    arena.wait_for("later alerts", lambda: len(receiver.posts) > posts)
    arena.wait_for("the live page", lambda: is_current(address))
    arena.wait_for("later offsets on the page", lambda: shows(address, ends))


def is_current(address: str) -> bool:
    """Return whether the page has read the database within the last seconds."""
    try:
        return bool(get(f"{address}healthz")["ok"])
    except urllib.error.HTTPError:
        return False


def shows(address: str, ends: dict[int, int]) -> bool:
    """Return whether a request that reads the database shows offsets beyond these."""
    try:
        partitions = get(f"{address}api/pipeline")["partitions"]
    except urllib.error.HTTPError:
        return False
    return all(each["next_offset"] > ends[each["partition"]] for each in partitions)


def get(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=10) as answer:
        return json.load(answer)
