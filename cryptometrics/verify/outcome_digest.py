"""A fingerprint of outcomes with all their values, in any order and any number of parts. Pure.

Each outcome has a hash of 64 bits, and a fingerprint is their sum: so the fingerprints of two parts add up to
that of both. It finds what changed by mistake, and is no protection against someone who wants to deceive it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cryptometrics.verify.byte_words import Integers, Words
    from cryptometrics.verify.stored_outcomes import OutcomeRanges, RowSeries, StoredRows

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)
_SIZE = 8


class OutcomeDigest:
    """Adds up the hashes of some outcomes of a partition."""

    def __init__(self, before: bytes = bytes(_SIZE), end: int | None = None) -> None:
        """Begin with the fingerprint of earlier outcomes, and leave out offsets from `end` on."""
        self._sum = int.from_bytes(before, "big")
        self._end = end

    def add_rows(self, rows: StoredRows, series: Sequence[RowSeries]) -> None:
        """Add some rows."""
        names = np.array([text_hash("\0".join(each)) for each in series], np.uint64)
        hashes = _mixed(rows.offsets, rows.times, rows.trade_ids, rows.recorded, names[rows.series])
        for numbers in rows.numbers.values():
            hashes = _mix(hashes, numbers.significands * 8191 + numbers.weights)
            hashes = _mix(hashes, numbers.is_null)
            for row, (digits, place) in numbers.longer.items():
                hashes[row] ^= np.uint64(text_hash(f"{digits} {place}"))
        self._add(rows.offsets, hashes)

    def add_others(self, ranges: OutcomeRanges) -> None:
        """Add the outcomes that are no rows, with their details."""
        at = np.fromiter(ranges.details, np.int64, len(ranges.details))
        if len(at):
            texts = np.array([text_hash(text) for text in ranges.details.values()], np.uint64)
            firsts = ranges.firsts[at]
            columns = (firsts, ranges.lasts[at], ranges.outcomes[at], ranges.recorded[at], texts)
            self._add(firsts, _mixed(*columns))

    def value(self) -> bytes:
        """Return the fingerprint."""
        return self._sum.to_bytes(_SIZE, "big")

    def _add(self, offsets: Integers, hashes: Words) -> None:
        if self._end is not None:
            hashes = hashes[offsets < self._end]
        self._sum = (self._sum + int(hashes.sum(dtype=np.uint64))) % 2 ** (8 * _SIZE)


def text_hash(text: str) -> int:
    """Return a hash of a text that is the same in every process."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:_SIZE], "big")


def _mixed(*columns: Integers | Words) -> Words:
    hashes = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        hashes = _mix(hashes, column)
    return hashes


def _mix(hashes: Words, column: Integers | Words | NDArray[np.bool_]) -> Words:
    hashes = (hashes ^ column.astype(np.uint64)) * _FACTOR
    mixed: Words = hashes ^ (hashes >> _SHIFT)
    return mixed
