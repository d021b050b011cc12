"""The label of each minute: rule by rule, and compared with a definition that looks at every record."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryptometrics.market.venues import Market, is_simulated
from cryptometrics.market.windows import MINUTE
from cryptometrics.store.labelled_minutes import NAMES, Label, count_labels, doubtful_spans, read_minutes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import psycopg

START = datetime(2026, 7, 1, 12, tzinfo=UTC)
BOUNDS = ("start", "end")


@dataclass(frozen=True)
class Record:
    """A gap record; times are seconds after START."""

    kind: str
    ends: float
    begins: float | None = None
    proves: bool | None = None


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


_MINUTE = """
INSERT INTO crypto_windows (consumer_group, name, venue, pair, window_start, window_end, ticks,
    open, high, low, close, highest_bid, lowest_ask, max_spread, late, spread_sum, spread_bps_sum,
    open_at, open_partition, open_offset, close_at, close_partition, close_offset,
    sized_ticks, bid_size_sum, ask_size_sum, trades, volume, notional, buy_volume)
SELECT 'g1', '1m', %(venue)s, %(pair)s, %(start)s, %(start)s + interval '1 minute', 1,
    10, 12, 9, 11, 10.5, 11.5, 1, 0, 1, 900, at, 0, 1, at, 0, 1, 1, 2, 3, 1, 4, 44, 4
FROM (SELECT %(start)s + interval '30 seconds') AS tick (at)
"""
_IMPORTED_MINUTE = """
INSERT INTO crypto_windows (consumer_group, name, venue, pair, window_start, window_end, ticks,
    open, high, low, close, late, volume, open_at, close_at, complete, origin)
VALUES ('g1', '1m', %(venue)s, %(pair)s, %(start)s, %(start)s + interval '1 minute', 0,
    10, 12, 9, 11, 0, 4, %(start)s, %(start)s + interval '59.999999 seconds', true, %(origin)s)
"""


def put_minutes(
    connection: psycopg.Connection,
    minutes: Iterable[int],
    *,
    pair: str = "A-USD",
    venue: str = "coinbase",
    origin: str | None = None,
) -> None:
    """Store minutes by their number after START, with a tick each, or imported ones."""
    for n in minutes:
        values = {"venue": venue, "pair": pair, "start": at(60 * n), "origin": origin}
        connection.execute(_IMPORTED_MINUTE if origin else _MINUTE, values)


def put_records(
    connection: psycopg.Connection, records: Sequence[Record], *, pair: str = "A-USD", venue: str = "coinbase"
) -> None:
    """Store gap records, in the order of the topic."""
    for each in records:
        connection.execute(
            """
            INSERT INTO feed_gaps (consumer_group, topic, kafka_partition, kafka_offset, venue, pair, kind,
                                   begins_at, ends_at, proves)
            SELECT 'g1', 't', 0, count(*), %s, %s, %s, %s, %s, %s FROM feed_gaps
            """,
            [
                venue, pair, each.kind, None if each.begins is None else at(each.begins), at(each.ends),
                each.proves,
            ],
        )  # fmt: skip


def complete(
    connection: psycopg.Connection, seconds: float, *, partition: int = 0, venue: str = "coinbase"
) -> None:
    """Move the watermark of a partition."""
    connection.execute(
        """
        INSERT INTO window_progress (consumer_group, topic, kafka_partition, venue, complete_until)
        VALUES ('g1', 't', %s, %s, %s)
        ON CONFLICT (consumer_group, topic, kafka_partition, venue) DO UPDATE
        SET complete_until = excluded.complete_until
        """,
        [partition, venue, at(seconds)],
    )


def hear(
    connection: psycopg.Connection, seconds: float, *, pair: str = "A-USD", venue: str = "coinbase"
) -> None:
    """Store the time of the pair's newest tick."""
    connection.execute(
        """
        INSERT INTO pair_state (consumer_group, venue, pair, bid, ask, timestamp)
        VALUES ('g1', %s, %s, 1, 2, %s)
        ON CONFLICT (consumer_group, venue, pair) DO UPDATE SET timestamp = excluded.timestamp
        """,
        [venue, pair, at(seconds)],
    )


