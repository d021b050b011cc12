"""Bytes of unknown senders: readable for people, harmless for terminals, whole for programs."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.cli.message_display import SHOWN_BYTES, as_dict, readable
from cryptometrics.store.rejects import RejectedMessage
from cryptometrics.text import escape


@given(st.binary() | st.text().map(str.encode))
def test_nothing_reaches_the_terminal_that_does_not_print(raw: bytes) -> None:
    assert all(line.isprintable() for line in readable(raw).split("\n"))


def test_text_stays_text_and_escapes_are_seen() -> None:
    assert readable(b'{"pair": "\xc3\xa9"}') == '{"pair": "é"}'
    assert readable(b"\x1b[31mred\x00\n") == r"\x1b[31mred\x00\n"
    assert escape("\u202eevil\x9b") == r"\u202eevil\x9b"
    assert readable(None) == "(none)"
    assert readable(b"") == "(empty)"


def test_what_is_no_text_is_dumped() -> None:
    raw = b"BTC\xff\x1b" + bytes(range(16, 32))
    first, second = readable(raw).split("\n")
    assert first == "00000000  42 54 43 ff 1b 10 11 12  13 14 15 16 17 18 19 1a  |BTC.............|"
    assert re.fullmatch(r"00000010  1b 1c 1d 1e 1f +\|\.{5}\|", second)


def test_a_long_message_is_cut_where_a_person_reads_it() -> None:
    # The cut goes through the two bytes of the last character.
    text = readable(b"a" * (SHOWN_BYTES - 1) + "é".encode() * 100)
    first, second = text.split("\n")
    assert first == "a" * (SHOWN_BYTES - 1)
    assert second.startswith("… and 199 more bytes")


@given(st.binary() | st.none(), st.binary() | st.none())
def test_programs_get_every_byte(key: bytes | None, value: bytes | None) -> None:
    rejected = RejectedMessage(
        id=1,
        consumer_group="g",
        topic="t",
        kafka_partition=0,
        kafka_offset=0,
        reason="not_json",
        detail="",
        key=key,
        value=value,
        kafka_timestamp=None,
        recorded_at=datetime(2026, 1, 1, tzinfo=UTC),
        requeued_at=None,
        requeue_started_at=None,
    )
    shown = as_dict(rejected)
    for name, raw in (("key", key), ("value", value)):
        if name in shown:
            assert (None if shown[name] is None else shown[name].encode()) == raw
        else:
            assert base64.b64decode(shown[f"{name}_base64"]) == raw
