"""Decompress a file of gzip members piece by piece, and skip the members that are damaged."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK_BYTES = 256 * 1024
"""Size of a read, and of its decompressed parts."""
MAX_CHECKED_BYTES = 4 * 1024 * 1024
"""Size up to which a gzip member is held back until its checksum is verified; a longer one is streamed."""

GZIP = b"\x1f\x8b\x08"
"""How a member begins."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of a recording that cannot be read: from `begin` up to, not including, `end`."""

    path: Path
    begin: int
    end: int

    def __str__(self) -> str:
        return f"{self.path}: bytes {self.begin:,} to {self.end:,} are damaged and were skipped"


def unpacked(file: IO[bytes], path: Path) -> Iterator[bytes | Damage]:
    """Yield the text of each gzip member, and where a damaged one is skipped; zeros may lie between them.

    Raises EOFError, after everything that can be decompressed, if the file is truncated. (The standard
    library's reader would lose the last part, and everything after damage.)
    """
    source = _Source(file)
    while source.skip_zeros():
        begin, packed, checked, size = source.at, zlib.decompressobj(wbits=31), list[bytes](), 0
        while not packed.eof:
            if not (data := source.data()):
                yield from checked
                raise EOFError
            try:
                text = packed.decompress(data, CHUNK_BYTES)
            except zlib.error:
                source.skip_to_member(after=begin)
                yield Damage(path, begin, source.at)
                break
            source.consumed(len(data) - len(packed.unconsumed_tail) - len(packed.unused_data))
            size += len(text)
            checked.append(text)
            if size > MAX_CHECKED_BYTES or packed.eof:
                yield from checked
                checked.clear()


class _Source:
    """Reads a file in chunks; a consumer takes as much of a chunk as it can use."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._chunk = memoryview(b"")
        self.at = 0
        """The offset in the file of what is not consumed yet."""

    def data(self) -> memoryview:
        """Return what is not consumed of the current chunk, or the next chunk; nothing at the end."""
        if not self._chunk:
            self._chunk = memoryview(self._file.read(CHUNK_BYTES))
        return self._chunk

    def consumed(self, count: int) -> None:
        self._chunk = self._chunk[count:]
        self.at += count

    def skip_zeros(self) -> bool:
        """Skip zero bytes; return whether anything follows."""
        while data := self.data():
            zeros = len(data) - len(bytes(data).lstrip(b"\0"))
            self.consumed(zeros)
            if zeros < len(data):
                return True
        return False

    def skip_to_member(self, *, after: int) -> None:
        """Skip to the next possible beginning of a member after this offset, or to the end."""
        self.consumed(max(after + 1 - self.at, 0))
        while data := self.data():
            found = bytes(data).find(GZIP)
            if found >= 0:
                self.consumed(found)
                return
            keep = min(len(GZIP) - 1, len(data))  # the chunk may end in the middle of a beginning
            tail = bytes(data[len(data) - keep :])
            self.consumed(len(data) - keep)
            more = self._file.read(CHUNK_BYTES)
            if not more:
                self.consumed(keep)
                return
            self._chunk = memoryview(tail + more)
