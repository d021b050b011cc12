"""Remember the trades that a reader has read, to recognise those that the feed sends again. Pure.

A reader has no table to query. So of each market it keeps all trade ids, as ranges, and the times of the
newest trades: about 16 kB, however long it reads.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import msgspec

from cryptometrics.market.trade_ids import TradeIds
from cryptometrics.market.venues import Market

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_TRADE_TIMES = 1_000
"""Trades of a market whose times are kept; an older trade that comes again counts as a duplicate."""

_Packed = tuple[str, str, int, bytes, bytes]
"""A market as text, its trade ids and their floor, and of the newest trades the ids and the times."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Packed).decode


class Trades:
    """The trades of a market: all ids as ranges, and the times of the newest in microseconds since 1970."""

    __slots__ = ("ids", "times")

    def __init__(self, ids: TradeIds, times: Iterable[tuple[int, int]] = ()) -> None:
        self.ids = ids
        self.times: dict[int, set[int]] = {}
        """By trade id; several if the feed sent one id with different times."""
        self.add(times)

    def add(self, times: Iterable[tuple[int, int]]) -> None:
        """Add trade ids with their times."""
        for trade_id, time in times:
            self.times.setdefault(trade_id, set()).add(time)

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Yield trade ids with their times."""
        for trade_id, times in self.times.items():
            for time in times:
                yield trade_id, time


class TradeMemory:
    """The trades of all markets that were read so far. It changes only by `keep`."""

    def __init__(self, packed: Iterable[bytes] = ()) -> None:
        """packed: what `packed` returned."""
        self._markets: dict[Market, Trades] = {}
        self._packed: dict[Market, bytes] = {}
        """Of the markets that have not changed since they were packed."""
        for content in packed:
            text, ids, floor, numbers, times = _decode(content)
            market = Market.parse(text)
            newest = zip(array("q", numbers), array("q", times), strict=True)
            self._markets[market] = Trades(TradeIds(ids, floor), newest)
            self._packed[market] = content

    def packed(self) -> list[bytes]:
        """Return the memory in a form that can be stored, a part for each market."""
        for market in self._markets.keys() - self._packed.keys():
            trades = self._markets[market]
            pairs = list(trades.pairs())
            numbers = array("q", [trade_id for trade_id, _ in pairs])
            times = array("q", [time for _, time in pairs])
            self._packed[market] = _encode(
                (str(market), str(trades.ids), trades.ids.floor, numbers.tobytes(), times.tobytes())
            )
        return list(self._packed.values())

    def known(self, market: Market) -> Trades:
        """Return the trades of a market, which the caller must not change."""
        trades = self._markets.get(market)
        return Trades(TradeIds()) if trades is None else trades

    def keep(self, market: Market, news: Trades) -> None:
        """Add the trades read of a market."""
        self._packed.pop(market, None)
        trades = self._markets.setdefault(market, Trades(news.ids))
        trades.ids = news.ids
        newest = sorted(news.times)[-MAX_TRADE_TIMES:]
        trades.add((trade_id, time) for trade_id in newest for time in news.times[trade_id])
        excess = len(trades.times) - MAX_TRADE_TIMES
        if excess > 0:
            for trade_id in sorted(trades.times)[:excess]:
                del trades.times[trade_id]
