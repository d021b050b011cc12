"""The file format of recordings: one JSON object per line, `rx` the time of receipt, `frame` the frame.

A frame that is not JSON is stored as `raw`, in base64. When pairs are lost, a line has `lost`, the reason.
`feed` is the feed's name, absent for `coinbase`, and `connection` the number of the connection, absent for 0.
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
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Literal, NamedTuple

import msgspec

from cryptometrics.errors import CryptometricsError, UserError
from cryptometrics.feeds.gzip_members import CHUNK_BYTES, GZIP, Damage, unpacked
from cryptometrics.feeds.interface import DEFAULT_FEED
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
MAX_FRAME_BYTES = 8 * 1024 * 1024
"""Limit of a feed's frames: a longer one ends its connection. A large order book takes 2 MiB."""
MAX_LINE_BYTES = 2 * MAX_FRAME_BYTES
MAX_RECEIPT = 4_102_444_800.0
"""Upper bound of a plausible time of receipt: the year 2100."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_line_breaks = re.compile(rb"[\r\n]+")


class _WireLine(msgspec.Struct, gc=False, omit_defaults=True):
    rx: float
    frame: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    raw: str | None = None
    lost: Literal["down", "silence", "overflow"] | None = None
    pairs: list[str] | None = None
    feed: str = DEFAULT_FEED
    connection: int = 0


class RecordedLine(NamedTuple):
    """A line of a recording, or damage in its place."""

    at: float
    """When it was received; of damage, when the line before it was."""
    content: bytes | LostPairs | Damage
    """A frame, the pairs that were lost here, or what cannot be read."""
    connection: int = 0
    feed: str = DEFAULT_FEED


@dataclass(frozen=True, slots=True)
class LostPairs:
    """Pairs that were lost at this point of a recording."""

    pairs: list[str]
    kind: GapKind


_read_line = msgspec.json.Decoder(_WireLine).decode
_is_json = msgspec.json.Decoder(msgspec.Raw).decode


class Recorder:
    """Writes a recording; must be closed."""

    def __init__(self, path: Path, rotate_bytes: int = ROTATE_BYTES, feed: str = DEFAULT_FEED) -> None:
        """Start a recording of a feed in `path`, with .gz appended, or in the next free number of that name.

        Raises UserError if no file can be created.
        """
        self._feed = feed
        self._origin = b"" if feed == DEFAULT_FEED else b'"feed":"%b",' % feed.encode()
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

    def frame(self, at: float, frame: bytes, connection: int = 0) -> None:
        """Record a frame received at this time over this connection."""
        self._has_frames = True
        head = b'{"rx":%b,%b' % (repr(at).encode(), self._origin)
        if connection:
            head += b'"connection":%d,' % connection
        try:
            _is_json(frame)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._add(at, b'%b"raw":"%b"}\n' % (head, base64.b64encode(frame)))
        else:
            if b"\n" in frame or b"\r" in frame:  # between tokens, where a space means the same
                frame = _line_breaks.sub(b" ", frame)
            self._add(at, b'%b"frame":%b}\n' % (head, frame))

    def lost(self, at: float, pairs: Iterable[str], kind: GapKind, connection: int = 0) -> None:
        """Record that these pairs were lost at this time; before the first frame there is nothing to lose."""
        if self._has_frames:
            line = _WireLine(at, lost=kind, pairs=list(pairs), feed=self._feed, connection=connection)  # type: ignore[arg-type]
            self._add(at, msgspec.json.encode(line) + b"\n")

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

    def feed(self) -> str:
        """Return the name of the feed that was recorded.

        Raises UserError if the recordings are of several feeds, or for a file that is not a recording.
        """
        found: dict[str, Path] = {}
        for path in self._paths:
            for line in Recording([path]).lines():
                if not isinstance(line.content, Damage):
                    found.setdefault(line.feed, path)
                    break
        if len(found) > 1:
            named = ", ".join(f"{path} is of {feed}" for feed, path in found.items())
            raise UserError(f"recordings of different feeds cannot be replayed together: {named}")
        return next(iter(found), DEFAULT_FEED)

    def lines(self) -> Iterator[RecordedLine]:
        """Yield the lines in order, and damage where it is.

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
                    yield RecordedLine(at, found)
                else:
                    good += 1
                    at = found.at
                    yield found
            if not good:
                raise UserError(f'{path} is not a recording: none of its lines is {{"rx":…,"frame":…}}')

    def last_receipt(self) -> float:
        """Return when the last frame was received; 0 if there is none."""
        latest = 0.0
        for line in self.lines():
            latest = max(latest, line.at)
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
                is_packed = file.peek(len(GZIP))[:2] == GZIP[:2]
                for text in unpacked(file, path) if is_packed else _plain(file):
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


def _parse(line: _Line, path: Path) -> RecordedLine | Damage:
    try:
        found = _read_line(line.text)
        if 0 <= found.rx <= MAX_RECEIPT:
            return RecordedLine(found.rx, _content(found), found.connection, found.feed)
    except (ValueError, RecursionError, msgspec.DecodeError):
        pass
    return Damage(path, line.at, line.at + len(line.text))


def _content(line: _WireLine) -> bytes | LostPairs:
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
