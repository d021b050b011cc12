"""The feed of Coinbase Exchange: tickers go on byte for byte, or quotes are rebuilt from the book. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from cryptometrics.feeds.coinbase.exchange import BOOK_CHANNELS, TICKER_CHANNELS, messages
from cryptometrics.feeds.coinbase.exchange.messages import BookFrame
from cryptometrics.feeds.coinbase.feed import CoinbaseFeed
from cryptometrics.feeds.coinbase.values import BadFrameError, number, refusal, seconds
from cryptometrics.market.venues import with_venue

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptometrics.feeds.coinbase.continuity import Continuity
    from cryptometrics.feeds.coinbase.exchange.messages import Frame


class ExchangeFeed(CoinbaseFeed):
    """Each pair has its own proof: trade ids, and heartbeats with the last one."""

    venue = "coinbase"
    reasons: ClassVar = frozenset({"not asked for", "update without snapshot"})

    @property
    def proves(self) -> bool:
        """Return True for tickers; updates of the order book have no number."""
        return not self._book

    @property
    def _channels(self) -> tuple[str, ...]:
        return BOOK_CHANNELS if self._book else TICKER_CHANNELS

    def subscriptions(self, pairs: list[str]) -> list[str]:
        """Return the one request that subscribes these pairs to all channels."""
        return [messages.subscribe(pairs, self._channels)]

    def products_request(self) -> str:
        """Return the request for the list of all products."""
        return messages.subscribe([], ("status",))

    def products_in(self, frame: bytes) -> list[str]:
        """Return the ids of all products if a frame lists them, else none."""
        return messages.products(frame)

    def shifted(self, frame: bytes, clock: Callable[[float], float]) -> bytes:
        """Return a frame with its event time mapped by `clock`."""
        return messages.shifted(frame, clock)

    def _use(self, frame: bytes, at: float, connection: int) -> None:  # noqa: ARG002  (pairs have numbers)
        found = messages.decode(frame, book=self._book)
        take = _TAKE.get(found.type)
        if take is not None:
            continuity = self.pairs.get(found.product_id) or self._add_unknown(found.product_id)
            take(self, found, frame, continuity, at)
            continuity.quality.heard(at)
        elif found.type == "error":
            self.refusals.append(refusal(frame))
        elif found.type == "subscriptions":
            self.subscribed = messages.subscribed(frame, self._channels)
        else:
            self.ignored["unknown type"] += 1

    def _ticker(self, found: Frame, frame: bytes, continuity: Continuity, at: float) -> None:
        if found.trade_id is not None:
            continuity.trade(found.trade_id, at, stored=not self._book)
        if self._book:  # a stream has quotes of one kind only
            return
        continuity.present(at)
        continuity.quality.ticker(found.trade_id, seconds(found.time), at)
        continuity.quality.prices(number(found.best_bid), number(found.best_ask))
        self._out.append((self._keys[continuity.pair], with_venue(frame, self.venue)))

    def _match(self, found: Frame, _frame: bytes, continuity: Continuity, at: float) -> None:
        if found.trade_id is None:
            raise BadFrameError("malformed")
        continuity.trade(found.trade_id, at, stored=self._book)
        if found.type == "match":  # last_match may be old
            continuity.quality.skew(seconds(found.time), at)

    def _heartbeat(self, found: Frame, _frame: bytes, continuity: Continuity, at: float) -> None:
        continuity.heartbeat(found.last_trade_id, at)
        continuity.quality.skew(seconds(found.time), at)

    def _snapshot(self, found: Frame, _frame: bytes, continuity: Continuity, at: float) -> None:
        if isinstance(found, BookFrame):
            self._take_snapshot(continuity, found.bids, found.asks, found.time, at)

    def _update(self, found: Frame, _frame: bytes, continuity: Continuity, at: float) -> None:
        if isinstance(found, BookFrame):
            self._take_update(continuity, found.changes, found.time, at)


_TAKE = {
    "ticker": ExchangeFeed._ticker,
    "match": ExchangeFeed._match,
    "last_match": ExchangeFeed._match,
    "heartbeat": ExchangeFeed._heartbeat,
    "snapshot": ExchangeFeed._snapshot,
    "l2update": ExchangeFeed._update,
}
