"""From frames to messages for the topic: the same for the live socket and for a recording. Pure.

A feed is given each frame with the time of its receipt, and gives back what goes on the topic: tickers as
they came, byte for byte, or quotes rebuilt from the order book, and gap records in their place among them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from cryptometrics.feeds.coinbase import BOOK_CHANNELS, TICKER_CHANNELS, messages
from cryptometrics.feeds.coinbase.book import OrderBook
from cryptometrics.feeds.coinbase.continuity import PairWatch
from cryptometrics.feeds.coinbase.messages import BadFrameError, BookFrame, number, seconds
from cryptometrics.market.gap_records import Gap, Kind, encode
from cryptometrics.market.tick_decoder import is_pair
from cryptometrics.times import from_seconds, iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cryptometrics.feeds.coinbase.book import Best
    from cryptometrics.feeds.coinbase.messages import Frame, Refusal
    from cryptometrics.kafka.publisher import Message

CHECK_S = 1.0
"""How often what has not come is looked for."""
MOST_PAIRS = 10_000
"""Pairs that a recording may have."""

_NOTHING: list[Message] = []


class Feed:
    """Follows the pairs of one run, over however many connections."""

    def __init__(
        self,
        pairs: Iterable[str] | None,
        *,
        book: bool = False,
        on_gap: Callable[[Gap], None] = lambda _: None,
    ) -> None:
        """Listen to these pairs only; None: to each that comes. on_gap: told each gap."""
        self._open_to_all = pairs is None
        self._book = book
        self._on_gap = on_gap
        self._out: list[Message] = []
        self._next_check = 0.0
        self.pairs: dict[str, PairWatch] = {}
        self._books: dict[str, OrderBook] = {}
        self._published: dict[str, tuple[str, str]] = {}
        """Best bid and ask that were published last, of each pair with a book."""
        self.bookless: set[str] = set()
        """Pairs with updates but without a book to apply them to: a new snapshot is needed."""
        self._keys: dict[str, bytes] = {}
        for pair in pairs or ():
            self._add(pair)
        self.frames = 0
        self.passed_over: Counter[str] = Counter()
        """Frames of no use, by why."""
        self.refusals: list[Refusal] = []
        """What the exchange refused; taken out by whoever asked."""
        self.subscribed: set[str] | None = None
        """What an answer to a subscription says is subscribed; taken out by whoever asked."""
        self.products: list[str] = []
        """All products of the exchange, once it has told them."""

    # Frames

    def take(self, frame: bytes, at: float) -> list[Message]:
        """Take a frame that came at this time, in seconds since the epoch; return what goes on the topic.

        Whatever a frame holds, it is used or passed over and counted; nothing is raised.
        """
        self.frames += 1
        if at >= self._next_check:
            self._check(at)
        try:
            found = messages.decode(frame, book=self._book)
            take = _TAKE.get(found.type)
            if take is not None:
                watch = self.pairs.get(found.product_id) or self._stranger(found.product_id)
                take(self, found, frame, watch, at)
                watch.heard(at)
            else:
                self._take_other(found.type, frame)
        except BadFrameError as error:
            self.passed_over[error.args[0] if error.args[0] in _REASONS else "malformed"] += 1
        return self._drain() if self._out else _NOTHING

    def check(self, now: float) -> list[Message]:
        """Look for what has not come, when no frames are there to do so; return what goes on the topic."""
        if now >= self._next_check:
            self._check(now)
        return self._drain()

    def lost(self, pairs: Iterable[str], kind: Kind, now: float) -> list[Message]:
        """Note that these pairs are not listened to any more; return what goes on the topic."""
        for pair in pairs:
            watch = self.pairs.get(pair)
            if watch is not None:
                self._lose(watch, kind, now)
        return self._drain()

    def end(self, now: float) -> list[Message]:
        """Close the accounts; return what goes on the topic."""
        for watch in self.pairs.values():
            watch.end(now)
        return self._drain()

    # What each type means

    def _take_ticker(self, found: Frame, frame: bytes, watch: PairWatch, at: float) -> None:
        if found.trade_id is not None:
            watch.trade(found.trade_id, at)
        if self._book:  # quotes of two kinds would mix
            return
        watch.present(at)
        watch.ticker(found.trade_id, seconds(found.time), at)
        _judge(watch, found.best_bid, found.best_ask)
        self._out.append((self._keys[watch.pair], frame))

    def _take_match(self, found: Frame, _frame: bytes, watch: PairWatch, at: float) -> None:
        if found.trade_id is None:
            raise BadFrameError("malformed")
        watch.trade(found.trade_id, at)
        if found.type == "match":  # last_match may be old
            watch.skew(seconds(found.time), at)

    def _take_heartbeat(self, found: Frame, _frame: bytes, watch: PairWatch, at: float) -> None:
        watch.heartbeat(found.last_trade_id, at)
        watch.skew(seconds(found.time), at)

    def _take_snapshot(self, found: Frame, _frame: bytes, watch: PairWatch, at: float) -> None:
        if not isinstance(found, BookFrame):
            return
        self._books.pop(watch.pair, None)  # nothing is better than a wrong one
        self._published.pop(watch.pair, None)
        self._books[watch.pair] = OrderBook(found.bids, found.asks)
        self.bookless.discard(watch.pair)
        # A snapshot tells no time of its own, and the next update may take minutes.
        event = seconds(found.time)
        self._quote(watch, _as_time(at) if event is None else found.time, at, event)

    def _take_update(self, found: Frame, _frame: bytes, watch: PairWatch, at: float) -> None:
        if not isinstance(found, BookFrame):
            return
        book = self._books.get(watch.pair)
        if book is None:
            self.bookless.add(watch.pair)
            raise BadFrameError("update without snapshot")
        event = seconds(found.time)
        if event is None:
            raise BadFrameError("malformed")
        watch.skew(event, at)
        try:
            book.apply(found.changes)
        finally:  # what came before a change that is none counts
            self._quote(watch, found.time, at, event)

    def _quote(self, watch: PairWatch, time: str, at: float, event: float | None = None) -> None:
        """Publish the best bid and ask of a pair, if either is new."""
        bid, ask = self._books[watch.pair].best()
        if bid is None or ask is None:
            return
        prices = bid.price, ask.price
        if self._published.get(watch.pair) == prices:
            return
        self._published[watch.pair] = prices
        watch.present(at)
        watch.quote(seconds(time) if event is None else event, at)
        _judge(watch, *prices)
        self._out.append((self._keys[watch.pair], _as_quote(watch.pair, bid, ask, time)))

    def _take_other(self, kind: str, frame: bytes) -> None:
        if kind == "error":
            self.refusals.append(messages.refusal(frame))
        elif kind == "status":
            self.products = messages.products(frame) or self.products
        elif kind == "subscriptions":
            self.subscribed = messages.subscribed(frame, BOOK_CHANNELS if self._book else TICKER_CHANNELS)
        else:
            self.passed_over["unknown type"] += 1

    # Around

    def _stranger(self, pair: str) -> PairWatch:
        if not is_pair(pair):
            raise BadFrameError("malformed")
        if not self._open_to_all or len(self.pairs) >= MOST_PAIRS:
            raise BadFrameError("not asked for")
        return self._add(pair)

    def _add(self, pair: str) -> PairWatch:
        watch = self.pairs[pair] = PairWatch(pair, self._tell)
        self._keys[pair] = pair.encode()
        return watch

    def _tell(self, gap: Gap) -> None:
        self._out.append(encode(gap))
        self._on_gap(gap)

    def _check(self, now: float) -> None:
        self._next_check = now + CHECK_S
        for watch in self.pairs.values():
            watch.settle(now)
            if watch.silent(now):
                self._lose(watch, Kind.SILENCE, now)

    def _lose(self, watch: PairWatch, kind: Kind, now: float) -> None:
        watch.lost(kind, now)
        self._books.pop(watch.pair, None)
        self._published.pop(watch.pair, None)

    def _drain(self) -> list[Message]:
        out, self._out = self._out, []
        return out


_REASONS = {"not asked for", "update without snapshot"}
_TAKE = {
    "ticker": Feed._take_ticker,
    "match": Feed._take_match,
    "last_match": Feed._take_match,
    "heartbeat": Feed._take_heartbeat,
    "snapshot": Feed._take_snapshot,
    "l2update": Feed._take_update,
}


def _judge(watch: PairWatch, bid_text: str, ask_text: str) -> None:
    bid, ask = number(bid_text), number(ask_text)
    if bid is not None and ask is not None and bid >= ask:
        if bid > ask:
            watch.quality.crossed += 1
        else:
            watch.quality.locked += 1


def _as_time(at: float) -> str:
    return iso(from_seconds(at), timespec="microseconds")


def _as_quote(pair: str, bid: Best, ask: Best, time: str) -> bytes:
    """Return a quote in the wire format. All parts are digits and such, so nothing has to be escaped."""
    return (
        f'{{"type":"quote","product_id":"{pair}","best_bid":"{bid.price}","best_bid_size":"{bid.size}",'
        f'"best_ask":"{ask.price}","best_ask_size":"{ask.size}","time":"{time}"}}'
    ).encode()
