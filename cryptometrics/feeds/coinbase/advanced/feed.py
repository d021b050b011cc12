"""The feed of Coinbase Advanced Trade: tickers, or quotes rebuilt from the order book. Pure.

The exchange numbers the frames of a connection, control frames included. A missing number proves a loss, and
unbroken numbers prove that nothing is missing. A missing frame may concern any pair of the connection.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, ClassVar

from cryptometrics.feeds.coinbase.advanced import messages
from cryptometrics.feeds.coinbase.feed import CoinbaseFeed
from cryptometrics.feeds.coinbase.values import BadFrameError, number, product_in, refusal, seconds
from cryptometrics.market.gap_records import GapKind
from cryptometrics.times import from_seconds, iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cryptometrics.feeds.coinbase.advanced.messages import BookEvent, Envelope, Ticker
    from cryptometrics.feeds.coinbase.continuity import Continuity
    from cryptometrics.kafka.publisher import Message
    from cryptometrics.market.gap_records import Gap


class AdvancedFeed(CoinbaseFeed):
    """All pairs of a connection share one proof: the numbers of its frames."""

    venue = "coinbase-advanced"
    reasons: ClassVar = frozenset(
        {"not asked for", "update without snapshot", "no sequence number", "unknown channel"}
    )

    def __init__(
        self,
        pairs: Iterable[str] | None,
        *,
        book: bool = False,
        on_gap: Callable[[Gap], None] = lambda _: None,
    ) -> None:
        """Follow these pairs only; None: every pair that comes. on_gap: called with each gap."""
        super().__init__(pairs, book=book, on_gap=on_gap)
        self._next: dict[int, int] = {}
        """Connection → the number of its next frame."""
        self._heard: dict[int, float] = {}
        """Connection → when its last frame came: it speaks for all pairs of the connection."""
        self._members: dict[int, set[str]] = defaultdict(set)
        """Connection → the pairs that come over it."""

    # The protocol

    @property
    def proves(self) -> bool:
        """Return True: every frame has a number."""
        return True

    @property
    def _channel(self) -> str:
        return messages.BOOK_CHANNEL if self._book else "ticker"

    def subscriptions(self, pairs: list[str]) -> list[str]:
        """Return one request for each channel; without heartbeats, a quiet channel would be closed."""
        return [messages.subscribe("heartbeats", []), messages.subscribe(self._channel, pairs)]

    def products_request(self) -> str:
        """Return the request for the list of all products."""
        return messages.subscribe("status", [])

    def products_in(self, frame: bytes) -> list[str]:
        """Return the ids of all products if a frame lists them, else none."""
        return messages.products(frame)

    def shifted(self, frame: bytes, clock: Callable[[float], float]) -> bytes:
        """Return a frame with its event time mapped by `clock`."""
        return messages.shifted(frame, clock)

    # Connections

    def lost(self, pairs: Iterable[str], kind: GapKind, now: float, connection: int = 0) -> list[Message]:
        """Record that these pairs are no longer received over this connection; return the messages."""
        lost = list(pairs)
        self._hear_all(connection)
        self._members[connection] -= set(lost)
        if not self._members[connection]:  # the next frame belongs to a new connection
            self._next.pop(connection, None)
        return super().lost(lost, kind, now)

    def end(self, now: float) -> list[Message]:
        """Report the gaps that are certain at the end; return the messages."""
        for connection in self._heard:
            self._hear_all(connection)
        return super().end(now)

    def _is_next(self, sequence: int, at: float, connection: int) -> bool:
        """Count a frame; if it does not follow the last one, every pair of the connection has a gap.

        The first frame may have any number: what came before it, no pair had been received.
        """
        expected = self._next.get(connection, sequence)
        if sequence == expected:
            self._next[connection] = sequence + 1
            self._heard[connection] = at
            return True
        del self._next[connection]
        self.broken[connection] = f"frame {sequence} came instead of {expected}"
        self.ignored["out of sequence"] += 1
        self._hear_all(connection)
        for pair in sorted(self._members[connection]):
            self._lose(self.pairs[pair], GapKind.MISSED, at)
        return False

    def _hear_all(self, connection: int) -> None:
        """Record for each pair of a connection when its last frame came."""
        for pair in self._members[connection]:
            self.pairs[pair].quality.heard(self._heard[connection])

    def _join(self, pair: str, connection: int) -> Continuity:
        """Return the continuity of a pair that comes over a connection."""
        continuity = self._continuity(pair)
        self._members[connection].add(pair)
        return continuity

    # Frames

    def _use(self, frame: bytes, at: float, connection: int) -> None:
        try:
            envelope = messages.decode(frame)
        except BadFrameError:
            sequence = messages.sequence(frame, None)
            if sequence is None or self._is_next(sequence, at, connection):
                self._miss_tickers(frame, b'"ticker"' in frame, at, connection)
                raise
            return
        sequence = messages.sequence(frame, envelope)
        if sequence is not None and not self._is_next(sequence, at, connection):
            return
        if envelope.type == "error":
            self.refusals.append(refusal(frame))
        elif sequence is None:
            self._miss_tickers(frame, envelope.channel == "ticker", at, connection)
            raise BadFrameError("no sequence number", messages.books_in(frame))
        elif envelope.channel == "heartbeats":
            self._take_heartbeat(envelope, at, connection)
        elif envelope.channel == "subscriptions":
            self._take_subscriptions(envelope, connection)
        elif envelope.channel == "ticker":
            self._take_tickers(frame, envelope, at, connection)
        elif envelope.channel in {"l2_data", "level2"}:
            self._take_books(frame, envelope, at, connection)
        else:
            raise BadFrameError("unknown channel")

    def _take_heartbeat(self, envelope: Envelope, at: float, connection: int) -> None:
        event = seconds(envelope.timestamp)
        for pair in self._members[connection]:
            continuity = self.pairs[pair]
            if self._book and pair not in self._books:
                continuity.heartbeat_at = at  # the pair has no quote before its snapshot comes
            else:
                continuity.heartbeat(None, at)
            continuity.quality.skew(event, at)
            continuity.quality.heard(at)

    def _take_subscriptions(self, envelope: Envelope, connection: int) -> None:
        self.subscribed = messages.subscribed(envelope, self._channel)
        for pair in sorted(self.subscribed or ()):
            try:
                self._join(pair, connection)
            except BadFrameError:  # a replay of some pairs only
                continue

    def _take_tickers(self, frame: bytes, envelope: Envelope, at: float, connection: int) -> None:
        try:
            tickers = list(messages.tickers(envelope))
        except BadFrameError:
            self._miss_tickers(frame, True, at, connection)
            raise
        for ticker in tickers:
            try:
                self._take_ticker(ticker, envelope.timestamp, at, connection)
            except BadFrameError as error:
                self._ignore(error, at)

    def _take_ticker(self, ticker: Ticker, time: str, at: float, connection: int) -> None:
        continuity = self._join(ticker.product_id, connection)
        if self._book:  # a stream has quotes of one kind only
            return
        event = seconds(time)
        if event is None:
            time = iso(from_seconds(at), timespec="microseconds")
        message = messages.encode_ticker(ticker, time, self.venue)
        continuity.present(at)
        continuity.quality.ticker(None, event, at)
        bid, ask = messages.text(ticker.best_bid), messages.text(ticker.best_ask)
        continuity.quality.prices(number(bid), number(ask))
        continuity.quality.heard(at)
        self._out.append((self._keys[continuity.pair], message))

    def _take_books(self, frame: bytes, envelope: Envelope, at: float, connection: int) -> None:
        if not self._book:
            raise BadFrameError("not asked for")
        for event in messages.books(frame, envelope):
            try:
                self._take_book(event, envelope.timestamp, at, connection)
            except BadFrameError as error:
                self._ignore(error, at)

    def _take_book(self, event: BookEvent, time: str, at: float, connection: int) -> None:
        continuity = self._join(event.product_id, connection)
        if event.type == "snapshot":
            bids, asks = event.levels("bid"), event.levels("offer")
            if len(bids) + len(asks) < len(event.updates):
                raise BadFrameError("a level without a known side", (event.product_id,))
            self._take_snapshot(continuity, bids, asks, time, at)
        elif event.type == "update":
            self._take_update(continuity, event.changes(), time, at)
        else:
            raise BadFrameError("neither snapshot nor update", (event.product_id,))
        continuity.quality.heard(at)

    def _miss_tickers(self, frame: bytes, is_ticker: bool, at: float, connection: int) -> None:
        """Report a gap for the pairs whose tickers came in a frame that cannot be read."""
        if self._book or not is_ticker:
            return
        named = product_in(frame)
        for pair in sorted(self._members[connection]) if named is None else named:
            if pair in self.pairs and self.pairs[pair].is_up:
                continuity = self.pairs[pair]
                continuity.report(GapKind.UNREADABLE, continuity.quality.heard_before(at), at)