def labels(
    connection: psycopg.Connection, *, pair: str = "A-USD", venue: str = "coinbase", size: str = "1m"
) -> list[str]:
    """Return the labels of a pair's windows, oldest first."""
    query = (
        f"SELECT completeness FROM crypto_windows_{size} WHERE consumer_group = 'g1' "
        "AND venue = %s AND pair = %s ORDER BY window_start"
    )
    return [label for (label,) in connection.execute(query.encode(), [venue, pair])]


def short(found: Iterable[str]) -> str:
    """Return labels as their first letters."""
    return "".join(label[0] for label in found)


def test_a_view_has_every_minute_up_to_the_last_complete_one_of_its_venue(
    connection: psycopg.Connection,
) -> None:
    put_minutes(connection, [1, 2, 5])
    put_minutes(connection, [4], pair="B-USD")
    put_minutes(connection, [0], pair="A-USD", venue="other")
    complete(connection, 8 * 60 + 59)
    complete(connection, 7 * 60, partition=1)
    complete(connection, 99 * 60, venue="other")
    rows = connection.execute(
        """
        SELECT pair, window_start, window_end,
            ticks, open, high, low, close, volume, avg_spread, late, complete
        FROM crypto_windows_1m WHERE venue = 'coinbase' ORDER BY pair, window_start
        """
    ).fetchall()
    empty = (0, *[None] * 6, 0, True)
    full = (1, 10, 12, 9, 11, 4, 1, 0, True)
    assert rows == [
        (pair, at(60 * n), at(60 * n + 60), *(full if n in ticked else empty))
        for pair, ticked in (("A-USD", [1, 2, 5]), ("B-USD", [4]))
        for n in range(ticked[0], 7)
    ]


def test_a_venue_without_a_watermark_is_complete_up_to_its_last_complete_minute(
    connection: psycopg.Connection,
) -> None:
    """As after the migration of a database whose feeds had stopped, or with imported minutes only."""
    put_minutes(connection, [0, 3, 4])
    assert labels(connection) == []
    connection.execute("UPDATE crypto_windows SET complete = window_start < %s", [at(240)])
    assert labels(connection) == ["unverified"] * 4


def test_a_minute_is_verified_between_a_start_that_proves_and_a_later_sign_of_the_feed(
    connection: psycopg.Connection,
) -> None:
    put_minutes(connection, [0, 1, 4])
    complete(connection, 300)
    assert short(labels(connection)) == "uuuuu"  # a publisher without a start record
    put_records(connection, [Record("start", 30, proves=True)])
    assert short(labels(connection)) == "uuuuu"  # nothing was heard since
    hear(connection, 181)
    assert short(labels(connection)) == "uvvuu"  # empty minutes, too
    hear(connection, 299, pair="B-USD")
    put_minutes(connection, [4], pair="B-USD")
    assert short(labels(connection)) == "uvvvu"  # any pair of the venue will do
    put_records(connection, [Record("end", 302)])
    assert short(labels(connection)) == "uvvvv"


def test_a_feed_that_cannot_prove_it_is_unverified(connection: psycopg.Connection) -> None:
    put_minutes(connection, range(5))
    complete(connection, 300)
    hear(connection, 1000)
    put_records(connection, [Record("start", 0, proves=False), Record("missed", 130, 125)])
    assert short(labels(connection)) == "uuguu"
    connection.execute("UPDATE feed_gaps SET proves = NULL")  # of an earlier version
    assert short(labels(connection)) == "uuguu"


def test_a_gap_is_widened_by_two_seconds_and_may_come_late(connection: psycopg.Connection) -> None:
    put_minutes(connection, [0])
    complete(connection, 600)
    hear(connection, 1000)
    put_records(connection, [Record("start", -10, proves=True)])
    assert short(labels(connection)) == "v" * 10
    put_records(connection, [Record("missed", 117.999, 62.001), Record("down", 478, 361)])
    assert short(labels(connection)) == "vgvvvggggv"
    for size, worst in (("5m", "g"), ("1h", "g")):
        assert short(labels(connection, size=size)) == worst


def test_between_two_runs_of_a_feed_is_a_gap(connection: psycopg.Connection) -> None:
    put_minutes(connection, [0, 1, 9])
    complete(connection, 660)
    hear(connection, 1000)
    put_records(connection, [Record("start", -10, proves=True), Record("end", 250)])
    assert short(labels(connection)) == "vvvvuuuuuuu"  # after the end nobody knows
    put_records(connection, [Record("start", 410, 100, proves=True)])
    assert short(labels(connection)) == "vvvvgggvvvv"  # since the end, not since the last quote


