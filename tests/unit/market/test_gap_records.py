"""The gap record: what is written is read again, and everything else is rejected with its reason."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.market.gap_records import Gap, GapKind, as_fields, decode, encode
from cryptometrics.market.tick_decoder import MAX_VALUE_BYTES, Reason, RejectedError
from cryptometrics.market.tick_decoder import decode as decode_tick
from cryptometrics.market.ticks import MAX_TRADE_ID
from cryptometrics.pipeline.pair_cache import LastTrade
from cryptometrics.pipeline.settle_gaps import FoundGap, missed_before, settle
from cryptometrics.times import from_seconds
from tests.tables import decode_messages

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
times = st.datetimes(datetime(2009, 1, 1), datetime(2026, 7, 1), timezones=st.just(UTC))  # noqa: DTZ001
NO_TICK = RejectedError(Reason.MISSING_FIELD, "no tick")


@st.composite
def valid_gaps(draw: st.DrawFn) -> Gap:
    kind = draw(st.sampled_from(GapKind))
    venue = draw(st.sampled_from(["coinbase", "simulated"]))
    begins, ends = sorted((draw(times), draw(times)))
    first, last = sorted(draw(st.tuples(*[st.integers(0, MAX_TRADE_ID)] * 2)))
    if kind is GapKind.START:
        proves = draw(st.sampled_from([None, False, True]))
        return Gap("BTC-USD", kind, ends, None, None, draw(st.sampled_from([None, last])), proves, venue)
    if kind is GapKind.END:
        return Gap("BTC-USD", kind, ends, None, venue=venue)
    missed = draw(st.sampled_from([(None, None), (first, last)]))
    return Gap("BTC-USD", kind, ends, begins, missed[0], missed[1], None, venue)


@given(valid_gaps())
def test_what_is_written_is_read(gap: Gap) -> None:
    key, value = encode(gap)
    assert decode(key, value, NOW, NO_TICK) == gap
    with pytest.raises(RejectedError):
        decode_tick(key, value, NOW)  # it is never taken for a tick
    if gap.kind not in {GapKind.START, GapKind.MISSED}:
        assert gap.trades_missed is not None
        assert 0 <= gap.trades_missed <= MAX_TRADE_ID


GOOD: dict[str, Any] = {
    "type": "gap", "product_id": "BTC-USD", "kind": "down", "time": "2026-07-01T10:00:00Z",
    "begins": "2026-07-01T09:59:00Z", "first_trade_id": 5, "last_trade_id": 9,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"product_id": "btc"}, Reason.BAD_PAIR),
        ({"product_id": "ETH-USD"}, Reason.KEY_MISMATCH),
        ({"venue": "Nasdaq"}, Reason.BAD_VENUE),
        ({"venue": ""}, Reason.BAD_VENUE),
        ({"venue": None}, Reason.WRONG_TYPE),
        ({"kind": "nap"}, Reason.BAD_GAP),
        ({"kind": 1}, Reason.WRONG_TYPE),
        ({"kind": None}, Reason.WRONG_TYPE),
        ({"kind": "start"}, Reason.BAD_GAP),
        ({"kind": "end"}, Reason.BAD_GAP),
        ({"kind": "end", "begins": None, "first_trade_id": None}, Reason.BAD_GAP),
        ({"proves": True}, Reason.BAD_GAP),
        ({"proves": 1}, Reason.WRONG_TYPE),
        ({"begins": None}, Reason.BAD_GAP),
        ({"begins": "2026-07-01T10:00:01Z"}, Reason.BAD_GAP),
        ({"first_trade_id": 10}, Reason.BAD_GAP),
        ({"first_trade_id": None}, Reason.BAD_GAP),
        ({"first_trade_id": -1}, Reason.BAD_GAP),
        ({"last_trade_id": 2**63}, Reason.BAD_GAP),
        ({"last_trade_id": "9"}, Reason.WRONG_TYPE),
        ({"time": "yesterday"}, Reason.BAD_TIME),
        ({"time": "2026-07-01T10:00:00"}, Reason.BAD_TIME),
        ({"time": "2026-07-01 10:00:00Z"}, Reason.BAD_TIME),
        ({"time": "20260701T100000Z"}, Reason.BAD_TIME),
        ({"begins": "2026-07-01T09:59Z"}, Reason.BAD_TIME),
        ({"time": "0001-01-01T00:00:00+10:00"}, Reason.BAD_TIME),
        ({"time": "2026-07-04T10:00:00Z"}, Reason.IMPLAUSIBLE_TIME),
        ({"begins": "1999-07-01T10:00:00Z"}, Reason.IMPLAUSIBLE_TIME),
    ],
)
def test_a_gap_that_is_wrong_is_rejected(changes: dict[str, Any], reason: Reason) -> None:
    assert decode(b"BTC-USD", json.dumps(GOOD).encode(), NOW, NO_TICK).trades_missed == 5
    with pytest.raises(RejectedError) as raised:
        decode(b"BTC-USD", json.dumps(GOOD | changes).encode(), NOW, NO_TICK)
    assert raised.value.reason == reason


def read(**changes: Any) -> Gap:
    return decode(b"BTC-USD", json.dumps(GOOD | changes).encode(), NOW, NO_TICK)


def test_the_edges_of_what_a_gap_may_say_are_read() -> None:
    assert read(begins=GOOD["time"]).seconds == 0
    assert read(first_trade_id=9).trades_missed == 1
    assert read(first_trade_id=0, last_trade_id=MAX_TRADE_ID).trades_missed == MAX_TRADE_ID + 1
    assert read(first_trade_id=None, last_trade_id=None).trades_missed == 0
    assert read(kind="missed", first_trade_id=None, last_trade_id=None).trades_missed is None
    start = read(kind="start", begins=None, first_trade_id=None, last_trade_id=0, proves=False)
    assert (start.trades_missed, start.seconds, start.proves) == (None, None, False)
    assert read(begins="2009-01-01T00:00:00Z").begins == datetime(2009, 1, 1, tzinfo=UTC)
    assert read(time="2026-07-02T12:00:00Z").time == NOW + timedelta(days=1)
    assert read(time="2026-07-01T12:00:00.25+02:00").seconds == 60.25


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"product_id": "btc"}, "product_id of the gap is not of the form BASE-QUOTE"),
        ({"product_id": "ETH-USD"}, "the record's key is not the gap's pair ETH-USD"),
        ({"kind": "nap"}, "gap: its kind is unknown"),
        ({"first_trade_id": -1}, "gap: a trade id is not from 0 to 2^63 - 2"),
        ({"last_trade_id": MAX_TRADE_ID + 1}, "gap: a trade id is not from 0 to 2^63 - 2"),
        ({"proves": False}, "gap: only a start says whether the feed proves its data"),
        (
            {"kind": "start", "first_trade_id": None},
            "gap: it has a begin, which only the reader knows",
        ),
        ({"kind": "end", "begins": None, "first_trade_id": None}, "gap: an end has a trade"),
        ({"begins": None}, "gap: it has no begin, or one after its end"),
        ({"begins": "2026-07-01T10:00:00.000001Z"}, "gap: it has no begin, or one after its end"),
        ({"first_trade_id": 10}, "gap: its trade ids are not a range"),
        ({"first_trade_id": None}, "gap: its trade ids are not a range"),
        ({"last_trade_id": None}, "gap: its trade ids are not a range"),
        ({"time": "today"}, "a time of the gap is not RFC 3339 with a zone"),
        ({"time": "2026-02-30T00:00:00Z"}, "a time of the gap does not exist"),
        (
            {"time": "2026-07-02T12:00:00.000001Z"},
            "a time of the gap is before 2009 or more than a day ahead",
        ),
        (
            {"begins": "2008-12-31T23:59:59.999999Z"},
            "a time of the gap is before 2009 or more than a day ahead",
        ),
        ({"last_trade_id": "9"}, "gap: Expected `int | null`, got `str` - at `$.last_trade_id`"),
    ],
)
def test_the_detail_says_what_is_wrong_with_a_gap(changes: dict[str, Any], detail: str) -> None:
    with pytest.raises(RejectedError) as raised:
        read(**changes)
    assert raised.value.detail == detail


def test_what_cannot_be_read_as_a_gap_keeps_its_own_reason() -> None:
    value = json.dumps(GOOD).encode()
    assert decode(b"BTC-USD", value.ljust(MAX_VALUE_BYTES), NOW, NO_TICK) == read()
    for wrong in (
        *(None, value.ljust(MAX_VALUE_BYTES + 1), value[:-1]),
        *(value.replace(b"BTC", b"\xff"), value.replace(b"gap", b"quote")),
    ):
        with pytest.raises(RejectedError) as raised:
            decode(b"BTC-USD", wrong, NOW, NO_TICK)
        assert raised.value is NO_TICK


def test_gaps_are_fields_with_the_names_of_their_columns() -> None:
    start = Gap("ETH-USD", GapKind.START, NOW, None, None, 8, True, "simulated")
    assert as_fields([read(), start]) == [
        {
            "venue": "coinbase", "pair": "BTC-USD", "kind": "down",
            "begins_at": "2026-07-01T09:59:00.000000Z", "ends_at": "2026-07-01T10:00:00.000000Z",
            "first_trade_id": 5, "last_trade_id": 9, "trades_missed": 5, "proves": None,
        },
        {
            "venue": "simulated", "pair": "ETH-USD", "kind": "start",
            "begins_at": None, "ends_at": "2026-07-01T12:00:00.000000Z",
            "first_trade_id": None, "last_trade_id": 8, "trades_missed": None, "proves": True,
        },
    ]  # fmt: skip


def test_a_lacking_field_is_named() -> None:
    for field in ("product_id", "kind", "time"):
        fields = {name: value for name, value in GOOD.items() if name != field}
        with pytest.raises(RejectedError, match=field) as raised:
            decode(b"BTC-USD", json.dumps(fields).encode(), NOW, NO_TICK)
        assert raised.value.reason == Reason.MISSING_FIELD


@given(st.binary(max_size=60) | st.sampled_from([b"[1]", b'{"type":"ticker"}', b"[" * 100_000, b'"gap"']))
def test_what_is_no_gap_keeps_its_own_reason(value: bytes) -> None:
    with pytest.raises(RejectedError) as raised:
        decode(b"BTC-USD", value, NOW, NO_TICK)
    assert raised.value is NO_TICK


def test_times_are_to_the_microsecond() -> None:
    assert from_seconds(1_618_677_817.061845) == datetime(2021, 4, 17, 16, 43, 37, 61845, UTC)


# What a start has missed


EARLIER = datetime(2026, 7, 1, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("past", "last", "expected"),
    [
        (LastTrade(-1, None), 99, (None, 0)),  # the first one ever: it begins there
        (LastTrade(-1, None), None, (None, 0)),
        (LastTrade(-1, EARLIER), 99, (None, None)),  # only quotes without trades came before
        (LastTrade(-1, EARLIER), None, (None, None)),
        (LastTrade(50, EARLIER), 99, (51, 49)),
        (LastTrade(99, EARLIER), 99, (100, 0)),  # nothing was missed
        (LastTrade(120, EARLIER), 99, (121, 0)),  # the first ticker is an old one
        (LastTrade(50, EARLIER), None, (51, None)),
    ],
)
def test_what_a_start_has_missed(
    past: LastTrade, last: int | None, expected: tuple[int | None, int | None]
) -> None:
    assert missed_before(past, last) == expected


def message(pair: str, trade_id: int | None, minute: int) -> bytes:
    fields = {"type": "ticker", "product_id": pair, "best_bid": "1", "best_ask": "2"}
    fields["time"] = f"2026-07-01T10:{minute:02}:00Z"
    return json.dumps(fields | ({} if trade_id is None else {"trade_id": trade_id})).encode()


def test_a_start_counts_the_ticks_that_stand_before_it_and_no_others() -> None:
    said = [("BTC-USD", 60, 1), ("ETH-USD", 900, 2), ("BTC-USD", 55, 3), ("BTC-USD", 80, 4)]
    table, _ = decode_messages([(one[0].encode(), message(*one)) for one in said], NOW)
    times = [table.tick(row).time for row in range(len(said))]
    start = Gap("BTC-USD", GapKind.START, NOW, None, None, 79)
    found = [FoundGap(0, offset, start, before) for offset, before in ((7, 0), (9, 1), (12, 3), (15, 4))]
    known = LastTrade(50, NOW - timedelta(hours=5))
    stored = settle(found, table, lambda _pair: known)
    assert [(g.offset, g.first_trade_id, g.last_trade_id, g.trades_missed) for g in stored] == [
        (7, 51, 79, 29), (9, 61, 79, 19), (12, 61, 79, 19), (15, 81, 79, 0)
    ]  # fmt: skip
    assert [g.begins for g in stored] == [known.time, times[0], times[2], times[3]]
