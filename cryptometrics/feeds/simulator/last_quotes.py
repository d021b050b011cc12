"""The last simulated quotes of the topic, from which a simulation goes on."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING

from cryptometrics.feeds.simulator.currencies import MAX_DECIMALS, LastQuote
from cryptometrics.kafka.tail import read_tails
from cryptometrics.market.tick_decoder import RejectedError, decode
from cryptometrics.market.venues import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptometrics.config import Settings
    from cryptometrics.kafka.record import Record
    from cryptometrics.kafka.topic import Topic
    from cryptometrics.market.ticks import Tick

GROUP = "cryptometrics-simulate"
MAX_UNITS = 1 << 40
"""Largest price in units of its last digit: a quote beyond it is not one of ours."""


def find_last_quotes(settings: Settings, topic: Topic, pairs: Sequence[str]) -> dict[str, LastQuote]:
    """Return the last simulated quote of each pair that has one among the newest records of the topic.

    Raises KafkaException if the topic may not be read, ServiceUnavailableError if Kafka does not answer.
    """
    found: dict[str, LastQuote] = {}
    for records in read_tails(settings, topic, GROUP):
        found = last_quotes(records, pairs, datetime.now(UTC))
        if found.keys() >= set(pairs):
            break
    return found


def last_quotes(records: Iterable[Record], pairs: Iterable[str], now: datetime) -> dict[str, LastQuote]:
    """Return the last simulated quote of each of these pairs in some records."""
    keys = {pair.encode() for pair in pairs}
    found: dict[str, LastQuote] = {}
    for record in records:
        key = record.key()
        if key not in keys:
            continue
        try:
            tick = decode(key, record.value(), now)
        except RejectedError:
            continue  # a bad tick or a gap record
        quote = _quote(tick) if _is_simulated(tick) else None
        if quote is not None:
            found[tick.pair] = quote
    return found


def _is_simulated(tick: Tick) -> bool:
    return tick.venue == SIMULATED and tick.trade_id is not None


def _quote(tick: Tick) -> LastQuote | None:
    decimals = -int(tick.bid.as_tuple().exponent)
    price = (Fraction(tick.bid) + Fraction(tick.ask)) / 2
    if not 1 <= decimals <= MAX_DECIMALS or price * 10**decimals > MAX_UNITS:
        return None
    return LastQuote(price, decimals, tick.trade_id or 0, tick.time)