def test_a_feed_that_was_killed_has_a_gap_from_its_last_sign_to_its_next_start(
    connection: psycopg.Connection,
) -> None:
    put_minutes(connection, [0, 1, 9])
    complete(connection, 660)
    hear(connection, 1000)
    put_records(connection, [Record("start", -10, proves=True), Record("start", 410, 100, proves=True)])
    assert short(labels(connection)) == "vggggggvvvv"
    put_records(connection, [Record("missed", 200, 199)])  # it was heard until then
    assert short(labels(connection)) == "vvvggggvvvv"


def test_simulated_and_imported_minutes_say_so_unless_a_gap_overlaps_them(
    connection: psycopg.Connection,
) -> None:
    for venue in ("simulated", "simulated-replay", "coinbase"):
        complete(connection, 360, venue=venue)
        hear(connection, 1000, venue=venue)
        put_records(connection, [Record("down", 130, 125)], venue=venue)
    for venue in ("simulated", "simulated-replay"):
        put_minutes(connection, [0, 4], venue=venue)
    put_minutes(connection, [0, 2], origin="imported")
    put_minutes(connection, [3])
    assert short(labels(connection, venue="simulated")) == "ssgsss"
    assert short(labels(connection, venue="simulated-replay")) == "ssgsss"
    assert short(labels(connection)) == "iuguuu"
    assert labels(connection, venue="simulated", size="5m") == ["gap"]
    connection.execute("DELETE FROM feed_gaps")
    put_records(connection, [Record("start", 58, proves=True)])
    assert short(labels(connection)) == "ivivvv"
    assert labels(connection, venue="simulated", size="5m") == ["simulated"]
    assert labels(connection, size="5m") == ["imported"]
    market = Market("coinbase", "A-USD")
    spans = [(at(0), at(60)), (at(120), at(180))]
    assert doubtful_spans(connection, "g1", market, at(0), at(900)) == spans
    assert doubtful_spans(connection, "g1", Market("simulated", "A-USD"), at(0), at(900)) == []
    assert labels(connection, size="15m") == ["unverified"]  # most of its minutes are still to come


def test_a_pair_in_its_first_minute_has_nothing_to_label(connection: psycopg.Connection) -> None:
    complete(connection, 60)
    put_minutes(connection, [5])
    market = Market("coinbase", "A-USD")
    assert labels(connection) == []
    assert doubtful_spans(connection, "g1", market, at(0), at(900)) == []
    assert not any(count_labels(connection, "g1").values())


def test_the_database_knows_what_is_simulated(connection: psycopg.Connection) -> None:
    for venue in ("simulated", "simulated-replay", "simulated-replay-replay", "simulated2", "coinbase"):
        row = connection.execute("SELECT crypto_is_simulated(%s)", [venue]).fetchone()
        assert row == (is_simulated(venue),)


def test_minutes_are_read_as_columns_and_counted(connection: psycopg.Connection) -> None:
    put_minutes(connection, [0, 2])
    put_minutes(connection, [2], pair="B-USD")
    complete(connection, 300)
    hear(connection, 1000)
    put_records(connection, [Record("start", -10, proves=True), Record("missed", 70, 65)])
    found = read_minutes(connection, "g1", "coinbase", ["A-USD", "B-USD", "C-USD"], at(0.5), at(180.5))
    assert list(found) == ["A-USD", "B-USD"]
    minutes = found["A-USD"]
    assert minutes.time.tolist() == [at(60 * n).replace(tzinfo=None) for n in (1, 2, 3)]
    assert minutes.ticks.tolist() == [0, 1, 0]
    assert minutes.label.tolist() == [Label.GAP, Label.VERIFIED, Label.VERIFIED]
    for name, value in {
        "open": 10.0,
        "close": 11.0,
        "volume": 4.0,
        "bid_size_sum": 2.0,
        "trades": 1.0,
    }.items():
        np.testing.assert_array_equal(getattr(minutes, name), [np.nan, value, np.nan])
    assert found["B-USD"].label.tolist() == [Label.UNVERIFIED] * 2
    assert len(found["B-USD"]) == 2
    assert read_minutes(connection, "g1", "coinbase", ["A-USD"], at(300)) == {}
    counts = count_labels(connection, "g1", since=at(60))
    assert counts == {
        ("coinbase", "A-USD"): {"verified": 3, "simulated": 0, "imported": 0, "unverified": 0, "gap": 1},
        ("coinbase", "B-USD"): {"verified": 0, "simulated": 0, "imported": 0, "unverified": 3, "gap": 0},
    }


