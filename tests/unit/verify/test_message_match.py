"""Quotes of a table are valid where the decoder takes their messages."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.times import to_microseconds
from cryptometrics.verify.message_decoder import InvalidMessageError, QuoteMessage, read
from cryptometrics.verify.message_match import MAX_CLOCK_DIFFERENCE, valid_quotes
from cryptometrics.verify.message_table import MessageReader

RECORDED = datetime(2026, 11, 28, tzinfo=UTC)
TICKER: dict[str, Any] = {
    "type": "ticker",
    "product_id": "BTC-USD",
    "best_bid": "1",
    "best_ask": "2",
    "time": "2026-11-27T10:11:12.123456Z",
}
price = st.sampled_from(
    [
        "0",
        "0.00",
        "1",
        "1.0",
        "1.00000000000000001",
        "10",
        "999999999999999999",
        "0.00000000000000001",
        "2.5",
    ]
)
time = st.sampled_from(
    [
        "2008-12-31T23:59:59.999999Z",
        "2009-01-01T00:00:00Z",
        "2026-11-29T00:10:00Z",
        "2026-11-29T00:10:00.000001Z",
    ]
)
changes = st.fixed_dictionaries({}, optional={"best_bid": price, "best_ask": price, "time": time})


def takes(value: bytes) -> bool:
    """Return whether the decoder takes a message."""
    try:
        return isinstance(read(b"BTC-USD", value, RECORDED + MAX_CLOCK_DIFFERENCE), QuoteMessage)
    except InvalidMessageError:
        return False


@given(st.lists(changes.map(lambda change: TICKER | change), min_size=1, max_size=8))
def test_a_valid_quote_is_what_the_decoder_takes(documents: list[dict[str, Any]]) -> None:
    sent = [json.dumps(document).encode() for document in documents]
    table = MessageReader().read([b"BTC-USD"] * len(sent), sent)
    assert table.is_read.all()
    recorded = np.full(len(sent), to_microseconds(RECORDED))
    valid = valid_quotes(table, np.arange(len(sent)), recorded)
    assert valid.tolist() == [takes(value) for value in sent]


def test_a_message_that_is_not_read_is_not_valid() -> None:
    value = json.dumps(TICKER).encode()
    table = MessageReader().read([b"BTC-USD", b"ETH-USD"], [value, value])
    recorded = np.full(2, to_microseconds(RECORDED))
    assert valid_quotes(table, np.arange(2), recorded).tolist() == [True, False]
    assert valid_quotes(table, np.arange(0), recorded[:0]).tolist() == []
