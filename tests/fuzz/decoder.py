"""Fuzz the decoder: every message is a valid tick or rejected, in bounded time and memory.

python -m tests.fuzz.decoder --inputs 10000000
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import re
import signal
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psutil

from cryptometrics.market.tick_decoder import RejectedError, decode
from cryptometrics.market.ticks import EARLIEST, MAX_AHEAD, Tick, is_pair
from cryptometrics.market.venues import is_venue
from tests.fuzz.messages import CORPUS, Message, mutations
from tests.tables import decode_messages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    Outcome = Tick | RejectedError
    BatchDecoder = Callable[[Sequence[Message]], Sequence[Outcome]]

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
AT_ONCE = 1000
"""Messages between two looks at the memory, and of one batch."""
HANG_S = 30
"""Seconds after which AT_ONCE messages count as a hang; they take some milliseconds."""
MAX_DETAIL = 400
"""Characters that the reason against a message may take, whatever the message is."""
MAX_GROWTH = 64 * 1024 * 1024
"""Bytes that the process may grow by, whatever comes: what the decoder remembers is bounded."""

_is_plain_price = re.compile(r"[0-9]{1,20}(\.[0-9]{1,18})?").fullmatch


def one_by_one(messages: Sequence[Message]) -> list[Outcome]:
    """Decode each message for itself: the definition of what a message is."""
    return [_outcome(*message) for message in messages]


def in_columns(messages: Sequence[Message]) -> list[Outcome]:
    """Decode them as `process` does: all at once."""
    table, rejected = decode_messages(messages, NOW)
    outcomes: dict[int, Outcome] = dict(rejected)
    outcomes |= {int(index): table.tick(row) for row, index in enumerate(table.message)}
    return [outcomes[index] for index in range(len(messages))]


def _outcome(key: bytes | None, value: bytes | None) -> Outcome:
    try:
        return decode(key, value, NOW)
    except RejectedError as error:
        return error


def check(message: Message, outcome: Outcome) -> None:
    """Raise AssertionError where this cannot be stored as it is, or is no tick and not rejected."""
    key, _ = message
    if isinstance(outcome, RejectedError):
        detail = outcome.detail
        assert detail.isprintable(), message
        assert len(detail) <= MAX_DETAIL, message
        detail.encode()  # PostgreSQL takes no lone surrogates
        return
    assert isinstance(outcome, Tick), message
    assert is_pair(outcome.pair), message
    assert is_venue(outcome.venue), message
    assert outcome.pair.encode() == key, message
    assert outcome.kind in ("ticker", "quote"), message
    assert 0 < outcome.bid <= outcome.ask, message
    for price in (outcome.bid, outcome.ask):
        assert _is_plain_price(f"{price:f}"), message
    assert EARLIEST <= outcome.time <= NOW + MAX_AHEAD, message
    assert outcome.trade_id is None or 0 <= outcome.trade_id < 2**63 - 1, message


def differences(batch: BatchDecoder, messages: Sequence[Message]) -> list[str]:
    """Return where a decoder of whole batches disagrees with the decoding one by one.

    batch: takes (key, value) pairs and returns a Tick or a RejectedError for each, in their order.
    """
    expected, found = one_by_one(messages), batch(messages)
    if len(expected) != len(found):
        return [f"{len(found)} outcomes for {len(messages)} messages"]
    return [
        f"{message!r:.500}: {_told(one)}, in a batch {_told(other)}"
        for message, one, other in zip(messages, expected, found, strict=True)
        if _told(one) != _told(other)
    ]


def _told(outcome: Outcome) -> object:
    if isinstance(outcome, RejectedError):
        return outcome.reason, outcome.detail
    # As a tuple of the digits: 1.10 and 1.1 are equal numbers, but not the same.
    return type(outcome), repr(outcome)


def fuzz(
    seed: int,
    *,
    inputs: int | None = None,
    seconds: float | None = None,
    batches: Sequence[BatchDecoder] = (),
    progress: Callable[[int], None] = lambda _count: None,
) -> Counter[str]:
    """Decode the corpus, then mutations up to a number of inputs or seconds; count the outcomes.

    Raises AssertionError for an outcome that is none, TimeoutError for a hang.
    """
    counts: Counter[str] = Counter()
    deadline = None if seconds is None else time.monotonic() + seconds
    stream = itertools.chain(CORPUS, mutations(seed))
    begun = 0
    while (inputs is None or counts.total() < inputs) and (deadline is None or time.monotonic() < deadline):
        messages = list(itertools.islice(stream, AT_ONCE))
        with no_hang():
            outcomes = one_by_one(messages)
            for batch in batches:
                assert not (found := differences(batch, messages)), found[0]
        for message, outcome in zip(messages, outcomes, strict=True):
            check(message, outcome)
            counts[str(outcome.reason) if isinstance(outcome, RejectedError) else "tick"] += 1
        if counts.total() == 20 * AT_ONCE:  # by now all code is loaded and most caches are full
            begun = memory()
        if begun:
            assert memory() - begun < MAX_GROWTH, f"grew by {memory() - begun:,} bytes, seed {seed}"
        progress(counts.total())
    return counts


@contextlib.contextmanager
def no_hang() -> Iterator[None]:
    """Raise TimeoutError where what is inside takes HANG_S seconds."""

    def hang(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"no answer in {HANG_S} s")

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(HANG_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def memory() -> int:
    """Return the bytes that this process has in memory."""
    return int(psutil.Process().memory_info().rss)


def main() -> None:
    """Fuzz for a given number of inputs and print the outcomes."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    begun = time.monotonic()

    def show(count: int) -> None:
        if count % 100_000 == 0:
            print(f"{count:,} inputs, {memory() >> 20} MiB", file=sys.stderr)  # noqa: T201

    counts = fuzz(chosen.seed, inputs=chosen.inputs, batches=[in_columns], progress=show)
    for outcome, count in counts.most_common():
        print(f"{outcome:<20}{count:>14,}")  # noqa: T201
    print(f"{counts.total():,} inputs in {time.monotonic() - begun:.0f} s, {memory() >> 20} MiB")  # noqa: T201


if __name__ == "__main__":
    main()