SECONDS = st.one_of(
    st.integers(-2, 12).map(lambda n: n * 60.0),
    st.integers(-2, 12).map(lambda n: n * 60.0 + 2),
    st.integers(-2, 12).map(lambda n: n * 60.0 - 2),
    st.floats(-100, 720).map(lambda second: round(second, 6)),
)


@st.composite
def records(draw: st.DrawFn) -> Record:
    kind = draw(st.sampled_from(["start", "start", "end", "missed", "silence"]))
    ends = draw(SECONDS)
    if kind == "start":
        return Record(kind, ends, draw(st.none() | SECONDS), draw(st.sampled_from([True, True, False, None])))
    return Record(kind, ends, None if kind == "end" else min(ends, draw(SECONDS)))


def label_of(minute: int, known: Sequence[Record], heard: float) -> str:
    """Return the label of a minute by looking at every record for it."""
    first, last = 60 * minute, 60 * minute + 60
    ordered = sorted(known, key=lambda record: record.ends)  # stable: equal times keep the topic's order
    for place, record in enumerate(ordered):
        signs = [] if record.begins is None or record.begins > record.ends else [record.begins]
        if record.kind == "start":
            signs += [earlier.ends for earlier in ordered[:place]]
        if record.kind == "end" or not signs:
            continue
        if max(signs) - 2 < last and record.ends + 2 >= first:
            return "gap"
    bounds = [record for record in ordered if record.kind in BOUNDS]
    for record, following in pairwise([*bounds, Record("none", float("inf"))]):
        begins, ends = record.ends + 2, min(following.ends - 2, heard)
        if record.kind == "start" and record.proves and begins <= first and last <= ends:
            return "verified"
    return "unverified"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    known=st.lists(records(), max_size=8),
    ticked=st.sets(st.integers(0, 9), min_size=1),
    imported=st.sets(st.integers(0, 9), max_size=3),
    heard=SECONDS,
)
def test_labels_are_those_of_a_definition_that_looks_at_every_record(
    connection: psycopg.Connection, known: list[Record], ticked: set[int], imported: set[int], heard: float
) -> None:
    with connection.transaction(force_rollback=True):
        put_minutes(connection, ticked - imported)
        put_minutes(connection, imported, origin="imported")
        put_records(connection, known)
        complete(connection, 605)
        hear(connection, heard)
        signs = [heard, *(record.ends - 2 for record in known)]
        first = min(ticked | imported)
        expected = [label_of(minute, known, max(signs)) for minute in range(first, 10)]
        for minute in imported:
            if expected[minute - first] != "gap":
                expected[minute - first] = "imported"
        assert labels(connection) == expected
        assert rows_of(connection, "crypto_windows_1m") == rows_of(
            connection, "crypto_minutes('g1', 'coinbase', '{A-USD}', NULL, NULL)"
        )
        counted = Counter(expected)
        assert count_labels(connection, "g1") == {
            ("coinbase", "A-USD"): {name: counted[name] for name in reversed(NAMES)}
        }
        doubtful = doubtful_spans(connection, "g1", Market("coinbase", "A-USD"), at(120), at(420))
        assert [minute for minute in range(10) if any(a <= at(60 * minute) < b for a, b in doubtful)] == [
            minute
            for minute, label in enumerate(expected, first)
            if label not in ("verified", "simulated") and 2 <= minute < 7
        ]
        some = read_minutes(connection, "g1", "coinbase", ["A-USD"], at(120), at(420))
        found = some["A-USD"].label.tolist() if some else []
        assert [NAMES[label] for label in found] == expected[max(2 - first, 0) : max(7 - first, 0)]
        for start, label in connection.execute(
            "SELECT window_start, completeness FROM crypto_windows_5m WHERE pair = 'A-USD'"
        ):
            place = (start - START) // MINUTE - first
            of_minutes = expected[max(place, 0) : place + 5]
            assert label == min(of_minutes, key=NAMES.index)


def rows_of(connection: psycopg.Connection, source: str) -> list[tuple[Any, ...]]:
    return connection.execute(f"SELECT * FROM {source} ORDER BY window_start".encode()).fetchall()
