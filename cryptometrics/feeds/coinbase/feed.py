"""What the feeds of Coinbase share: frames in, messages for the topic out, for a socket and for a recording.

A feed of one protocol decodes its frames and calls what is here: the continuity of each pair, its order book,
gap records in order with the quotes, and what the client handles. Pure.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from cryptometrics.feeds.coinbase.book import OrderBook
from cryptometrics.feeds.coinbase.continuity import Continuity
from cryptometrics.feeds.coinbase.values import BadFrameError, number, seconds
from cryptometrics.market import quote_message
from cryptometrics.market.gap_records import Gap, GapKind, encode
from cryptometrics.market.ticks import is_pair
from cryptometrics.market.venues import DEFAULT_VENUE
from cryptometrics.times import from_seconds, iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cryptometrics.feeds.coinbase.values import Level, Refusal
    from cryptometrics.feeds.quality import Quality
    from cryptometrics.kafka.publisher import Message

CHECK_S = 1.0
"""Seconds between two searches for missing trades and silent pairs."""
MAX_PAIRS = 10_000
"""Pairs of a recording."""

_NOTHING: list[Message] = []


class CoinbaseFeed(ABC):
    """Follows the pairs of one run, over any number of connections."""

    venue: str
    """The venue of its quotes."""
    reasons: ClassVar[frozenset[str]]
    """Reasons for which this protocol's frames are ignored; any other one counts as malformed."""

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
        """Errors from the exchange; the client removes each one that it handles."""
        self.subscribed: set[str] | None = None
        """Pairs of the newest confirmed subscription; the client resets it after handling it."""
        self.broken: dict[int, str] = {}
        """Connections to reopen, with the reason; the client removes each one that it handles."""

    @property
    def quality(self) -> dict[str, Quality]:
        """Pair → the quality of its data."""
        return {pair: continuity.quality for pair, continuity in self.pairs.items()}

    # The protocol

    @property
    @abstractmethod
    def proves(self) -> bool:
        """Whether the feed can prove that it misses nothing that it sends."""

    @abstractmethod
    def subscriptions(self, pairs: list[str]) -> list[str]:
        """Return the requests that subscribe these pairs, in order."""

    @abstractmethod
    def products_request(self) -> str:
        """Return the request for the list of all products."""

    @abstractmethod
    def products_in(self, frame: bytes) -> list[str]:
        """Return the ids of all products if a frame lists them, else none."""

    @abstractmethod
    def shifted(self, frame: bytes, clock: Callable[[float], float]) -> bytes:
        """Return a frame with its event time mapped by `clock`."""

    @abstractmethod
    def _use(self, frame: bytes, at: float, connection: int) -> None:
        """Decode a frame and use it; raise BadFrameError if it is malformed or not wanted."""

    # Frames

    def take(self, frame: bytes, at: float, connection: int = 0) -> list[Message]:
        """Take a frame received at this time over this connection; return the messages that it causes.

        Any frame is used, or ignored and counted; nothing is raised.
        """
        self.frames += 1
        if at >= self._next_check:
            self._check(at)
        try:
            self._use(frame, at, connection)
        except BadFrameError as error:
            self._ignore(error, at)
        return self._drain() if self._out else _NOTHING

    def check(self, now: float) -> list[Message]:
        """Look for missing trades and silent pairs while no frames come; return the messages."""
        if now >= self._next_check:
            self._check(now)
        return self._drain()

    def lost(
        self,
        pairs: Iterable[str],
        kind: GapKind,
        now: float,
        connection: int = 0,  # noqa: ARG002  (for a protocol that numbers the frames of a connection)
    ) -> list[Message]:
        """Record that these pairs are no longer received over this connection; return the messages."""
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

    def _ignore(self, error: BadFrameError, at: float) -> None:
        """Count what is ignored, and drop the books that it may have changed."""
        self.ignored[error.args[0] if error.args[0] in self.reasons else "malformed"] += 1
        if self._book and error.books != ():
            self._drop_books(error.books, at)

    # Order books

    def _take_snapshot(
        self, continuity: Continuity, bids: Iterable[Level], asks: Iterable[Level], time: str, at: float
    ) -> None:
        try:
            self._books[continuity.pair] = OrderBook(bids, asks)
        except BadFrameError as error:
            raise BadFrameError(str(error), (continuity.pair,)) from None
        self._published.pop(continuity.pair, None)
        self.bookless.discard(continuity.pair)
        self._quote(continuity, time, at)

    def _take_update(self, continuity: Continuity, changes: Iterable[Level], time: str, at: float) -> None:
        book = self._books.get(continuity.pair)
        if book is None:
            self.bookless.add(continuity.pair)
            raise BadFrameError("update without snapshot")
        continuity.quality.skew(seconds(time), at)
        try:
            book.apply(changes)
        except BadFrameError as error:
            raise BadFrameError(str(error), (continuity.pair,)) from None
        self._quote(continuity, time, at)

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
        venue = None if self.venue == DEFAULT_VENUE else self.venue
        message = quote_message.encode(continuity.pair, bid, ask, time, venue=venue)
        self._out.append((self._keys[continuity.pair], message))

    # Pairs and gaps

    def _continuity(self, pair: str) -> Continuity:
        """Return the continuity of a pair; raise BadFrameError for a pair that is not followed."""
        return self.pairs.get(pair) or self._add_unknown(pair)

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
        if gap.kind is GapKind.START:
            gap = replace(gap, proves=self.proves)
        gap = replace(gap, venue=self.venue)
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
