"""Recordings: what is written is read, whole after a kill but for the last moment."""

from __future__ import annotations

import errno
import gzip
import io
import itertools
import json
import random
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.errors import CryptometricsError, UserError
from cryptometrics.feeds.coinbase.exchange.feed import ExchangeFeed
from cryptometrics.feeds.coinbase.values import seconds
from cryptometrics.feeds.gzip_members import Damage
from cryptometrics.feeds.recording import BLOCK_S, LostPairs, RecordedLine, Recorder, Recording
from cryptometrics.feeds.registry import make_feed
from cryptometrics.feeds.replay import replay
from cryptometrics.market.gap_records import GapKind

if TYPE_CHECKING:
    from pathlib import Path


T0 = 1_800_000_000.25


def frame(number: int) -> bytes:
    return json.dumps(
        {
            "type": "ticker", "product_id": "BTC-USD", "best_bid": "1", "best_ask": "2", "trade_id": number,
            "time": f"2027-01-15T08:{number // 60:02}:{number % 60:02}.000000Z",
        }
    ).encode()  # fmt: skip


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
json_texts = values.map(lambda value: json.dumps(value, indent=1).encode())


@given(frames=st.lists(json_texts | st.binary(), min_size=1))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, frames: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("r") / "r.jsonl.gz"
    recorder = Recorder(path)
    for number, each in enumerate(frames):
        recorder.frame(T0 + number, each)
    recorder.lost(T0, ["A-USD"], GapKind.SILENCE)
    recorder.close()
    *found, last = Recording([path]).lines()
    for number, ((at, content, *_), each) in enumerate(zip(found, frames, strict=True)):
        assert at == T0 + number
        assert isinstance(content, bytes)
        try:
            assert json.loads(content) == json.loads(each)
        except ValueError:
            assert content == each
    assert last == RecordedLine(T0, LostPairs(["A-USD"], GapKind.SILENCE))


