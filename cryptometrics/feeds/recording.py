"""The file format of recordings: one JSON object per line, `rx` the time of receipt, `frame` the frame.

A frame that is not JSON is stored as `raw`, in base64. When pairs are lost, a line has `lost`, the reason.
Each block is a complete gzip member, so that a kill loses only the last moment, and damage only its block.
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
from typing import IO, TYPE_CHECKING, Literal, NamedTuple

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

MAX_CHECKED_BYTES = 4 * 1024 * 1024
"""Size up to which a gzip member is held back until its checksum is verified; a longer one is streamed."""

_GZIP = b"\x1f\x8b\x08"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
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


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of a recording that cannot be read: from `begin` up to, not including, `end`."""

    path: Path
    begin: int
    end: int

    def __str__(self) -> str:
        return f"{self.path}: bytes {self.begin:,} to {self.end:,} are damaged and were skipped"


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
        self._has_frames = False
        self.files: list[Path] = []
        """All files of the recording; the last one is still being written."""
        try:
            self._file = self._next_file()
        except OSError as error:
            raise UserError(f"cannot record into {self._path}: {error.strerror}") from None

    def frame(self, at: float, frame: bytes) -> None:
        """Record a frame received at this time."""
        self._has_frames = True
        try:
            _is_json(frame)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._add(at, b'{"rx":%b,"raw":"%b"}\n' % (repr(at).encode(), base64.b64encode(frame)))
        else:
            if b"\n" in frame or b"\r" in frame:  # between tokens, where a space means the same
                frame = _line_breaks.sub(b" ", frame)
            self._add(at, b'{"rx":%b,"frame":%b}\n' % (repr(at).encode(), frame))

    def lost(self, at: float, pairs: Iterable[str], kind: GapKind) -> None:
        """Record that these pairs were lost at this time; before the first frame there is nothing to lose."""
        if self._has_frames:
            self._add(at, msgspec.json.encode({"rx": at, "lost": kind, "pairs": list(pairs)}) + b"\n")

    def flush(self, now: float) -> None:
        """Write the block if it is old enough."""
        if self._lines and now - self._since >= BLOCK_S:
            self._write()

    def close(self) -> None:
        """Write the rest, close the file, and delete it if it is empty."""
        if self._lines:
            self._write()
        if not self._file.tell():
            self.files.pop().unlink(missing_ok=True)
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
    """Reads recordings one after the other: plain or compressed, complete, damaged or truncated."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Raise UserError if one of them cannot be read."""
        self._paths = list(paths)
        self.damage: list[Damage] = []
        """What could not be read, in order."""
        self.truncated: list[Path] = []
        """Truncated files: they end in the middle of a block or a line."""
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

    def lines(self) -> Iterator[tuple[float, bytes | LostPairs | Damage]]:
        """Yield each time of receipt with the frame, the lost pairs, or the damage that follows it.

        Raises UserError for a file that is not a recording.
        """
        at = 0.0
        for path in self._paths:
            good = bad = 0
            for line in self._lines_of(path):
                if isinstance(line, _Line) and not line.text.strip():
                    continue
                found = line if isinstance(line, Damage) else _parse(line, path)
                if isinstance(found, Damage):
                    bad += 1
                    if not good and bad >= 10:
                        break
                    self.damage.append(found)
                    yield at, found
                else:
                    good += 1
                    at = found[0]
                    yield found
            if not good:
                raise UserError(f'{path} is not a recording: none of its lines is {{"rx":…,"frame":…}}')

    def last_receipt(self) -> float:
        """Return when the last frame was received; 0 if there is none."""
        latest = 0.0
        for at, _ in self.lines():
            latest = max(latest, at)
        self._before = 0
        self.damage.clear()
        self.truncated.clear()
        return latest

    def _lines_of(self, path: Path) -> Iterator[_Line | Damage]:
        """Yield the complete lines of a file; a last one without an end counts as truncated."""
        with path.open("rb") as file:
            self._now = file
            rest, at = b"", 0
            try:
                is_packed = file.peek(len(_GZIP))[:2] == _GZIP[:2]
                for text in _unpacked(file, path) if is_packed else _plain(file):
                    if isinstance(text, Damage):
                        rest = b""  # the end of this line is in the damaged part
                        yield text
                        continue
                    if not at:
                        text = text.removeprefix(_BYTE_ORDER_MARK)  # noqa: PLW2901
                    *lines, rest = (rest + text).split(b"\n")
                    for line in lines:
                        yield _Line(line, at)
                        at += len(line) + 1
                    if len(rest) > MAX_LINE_BYTES:
                        yield Damage(path, at, at := at + len(rest))
                        rest = b""
            except EOFError:
                self.truncated.append(path)
            else:
                if rest.strip():
                    last = _Line(rest, at)
                    if isinstance(_parse(last, path), Damage):
                        self.truncated.append(path)
                    else:
                        yield last
            finally:
                self._before += file.tell()
                self._now = None


class _Line(NamedTuple):
    text: bytes
    at: int
    """Where it begins, in the decompressed text of its file."""


def _plain(file: IO[bytes]) -> Iterator[bytes]:
    while text := file.read(CHUNK_BYTES):
        yield text


def _unpacked(file: IO[bytes], path: Path) -> Iterator[bytes | Damage]:
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
            found = bytes(data).find(_GZIP)
            if found >= 0:
                self.consumed(found)
                return
            keep = min(len(_GZIP) - 1, len(data))  # the chunk may end in the middle of a beginning
            tail = bytes(data[len(data) - keep :])
            self.consumed(len(data) - keep)
            more = self._file.read(CHUNK_BYTES)
            if not more:
                self.consumed(keep)
                return
            self._chunk = memoryview(tail + more)


def _parse(line: _Line, path: Path) -> tuple[float, bytes | LostPairs] | Damage:
    try:
        found = _read_line(line.text)
        if 0 <= found.rx <= MAX_RECEIPT:
            return found.rx, _content(found)
    except (ValueError, RecursionError, msgspec.DecodeError):
        pass
    return Damage(path, line.at, line.at + len(line.text))


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
