"""The file format of recordings: one JSON object per line, `rx` the time of receipt, `frame` the frame.

A frame that is not JSON is stored as `raw`, in base64. When pairs are lost, a line has `lost`, the reason.
Each block is a complete gzip member, so that a kill loses only the last moment.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import gzip
import io
import os
import re
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Literal

import msgspec

from cryptometrics.errors import CryptometricsError, UserError
from cryptometrics.market.gap_records import GapKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

BLOCK_BYTES = 256 * 1024
"""Maximum of text in a block."""
BLOCK_S = 1.0
"""Maximum of seconds in a block: what a kill may lose."""
ROTATE_BYTES = 256 * 1024 * 1024
"""Size of a file at which the next one is started."""
LEVEL = 3
"""Compression level: higher ones take much more time and save little."""
CHUNK_BYTES = 256 * 1024
"""Size of a read, and of its decompressed parts."""
MAX_FRAME_BYTES = 8 * 1024 * 1024
"""Limit of a feed's frames: a longer one ends its connection. A large order book takes 2 MiB."""
MAX_LINE_BYTES = 2 * MAX_FRAME_BYTES
MAX_RECEIPT = 4_102_444_800.0
"""Upper bound of a plausible time of receipt: the year 2100."""

_GZIP = b"\x1f\x8b"
_line_breaks = re.compile(rb"[\r\n]+")


class _RecordedLine(msgspec.Struct, gc=False):
    rx: float
    frame: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    raw: str | None = None
    lost: Literal["down", "silence", "overflow"] | None = None
    pairs: list[str] | None = None


@dataclass(frozen=True, slots=True)
class LostPairs:
    """Pairs that were lost at this point of a recording."""

    pairs: list[str]
    kind: GapKind


_read_line = msgspec.json.Decoder(_RecordedLine).decode
_is_json = msgspec.json.Decoder(msgspec.Raw).decode


class Recorder:
    """Writes a recording; must be closed."""

    def __init__(self, path: Path, rotate_bytes: int = ROTATE_BYTES) -> None:
        """Start a recording in `path`, with .gz appended, or in the next free number of that name.

        Raises UserError if no file can be created.
        """
        self._path = path if path.suffix == ".gz" else path.with_name(path.name + ".gz")
        self._rotate_bytes = rotate_bytes
        self._lines: list[bytes] = []
        self._bytes = 0
        self._since = 0.0
        self.files: list[Path] = []
        """All files of the recording; the last one is still being written."""
        try:
            self._file = self._next_file()
        except OSError as error:
            raise UserError(f"cannot record into {self._path}: {error.strerror}") from None

    def frame(self, at: float, frame: bytes) -> None:
        """Record a frame received at this time."""
        try:
            _is_json(frame)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._add(at, b'{"rx":%b,"raw":"%b"}\n' % (repr(at).encode(), base64.b64encode(frame)))
        else:
            if b"\n" in frame or b"\r" in frame:  # between tokens, where a space means the same
                frame = _line_breaks.sub(b" ", frame)
            self._add(at, b'{"rx":%b,"frame":%b}\n' % (repr(at).encode(), frame))

    def lost(self, at: float, pairs: Iterable[str], kind: GapKind) -> None:
        """Record that these pairs were lost at this time."""
        self._add(at, msgspec.json.encode({"rx": at, "lost": kind, "pairs": list(pairs)}) + b"\n")

    def flush(self, now: float) -> None:
        """Write the block if it is old enough."""
        if self._lines and now - self._since >= BLOCK_S:
            self._write()

    def close(self) -> None:
        """Write the rest and close the file."""
        if self._lines:
            self._write()
        self._file.close()

    def _add(self, at: float, line: bytes) -> None:
        if not self._lines:
            self._since = at
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes >= BLOCK_BYTES:
            self._write()

    def _write(self) -> None:
        """Write the block as one complete gzip member, or nothing of it."""
        try:
            self._append(gzip.compress(b"".join(self._lines), LEVEL))
            if self._file.tell() >= self._rotate_bytes:
                self._file.close()
                self._file = self._next_file()
        except OSError as error:
            raise CryptometricsError(f"cannot record into {self.files[-1]}: {error.strerror}") from None
        self._lines.clear()
        self._bytes = 0

    def _append(self, block: bytes) -> None:
        """Write a whole block; a nearly full disk may accept only a part in one call."""
        whole = self._file.tell()
        left = memoryview(block)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            with contextlib.suppress(OSError):  # half a block would make everything after it unreadable
                self._file.truncate(whole)
                self._file.seek(whole)
            raise

    def _next_file(self) -> io.FileIO:
        """Create the file of the next free number; existing files are never written to."""
        stem, number = self._path.name.removesuffix(".gz"), len(self.files) + 1
        stem, suffix = (stem[:-6], ".jsonl.gz") if stem.endswith(".jsonl") else (stem, ".gz")
        while True:
            path = self._path if number == 1 else self._path.with_name(f"{stem}-{number}{suffix}")
            try:
                file = io.FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w")
            except FileExistsError:
                number += 1
            else:
                self.files.append(path)
                return file