def test_a_recording_names_its_feed_and_the_connection_of_each_line(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r", feed="coinbase-advanced")
    recorder.frame(T0, b'{"a":1}', 2)
    recorder.frame(T0, b"{", 1)
    recorder.lost(T0, ["A-USD"], GapKind.DOWN, 2)
    recorder.close()
    lost = LostPairs(["A-USD"], GapKind.DOWN)
    assert [(line.content, line.connection) for line in Recording(recorder.files).lines()] == [
        (b'{"a":1}', 2), (b"{", 1), (lost, 2)
    ]  # fmt: skip
    assert Recording(recorder.files).feed() == "coinbase-advanced"
    other = recorded(tmp_path / "x", 1)
    assert other.feed() == "coinbase"
    with pytest.raises(UserError, match=r"different feeds .*r\.gz is of coinbase-advanced"):
        Recording([*recorder.files, *other._paths]).feed()
    with pytest.raises(UserError, match="the feed 'x' is not known: feeds are coinbase, coinbase-advanced"):
        make_feed("x", None)


def test_a_recording_without_a_frame_leaves_no_file(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r")
    recorder.lost(T0, ["A-USD"], GapKind.DOWN)
    recorder.flush(T0 + BLOCK_S)
    recorder.close()
    assert recorder.files == list(tmp_path.iterdir()) == []


def test_after_a_kill_only_the_last_moment_is_missing(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r")
    for number in range(100):
        recorder.frame(T0 + number, frame(number))
        recorder.flush(T0 + number + (BLOCK_S if number == 60 else 0))
    path = recorder.files[0]
    assert path.name == "r.gz"
    lines = list(Recording([path]).lines())  # what has not been flushed is not there, and all else is
    assert [at - T0 for at, *_ in lines] == list(range(99))
    whole = path.read_bytes()
    for cut in (1, 10, 100, len(whole) // 2):
        path.write_bytes(whole[:-cut])
        recording = Recording([path])
        read = [at - T0 for at, *_ in recording.lines()]
        assert read == list(range(len(read)))
        assert len(read) >= 40
        assert recording.truncated == [path]
    recorder.close()


class _SmallDisk(io.FileIO):
    """Takes a few bytes at once, as long as there is room."""

    room = 10_000

    def write(self, data: Any, /) -> int:
        part = bytes(data)[: min(7, self.room)]
        if not part:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= len(part)
        return super().write(part)


def test_a_disk_that_takes_less_than_it_is_given_leaves_whole_blocks(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r")
    recorder._file.close()
    disk = recorder._file = _SmallDisk(recorder.files[0], "w")
    for number in range(3):
        recorder.frame(T0 + number, frame(number))
        recorder.flush(T0 + number + BLOCK_S)
    whole = recorder.files[0].read_bytes()
    disk.room = 20
    recorder.frame(T0 + 3, frame(3))
    with pytest.raises(CryptometricsError, match=r"cannot record into .*: No space"):
        recorder.flush(T0 + 3 + BLOCK_S)
    assert recorder.files[0].read_bytes() == whole
    disk.room = 10_000
    recorder.close()  # there is room again, and nothing between the blocks
    recording = Recording(recorder.files)
    assert [at - T0 for at, *_ in recording.lines()] == [0, 1, 2, 3]
    assert not recording.truncated


def test_it_rotates_and_never_writes_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "r-2.jsonl.gz").write_bytes(b"mine")
    recorder = Recorder(tmp_path / "r.jsonl.gz", rotate_bytes=100)
    for number in range(4):
        recorder.frame(T0 + number, frame(number))
        recorder.flush(T0 + number + BLOCK_S)
    recorder.close()
    names = [path.name for path in recorder.files]
    assert names == ["r.jsonl.gz", "r-3.jsonl.gz", "r-4.jsonl.gz", "r-5.jsonl.gz"]
    assert (tmp_path / "r-2.jsonl.gz").read_bytes() == b"mine"
    assert len(list(Recording(recorder.files).lines())) == 4
    again = Recorder(tmp_path / "r.jsonl.gz")
    assert again.files[0].name == "r-6.jsonl.gz"
    again.close()


def test_damage_is_passed_over_and_what_is_no_recording_is_told(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    good = b'{"rx":%f,"frame":%b,"more":1}\n' % (T0, frame(1))
    bad = [
        b"\n",
        b"{",
        b'{"rx":1}',
        b'{"rx":-1,"frame":{}}',
        b'{"rx":1e300,"frame":{}}',
        b'{"rx":1,"raw":"*"}',
    ]
    path.write_bytes(good + b"\n".join(bad) + b"\n" + good)
    recording = Recording([path])
    assert len(frames_of(recording)) == 2
    assert len(recording.damage) == len(bad) - 1  # a blank line is none
    assert str(recording.damage[0]).endswith(
        f"bytes {len(good) + 2:,} to {len(good) + 3:,} are damaged and were skipped"
    )
    damaged, cut = tmp_path / "damaged.jsonl", tmp_path / "cut.jsonl"
    damaged.write_bytes(good + b"{\n" * 9)
    cut.write_bytes(b"{\n" + good)  # the damage of one file says nothing of the next
    assert len(frames_of(Recording([damaged, cut]))) == 2
    for content in (b"", b"hello\n" * 100, gzip.compress(b"x"), b"\x1f\x8bxxxxxxxxxxxxxxx"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="not a recording"):
            list(Recording([path]).lines())
    with pytest.raises(UserError, match="cannot read"):
        Recording([tmp_path / "none"])
    with pytest.raises(UserError, match="cannot record"):
        Recorder(tmp_path / "none" / "r")


def recorded(path: Path, count: int) -> Recording:
    recorder = Recorder(path)
    for number in range(count):
        recorder.frame(T0 + number, frame(number))
    recorder.close()
    return Recording(recorder.files)


def test_times_are_shifted_to_end_now(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "r", 50)
    before = time.time()
    (block,) = replay(ExchangeFeed(None), recording, shift_to_now=True)
    messages = [json.loads(value or b"") for _, value in block]
    # Ticks and gap records alike: with other times they are no history of the exchange.
    assert {message["venue"] for message in messages} == {"coinbase-replay"}
    _start, *ticks, _end = messages
    assert [tick["trade_id"] for tick in ticks] == list(range(50))
    times = [seconds(tick["time"]) or 0 for tick in ticks]
    assert [round(late - early, 6) for early, late in itertools.pairwise(times)] == [1.0] * 49
    assert before - 1 < times[-1] <= time.time()


def test_it_goes_at_a_speed_and_stops_when_asked(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "r", 3)
    started = time.monotonic()
    blocks = list(replay(ExchangeFeed(None), recording, speed=10))
    assert time.monotonic() - started >= 0.2
    assert sum(map(len, blocks)) == 5  # with a start and an end
    assert [] in blocks  # while the next one is not due
    stopped = list(replay(ExchangeFeed(None), Recording(recording._paths), speed=0.001, stop=lambda: True))
    assert sum(map(len, stopped)) <= 2


def frames_of(recording: Recording) -> list[bytes]:
    return [content for _, content, *_ in recording.lines() if isinstance(content, bytes)]


def members(count: int = 10) -> list[bytes]:
    """Return gzip members of a hundred frames each, with random sizes so that they compress badly."""
    chance = random.Random(1)
    frames = [
        b'{"rx":%f,"frame":{"n":%d,"x":"%x"}}\n' % (T0 + n, n, chance.getrandbits(400))
        for n in range(100 * count)
    ]
    return [gzip.compress(b"".join(frames[n * 100 : (n + 1) * 100])) for n in range(count)]


@pytest.mark.parametrize("place", [0, 3, 9, 30, 4000, -8, -1])
def test_damage_costs_its_block_and_is_reported_with_its_place(tmp_path: Path, place: int) -> None:
    parts = members()
    begin = len(parts[0]) + len(parts[1])
    third = bytearray(parts[2])
    third[place] ^= 1
    path = tmp_path / "r.jsonl.gz"
    path.write_bytes(b"".join([*parts[:2], bytes(third), *parts[3:]]))
    recording = Recording([path])
    found = [json.loads(frame)["n"] for frame in frames_of(recording)]
    assert found in ([n for n in range(1000) if n // 100 != 2], list(range(1000)))
    if found != list(range(1000)):  # a flipped bit of the header's flags or time changes nothing
        assert recording.damage == [Damage(path, begin, begin + len(third))]
    assert recording.truncated == []


def test_zeros_between_and_behind_blocks_are_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.gz"
    path.write_bytes(b"".join(part + b"\0" * (n * 70_000) for n, part in enumerate(members())))
    recording = Recording([path])
    assert len(frames_of(recording)) == 1000
    assert (recording.damage, recording.truncated) == ([], [])


def test_what_is_not_gzip_between_blocks_is_damage(tmp_path: Path) -> None:
    path, parts = tmp_path / "r.jsonl.gz", members(2)
    path.write_bytes(parts[0] + b"noise" + parts[1] + b"more noise")
    recording = Recording([path])
    assert len(frames_of(recording)) == 200
    second = len(parts[0]) + 5
    assert recording.damage == [
        Damage(path, second - 5, second),
        Damage(path, second + len(parts[1]), path.stat().st_size),
    ]


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    plain, packed = tmp_path / "r.jsonl", tmp_path / "r.jsonl.gz"
    text = b"\xef\xbb\xbf" + b'{"rx":%f,"frame":%b}\n' % (T0, frame(1))
    plain.write_bytes(text)
    packed.write_bytes(gzip.compress(text))
    recording = Recording([plain, packed])
    assert len(frames_of(recording)) == 2
    assert recording.damage == []
