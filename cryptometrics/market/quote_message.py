"""Encode a quote in the wire format, for feeds that rebuild quotes from an order book. Pure."""

from __future__ import annotations


def encode(
    pair: str, bid: tuple[str, str], ask: tuple[str, str], time: str, *, venue: str | None = None
) -> bytes:
    """Return the message of a quote of type `quote`; its key is the pair.

    bid, ask: price and size, as decimals in the form of the topic. time: RFC 3339. venue: where the quote
    comes from; None leaves the field out. No part may hold a character that JSON escapes.
    """
    origin = "" if venue is None else f',"venue":"{venue}"'
    return (
        f'{{"type":"quote","product_id":"{pair}","best_bid":"{bid[0]}","best_bid_size":"{bid[1]}",'
        f'"best_ask":"{ask[0]}","best_ask_size":"{ask[1]}","time":"{time}"{origin}}}'
    ).encode()