class Recording:
    """Reads recordings one after the other: plain or compressed, complete or truncated."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Raise UserError if one of them cannot be read."""
        self._paths = list(paths)
        self.unreadable = 0
        """Lines that do not have the format."""
        self.truncated: list[Path] = []
        """Truncated files: they end in the middle of a block."""
        self._before = 0
        self._now: io.BufferedReader | None = None
        try:
            self.bytes = sum(path.stat().st_size for path in self._paths)
            for path in self._paths:
                path.open("rb").close()
        except OSError as error:
            raise UserError(f"cannot read {error.filename}: {error.strerror}") from None

    @property
    def read(self) -> int:
        """Number of `bytes` read so far."""
        return self._before + (self._now.tell() if self._now is not None else 0)

    def lines(self) -> Iterator[tuple[float, bytes | LostPairs]]:
        """Yield each time of receipt with the frame or the lost pairs.

        Raises UserError for a file that is not a recording.
        """
        for path in self._paths:
            good = bad = 0
            for line in self._lines_of(path):
                try:
                    found = _read_line(line)
                    if not 0 <= found.rx <= MAX_RECEIPT:
                        raise ValueError(found.rx)  # noqa: TRY301
                    content = _content(found)
                except (ValueError, RecursionError, msgspec.DecodeError):
                    self.unreadable += 1
                    bad += 1
                    if not good and bad >= 10:
                        break
                    continue
                good += 1
                yield found.rx, content
            if not good:
                raise UserError(f'{path} is not a recording: none of its lines is {{"rx":…,"frame":…}}')

    def last_receipt(self) -> float:
        """Return when the last frame was received; 0 if there is none."""
        latest = 0.0
        for at, _ in self.lines():
            latest = max(latest, at)
        self._before = self.unreadable = 0
        self.truncated.clear()
        return latest

    def _lines_of(self, path: Path) -> Iterator[bytes]:
        with path.open("rb") as file:
            self._now = file
            try:
                rest = b""
                for text in _unpacked(file) if file.peek(2)[:2] == _GZIP else _plain(file):
                    *lines, rest = (rest + text).split(b"\n")
                    yield from lines
                    if len(rest) > MAX_LINE_BYTES:
                        rest = b""
                if rest:
                    yield rest
            except (EOFError, zlib.error):
                self.truncated.append(path)
            finally:
                self._before += file.tell()
                self._now = None


def _plain(file: IO[bytes]) -> Iterator[bytes]:
    while text := file.read(CHUNK_BYTES):
        yield text


def _unpacked(file: IO[bytes]) -> Iterator[bytes]:
    """Yield everything that can be decompressed; then raise EOFError if the file is truncated.

    The standard library's reader would lose the last part before the end of a truncated file.
    """
    packed = zlib.decompressobj(wbits=31)
    while data := file.read(CHUNK_BYTES):
        while data:
            yield packed.decompress(data, CHUNK_BYTES)
            data = packed.unconsumed_tail
            if packed.eof:  # the next block
                data, packed = packed.unused_data, zlib.decompressobj(wbits=31)
                fresh = not data
            else:
                fresh = False
    if not fresh:
        raise EOFError


def _content(line: _RecordedLine) -> bytes | LostPairs:
    if line.frame is not msgspec.UNSET:
        return bytes(line.frame)
    if line.raw is not None:
        try:
            return base64.b64decode(line.raw, validate=True)
        except binascii.Error:
            raise ValueError(line.raw) from None
    if line.lost is not None:
        return LostPairs(line.pairs or [], GapKind(line.lost))
    raise ValueError(line)
