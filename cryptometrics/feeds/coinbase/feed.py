"""Coinbase frames in, messages for the topic out: the same for the live socket and for a recording. Pure.

Tickers are published byte for byte, or quotes are rebuilt from the order book; gap records come in order with
them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from cryptometrics.feeds.coinbase import BOOK_CHANNELS, TICKER_CHANNELS, messages
from cryptometrics.feeds.coinbase.book import OrderBook
from cryptometrics.feeds.coinbase.continuity import Continuity
from cryptometrics.feeds.coinbase.messages import BadFrameError, BookFrame, number, seconds
from cryptometrics.market import quote_message
from cryptometrics.market.gap_records import Gap, GapKind, encode
from cryptometrics.market.ticks import is_pair
from cryptometrics.times import from_seconds, iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cryptometrics.feeds.coinbase.messages import Frame, Refusal
    from cryptometrics.feeds.quality import Quality
    from cryptometrics.kafka.publisher import Message

CHECK_S = 1.0
"""Seconds between two searches for missing trades and silent pairs."""
MAX_PAIRS = 10_000
"""Pairs of a recording."""

_NOTHING: list[Message] = []


class CoinbaseFeed:
    """Follows the pairs of one run, over any number of connections."""

    def __init__(
        self,
        pairs: Iterable[str] | None,
        *,
        book: bool = False,
        on_gap: Callable[[Gap], None] = lambda _: None,
    ) -> None:
        """Follow these pairs only; None: every pair that comes. on_gap: called with each gap."""
        self._open_to_all = pairs is None
        self._book = book
        self._on_gap = on_gap
        self._out: list[Message] = []
        self._next_check = 0.0
        self.pairs: dict[str, Continuity] = {}
        self._books: dict[str, OrderBook] = {}
        self._published: dict[str, tuple[str, str]] = {}
        """Pair → best bid and ask published last."""
        self.bookless: set[str] = set()
        """Pairs with updates but without a book: they need a new snapshot."""
        self._unreadable_since: dict[str, float] = {}
        """Pairs whose book was dropped because a frame could not be read, and when."""
        self._keys: dict[str, bytes] = {}
        for pair in pairs or ():
            self._add(pair)
        self.frames = 0
        self.ignored: Counter[str] = Counter()
        """Frames without use, by reason."""
        self.refusals: list[Refusal] = []
        """Errors from the exchange; whoever handles one removes it."""
        self.subscribed: set[str] | None = None
        """Pairs of the newest confirmed subscription; whoever handles it resets it."""
        self.products: list[str] = []
        """All products of the exchange, once it has sent them."""

    @property
    def quality(self) -> dict[str, Quality]:
        """Pair → the quality of its data."""
        return {pair: continuity.quality for pair, continuity in self.pairs.items()}

    # Frames

    def take(self, frame: bytes, at: float) -> list[Message]:
        """Take a frame received at this time; return the messages that it causes.

        Any frame is used, or ignored and counted; nothing is raised.
        """
        self.frames += 1
        if at >= self._next_check:
            self._check(at)
        try:
            found = messages.decode(frame, book=self._book)
            take = _TAKE.get(found.type)
            if take is not None:
                continuity = self.pairs.get(found.product_id) or self._add_unknown(found.product_id)
                take(self, found, frame, continuity, at)
                continuity.quality.heard(at)
            else:
                self._take_other(found.type, frame)
        except BadFrameError as error:
            self.ignored[error.args[0] if error.args[0] in _REASONS else "malformed"] += 1
            if self._book and error.books != ():
                self._drop_books(error.books, at)
        return self._drain() if self._out else _NOTHING

    def check(self, now: float) -> list[Message]:
        """Look for missing trades and silent pairs while no frames come; return the messages."""
        if now >= self._next_check:
            self._check(now)
        return self._drain()

    def lost(self, pairs: Iterable[str], kind: GapKind, now: float) -> list[Message]:
        """Record that these pairs are no longer received; return the messages."""
        for pair in pairs:
            if pair in self.pairs:
                self._lose(self.pairs[pair], kind, now)
        return self._drain()

    def end(self, now: float) -> list[Message]:
        """Report the gaps that are certain at the end; return the messages."""
        for continuity in self.pairs.values():
            self._end_unreadable(continuity, now)
            continuity.end(now)
        return self._drain()

    def shifted(self, frame: bytes, clock: Callable[[float], float]) -> bytes:
        """Return a frame with its event time mapped by `clock`."""
        return messages.shifted(frame, clock)

    # Types of frames

    def _take_ticker(self, found: Frame, frame: bytes, continuity: Continuity, at: float) -> None:
        if found.trade_id is not None:
            continuity.trade(found.trade_id, at, stored=not self._book)
        if self._book:  # a stream has quotes of one kind only
            return
        continuity.present(at)
        continuity.quality.ticker(found.trade_id, seconds(found.time), at)
        continuity.quality.prices(number(found.best_bid), number(found.best_ask))
        self._out.append((self._keys[continuity.pair], frame))

    def _take_match(self, found: Frame, _frame: bytes, continuity: Continuity, at: float) -> None:
        if found.trade_id is None:
            raise BadFrameError("malformed")
        continuity.trade(found.trade_id, at, stored=self._book)
        if found.type == "match":  # last_match may be old
            continuity.quality.skew(seconds(found.time), at)

    def _take_heartbeat(self, found: Frame, _frame: bytes, continuity: Continuity, at: float) -> None:
        continuity.heartbeat(found.last_trade_id, at)
        continuity.quality.skew(seconds(found.time), at)

    def _take_snapshot(self, found: Frame, _frame: bytes, continuity: Continuity, at: float) -> None:
        if not isinstance(found, BookFrame):
            return
        try:
            self._books[continuity.pair] = OrderBook(found.bids, found.asks)
        except BadFrameError as error:
            raise BadFrameError(str(error), (continuity.pair,)) from None
        self._published.pop(continuity.pair, None)
        self.bookless.discard(continuity.pair)
        self._quote(continuity, found.time, at)

    def _take_update(self, found: Frame, _frame: bytes, continuity: Continuity, at: float) -> None:
        if not isinstance(found, BookFrame):
            return
        book = self._books.get(continuity.pair)
        if book is None:
            self.bookless.add(continuity.pair)
            raise BadFrameError("update without snapshot")
        continuity.quality.skew(seconds(found.time), at)
        try:
            book.apply(found.changes)
        except BadFrameError as error:
            raise BadFrameError(str(error), (continuity.pair,)) from None
        self._quote(continuity, found.time, at)

    def _drop_books(self, pairs: tuple[str, ...] | None, at: float) -> None:
        """Drop the books that an unreadable frame may have changed: their quotes are no longer known."""
        for pair in list(self._books) if pairs is None else pairs:
            if pair in self.pairs:
                self._books.pop(pair, None)
                self._published.pop(pair, None)
                self.bookless.add(pair)
                self.pairs[pair].quality.has_quote = False
                self._unreadable_since.setdefault(pair, at)

    def _end_unreadable(self, continuity: Continuity, at: float) -> None:
        """Report the gap that an unreadable frame began, now that it ends."""
        since = self._unreadable_since.pop(continuity.pair, None)
        if since is not None:
            continuity.report(GapKind.UNREADABLE, since, at)

    def _quote(self, continuity: Continuity, time: str, at: float) -> None:
        """Publish the best bid and ask of a pair if either is new.

        A frame without a valid time counts with its time of receipt: the next update may take minutes.
        """
        bid, ask = self._books[continuity.pair].best()
        if bid is None or ask is None:
            return
        prices = bid.price, ask.price
        if self._published.get(continuity.pair) == prices:
            return
        self._published[continuity.pair] = prices
        event = seconds(time)
        if event is None:
            time = iso(from_seconds(at), timespec="microseconds")
        self._end_unreadable(continuity, at)
        continuity.present(at)
        continuity.quality.quote(event, at)
        continuity.quality.prices(number(bid.price), number(ask.price))
        self._out.append((self._keys[continuity.pair], quote_message.encode(continuity.pair, bid, ask, time)))

    def _take_other(self, kind: str, frame: bytes) -> None:
        if kind == "error":
            self.refusals.append(messages.refusal(frame))
        elif kind == "status":
            self.products = messages.products(frame) or self.products
        elif kind == "subscriptions":
            self.subscribed = messages.subscribed(frame, BOOK_CHANNELS if self._book else TICKER_CHANNELS)
        else:
            self.ignored["unknown type"] += 1

    # Pairs and gaps

    def _add_unknown(self, pair: str) -> Continuity:
        if not is_pair(pair):
            raise BadFrameError("malformed")
        if not self._open_to_all or len(self.pairs) >= MAX_PAIRS:
            raise BadFrameError("not asked for")
        return self._add(pair)

    def _add(self, pair: str) -> Continuity:
        continuity = self.pairs[pair] = Continuity(pair, self._report)
        self._keys[pair] = pair.encode()
        return continuity

    def _report(self, gap: Gap) -> None:
        self._out.append(encode(gap))
        self._on_gap(gap)

    def _check(self, now: float) -> None:
        self._next_check = now + CHECK_S
        for continuity in self.pairs.values():
            continuity.settle(now)
            if continuity.silent(now):
                self._lose(continuity, GapKind.SILENCE, now)

    def _lose(self, continuity: Continuity, kind: GapKind, now: float) -> None:
        self._end_unreadable(continuity, now)  # the gap that follows begins here
        continuity.lost(kind, now)
        self._books.pop(continuity.pair, None)
        self._published.pop(continuity.pair, None)

    def _drain(self) -> list[Message]:
        out, self._out = self._out, []
        return out


_REASONS = {"not asked for", "update without snapshot"}
_TAKE = {
    "ticker": CoinbaseFeed._take_ticker,
    "match": CoinbaseFeed._take_match,
    "last_match": CoinbaseFeed._take_match,
    "heartbeat": CoinbaseFeed._take_heartbeat,
    "snapshot": CoinbaseFeed._take_snapshot,
    "l2update": CoinbaseFeed._take_update,
}
