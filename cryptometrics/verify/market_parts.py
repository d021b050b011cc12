"""Store the results of each market in a temporary file, part by part, and read them back by market."""

from __future__ import annotations

import os
import pickle
import tempfile
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.verify.pair_rows import MarketKey

Part = TypeVar("Part")

MAX_IN_MEMORY = 16 * 1024 * 1024
"""Bytes of parts that are kept in memory; beyond it they go to the disk."""


class MarketParts(Generic[Part]):
    """Parts of all markets; must be closed."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(  # noqa: SIM115  (closed by `close`)
            MAX_IN_MEMORY, prefix="cryptometrics-verify-"
        )
        self._places: dict[MarketKey, list[int]] = {}

    def close(self) -> None:
        """Delete the parts."""
        self._file.close()

    @property
    def markets(self) -> list[MarketKey]:
        """The markets with parts, in the order of their bytes."""
        return sorted(self._places, key=lambda market: (market.venue.encode(), market.pair.encode()))

    def add(self, market: MarketKey, part: Part) -> None:
        """Add a part of a market."""
        self._file.seek(0, os.SEEK_END)
        self._places.setdefault(market, []).append(self._file.tell())
        pickle.dump(part, self._file, pickle.HIGHEST_PROTOCOL)

    def of(self, market: MarketKey) -> list[Part]:
        """Return the parts of a market, in the order in which they were added."""
        return [self._read(place) for place in self._places.get(market, [])]

    def __iter__(self) -> Iterator[Part]:
        """Yield all parts."""
        for places in self._places.values():
            for place in places:
                yield self._read(place)

    def _read(self, place: int) -> Part:
        self._file.seek(place)
        part: Part = pickle.load(self._file)  # noqa: S301  (written by `add`, to a file without a name)
        return part
