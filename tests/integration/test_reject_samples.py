"""Counts and samples of rejected messages: a poisoned topic can leave any number of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cryptometrics.store import reject_samples as module
from cryptometrics.store.reject_samples import reject_samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

MAX_COUNT = 500
"""A small limit, so that a small table exceeds it."""
FLOOD = 50_000

_FILL = """
INSERT INTO rejected_ticks (consumer_group, topic, kafka_partition, kafka_offset, reason, detail, value)
SELECT %(group)s, 't', 0, n, %(reason)s, %(reason)s || ' ' || n, decode(repeat('41', n %% 50), 'hex')
FROM generate_series(%(first)s::int, %(last)s::int) AS n
"""


def fill(connection: psycopg.Connection, group: str, reason: str, first: int, last: int) -> None:
    connection.execute(_FILL, {"group": group, "reason": reason, "first": first, "last": last})


@pytest.fixture
def flooded(connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> psycopg.Connection:
    """Return a database with a rare reason, then a flood of another one, and a flood of another group."""
    monkeypatch.setattr(module, "MAX_COUNT", MAX_COUNT)
    fill(connection, "g", "rare", 1, 2)
    fill(connection, "other", "elsewhere", 1, FLOOD)
    fill(connection, "g", "frequent", 3, FLOOD)
    fill(connection, "g", "exactly", FLOOD + 1, FLOOD + MAX_COUNT)
    fill(connection, "g", "also", FLOOD + MAX_COUNT + 1, FLOOD + MAX_COUNT + 49)
    connection.execute("ANALYZE rejected_ticks")
    return connection


def test_each_reason_has_its_count_and_its_newest_message(flooded: psycopg.Connection) -> None:
    found = reject_samples(flooded, "g", 10)
    assert [(each.reason, each.count, each.more) for each in found] == [
        ("frequent", MAX_COUNT, True),
        ("exactly", MAX_COUNT, False),
        ("also", 49, False),
        ("rare", 2, False),
    ]
    newest = {each.reason: each for each in found}
    assert newest["frequent"].detail == f"frequent {FLOOD}"
    assert newest["rare"].detail == "rare 2"
    assert (newest["rare"].size, newest["rare"].beginning) == (2, b"AA")
    last = FLOOD + MAX_COUNT + 49
    assert (newest["also"].size, newest["also"].beginning) == (last % 50, b"A" * min(10, last % 50))
    assert reject_samples(flooded, "nobody", 10) == []
    assert flooded.execute("SHOW enable_sort").fetchone() == ("on",)


def test_it_reads_no_more_than_it_counts(flooded: psycopg.Connection) -> None:
    values = {"group": "g", "limit": 10, "max_count": MAX_COUNT}
    query = f"EXPLAIN (ANALYZE, FORMAT JSON) {module._SAMPLES}"
    with flooded.transaction():
        flooded.execute(module._IN_ORDER_OF_THE_INDEX)
        [[[explained]]] = flooded.execute(query.encode(), values).fetchall()
    for scan in scans(explained["Plan"]):
        read = scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)
        assert read <= MAX_COUNT + 1, scan


def scans(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the nodes of a plan that read a table."""
    if "Relation Name" in node:
        yield node
    for child in node.get("Plans", []):
        yield from scans(child)
