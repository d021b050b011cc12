"""Move the partitions of a topic to other brokers: Kafka's AlterPartitionReassignments.

Neither the Python client nor the jars of the local broker can send this request, so it is encoded here, in
its version 0.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

API_KEY, API_VERSION = 45, 0
CLIENT = b"tests"
LIMIT_S = 30.0
NO_TAGS = b"\0"


def reassign(address: tuple[str, int], topic: str, replicas: Mapping[int, Sequence[int]]) -> None:
    """Assign other replicas to these partitions, the preferred leader first.

    Returns when Kafka has accepted it; the replicas move afterwards.
    """
    partitions = [
        struct.pack("!i", partition) + _array(struct.pack("!i", broker) for broker in brokers) + NO_TAGS
        for partition, brokers in replicas.items()
    ]
    body = struct.pack("!i", round(LIMIT_S * 1000))
    body += _array([_string(topic) + _array(partitions) + NO_TAGS]) + NO_TAGS
    answer = _Reader(_exchange(address, body))
    answer.number("!i")  # throttle time
    problems = [answer.problem()]
    for _ in range(answer.length()):
        answer.string()
        for _ in range(answer.length()):
            answer.number("!i")
            problems.append(answer.problem())
            answer.tags()
        answer.tags()
    assert not any(problems), f"Kafka does not reassign: {problems}"


def _exchange(address: tuple[str, int], body: bytes) -> bytes:
    """Send a request and return the body of its answer."""
    header = struct.pack("!hhih", API_KEY, API_VERSION, 1, len(CLIENT)) + CLIENT + NO_TAGS
    with socket.create_connection(address, timeout=LIMIT_S) as connection:
        connection.sendall(struct.pack("!i", len(header + body)) + header + body)
        with connection.makefile("rb") as received:
            (length,) = struct.unpack("!i", received.read(4))
            answer = received.read(length)
    assert answer[:5] == struct.pack("!i", 1) + NO_TAGS, "not the answer to this request"
    return answer[5:]


def _array(items: Iterable[bytes]) -> bytes:
    found = list(items)
    return _length(len(found) + 1) + b"".join(found)


def _string(text: str) -> bytes:
    return _length(len(text.encode()) + 1) + text.encode()


def _length(number: int) -> bytes:
    """Return an unsigned number in 7 bits a byte, the lowest first."""
    *more, last = _sevens(number)
    return bytes([*(part | 0x80 for part in more), last])


def _sevens(number: int) -> list[int]:
    return [number] if number < 0x80 else [number & 0x7F, *_sevens(number >> 7)]


class _Reader:
    """Reads an answer from its beginning."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def number(self, form: str) -> int:
        size = struct.calcsize(form)
        (number,) = struct.unpack(form, self._take(size))
        return int(number)

    def length(self) -> int:
        """Return the number of items of an array, or of bytes of a text: 0 if there is none."""
        return max(self._unsigned() - 1, 0)

    def string(self) -> str:
        return self._take(self.length()).decode()

    def problem(self) -> str:
        """Return an error in words; empty if there is none."""
        code, words = self.number("!h"), self.string()
        return f"{code} {words}".strip() if code else ""

    def tags(self) -> None:
        assert self._unsigned() == 0, "fields that version 0 does not have"

    def _unsigned(self) -> int:
        byte = self._take(1)[0]
        return byte if byte < 0x80 else (byte & 0x7F) | self._unsigned() << 7

    def _take(self, size: int) -> bytes:
        taken, self._data = self._data[:size], self._data[size:]
        assert len(taken) == size, "the answer ends early"
        return taken
