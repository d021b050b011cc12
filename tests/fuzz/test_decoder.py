"""Fuzz the decoder: for some seconds in each run of the tests, for a minute in `make fuzz`."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.market.ticks import Tick
from tests.fuzz import decoder
from tests.fuzz.decoder import MAX_GROWTH, check, differences, fuzz, in_columns, memory, one_by_one
from tests.fuzz.messages import CORPUS, GOOD, VALUES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.fuzz.decoder import BatchDecoder, Outcome
    from tests.fuzz.messages import Message

SECONDS = float(os.environ.get("FUZZ_SECONDS", "3"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))

BATCH_DECODERS: list[BatchDecoder] = [in_columns]
"""Every way of decoding many messages at once: each must give what decoding one by one gives."""

messages = st.tuples(
    st.one_of(st.none(), st.binary(max_size=50), st.just(b"ETH-USD")),
    st.one_of(
        st.none(),
        st.binary(max_size=500),
        st.dictionaries(st.sampled_from(list(GOOD)), st.sampled_from(VALUES))
        .map(lambda changes: json.dumps(GOOD | changes).encode())
        .filter(lambda value: len(value) < 10_000),
    ),
)


@pytest.mark.timeout(120 + 2 * SECONDS)
def test_every_message_is_a_tick_or_rejected() -> None:
    outcomes = fuzz(SEED, seconds=SECONDS, batches=BATCH_DECODERS)
    assert outcomes.total() >= len(CORPUS)
    # The mutations get past the first check: every outcome occurs.
    assert {"tick", "not_json", "missing_field", "wrong_type", "bad_price", "bad_time"} <= set(outcomes)


@given(st.lists(messages, max_size=5))
def test_what_hypothesis_thinks_of_is_a_tick_or_rejected(several: list[Message]) -> None:
    for message, outcome in zip(several, one_by_one(several), strict=True):
        check(message, outcome)
    for batch in BATCH_DECODERS:
        assert differences(batch, several) == []


def _long_prices() -> Iterator[Message]:
    for number in range(2_000):
        yield b"ETH-USD", json.dumps(GOOD | {"best_bid": f"{number:060000d}"}).encode()


def _long_keys() -> Iterator[Message]:
    for number in range(200):
        yield b"%0900000d" % number, json.dumps(GOOD).encode()


@pytest.mark.parametrize("flood", [_long_prices, _long_keys])
def test_nothing_long_is_remembered(flood: object) -> None:
    """What a sender makes up must not stay in memory: only short texts are worth it."""
    assert callable(flood)
    before = memory()
    for message in flood():
        one_by_one([message])
        in_columns([message])
    assert memory() - before < MAX_GROWTH


# The harness itself


def _forgetful(batch: Sequence[Message]) -> list[Outcome]:
    return one_by_one(batch)[:-1]


def _rounding(batch: Sequence[Message]) -> list[Outcome]:
    outcomes = one_by_one(batch)
    for outcome in outcomes:
        if isinstance(outcome, Tick):
            outcome.bid = outcome.bid.quantize(outcome.ask)
    return outcomes


@pytest.mark.parametrize("wrong", [_forgetful, _rounding])
def test_a_batch_decoder_that_differs_is_found(wrong: BatchDecoder) -> None:
    good: list[Message] = [(b"ETH-USD", json.dumps(GOOD | {"best_bid": "3120.1"}).encode())]
    assert differences(one_by_one, good) == []
    assert differences(wrong, good) != []


def test_a_hang_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "HANG_S", 1)
    with pytest.raises(TimeoutError), decoder.no_hang():
        time.sleep(30)
