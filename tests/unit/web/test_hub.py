"""The hub and its streams on a real event loop; the readers' `send` is the test's own."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from cryptometrics.web import events, hub
from cryptometrics.web.api.stream import EventStream
from cryptometrics.web.events import Event, RecentEvents, encode, number_in
from cryptometrics.web.hub import Hub, Reader, TooManyReadersError
from tests.unit.web.test_view import row, view

LIMIT_S = 10.0


def parse(data: bytes) -> list[tuple[str, str, Any]]:
    """Return id, name and data of each event."""
    found = []
    for block in data.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        if "data" in fields:
            found.append((fields["id"], fields["event"], json.loads(fields["data"])))
    return found


async def publish(site: Hub, *bids: str) -> None:
    for bid in bids:
        site.publish(view(row("A-B", bid=bid)))
    await asyncio.sleep(0)  # what was called in the loop runs first


async def started(*bids: str) -> Hub:
    site = Hub()
    site.bind(asyncio.get_running_loop())
    await publish(site, *bids)
    return site


async def read(reader: Reader) -> list[tuple[str, str, Any]]:
    return parse(await asyncio.wait_for(reader.next(), LIMIT_S))


def test_an_event_is_one_block_whatever_its_text() -> None:
    data = encode("a", 7, "update", {"text": "line\nline\r\n\n<script>"})
    assert data.count(b"\n\n") == 1
    assert parse(data) == [("a-7", "update", {"text": "line\nline\r\n\n<script>"})]


@pytest.mark.parametrize("text", ["", "-", "a", "a-", "b-1", "a-x", "a--1", "a-1 ", "a-٣", "a-" + "9" * 19])
def test_ids_that_are_not_ours(text: str) -> None:
    assert number_in(text, "a") is None
    assert number_in("a-12", "a") == 12


def test_recent_events_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_KEPT_EVENTS", 3)
    recent = RecentEvents()
    for number in range(1, 6):
        recent.add(Event(number, b"x"))
    assert recent.after(5, 5) == []
    assert [event.number for event in recent.after(2, 5) or []] == [3, 4, 5]
    assert recent.after(1, 5) is None
    assert recent.after(9, 5) is None
    monkeypatch.setattr(events, "MAX_KEPT_BYTES", 2)
    recent.add(Event(6, b"x"))
    assert recent.after(4, 6) is not None
    assert recent.after(3, 6) is None


def test_a_reader_gets_a_snapshot_and_then_what_changes() -> None:
    async def run() -> None:
        site = await started("1", "2")
        with site.reading(None) as reader:
            [(first, name, data)] = await read(reader)
            assert name == "snapshot"
            assert data["pairs"][0]["bid"] == "2"
            await publish(site, "3", "3", "4")
            found = await read(reader)
            assert [each["pairs"][0]["bid"] for _, _, each in found] == ["3", "4"]
            assert {name for _, name, _ in found} == {"update"}
            assert first not in {number for number, _, _ in found}

    asyncio.run(run())


def test_a_reader_that_comes_back_gets_what_it_missed() -> None:
    async def run() -> None:
        site = await started("1")
        with site.reading(None) as reader:
            [(last, _, _)] = await read(reader)
        await publish(site, "2", "3")
        with site.reading(last) as reader:
            found = await read(reader)
            assert [(name, data["pairs"][0]["bid"]) for _, name, data in found] == [
                ("update", "2"),
                ("update", "3"),
            ]
        for foreign in ("other-1", f"{last}9", "nonsense"):
            with site.reading(foreign) as reader:
                [(_, name, data)] = await read(reader)
                assert name == "snapshot"
                assert data["resumed"] is False

    asyncio.run(run())


def test_a_reader_that_came_before_the_first_view_gets_it() -> None:
    async def run() -> None:
        site = await started()
        with site.reading(None) as reader:
            await publish(site, "1")
            [(_, name, _)] = await read(reader)
            assert name == "snapshot"

    asyncio.run(run())


def test_all_readers_get_the_same_bytes() -> None:
    async def run() -> None:
        site = await started("1")
        with site.reading(None) as one, site.reading(None) as other:
            assert await one.next() is await other.next()
            await publish(site, "2")
            assert await one.next() is await other.next()

    asyncio.run(run())


def test_the_number_of_readers_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        monkeypatch.setattr(hub, "MAX_READERS", 1)
        site = await started("1")
        with site.reading(None):
            with pytest.raises(TooManyReadersError), site.reading(None):
                pass
            assert site.readers == 1
        assert site.readers == 0

    asyncio.run(run())


class Connection:
    """What an ASGI server gives a stream; a client that never reads blocks its `send`."""

    def __init__(self, *, reads: bool) -> None:
        self.sent: list[Any] = []
        self.gone = asyncio.Event()
        self._may_send = asyncio.Event()
        if reads:
            self._may_send.set()

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            await self._may_send.wait()
        self.sent.append(message)

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    def stream(self, site: Hub) -> asyncio.Task[None]:
        return asyncio.ensure_future(EventStream(site, None)({"type": "http"}, self.receive, self.send))


async def until(condition: Any) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.001)


def test_a_reader_that_comes_back_is_never_too_slow_at_once() -> None:
    async def run() -> None:
        site = await started("1")
        with site.reading(None) as reader:
            [(first, _, _)] = await read(reader)
        for number in range(12):  # as many bytes as may wait for a reader
            await publish(site, f"{number}{'0' * (hub.MAX_WAITING_BYTES // 12)}")
        with site.reading(first) as back:
            assert not back.ended.is_set()
            assert [name for _, name, _ in await read(back)] == ["snapshot"]

    asyncio.run(run())


def test_an_event_of_any_size_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        monkeypatch.setattr(hub, "MAX_WAITING_BYTES", 10)
        site = await started("1")
        with site.reading(None) as reader:
            assert [name for _, name, _ in await read(reader)] == ["snapshot"]
            assert not reader.ended.is_set()
            await publish(site, "2", "3")
            assert reader.is_slow

    asyncio.run(run())


def test_a_slow_reader_is_dropped_and_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        monkeypatch.setattr(hub, "MAX_WAITING_BYTES", 1000)
        site = await started("1")
        slow, fast = Connection(reads=False), Connection(reads=True)
        tasks = slow.stream(site), fast.stream(site)
        await until(lambda: len(fast.sent) == 3)
        for bid in range(2, 20):
            await publish(site, str(bid))
            await until(lambda bid=bid: f'"bid":"{bid}"'.encode() in fast.sent[-1].get("body", b""))
        await asyncio.wait_for(tasks[0], LIMIT_S)
        assert site.dropped == 1
        assert site.readers == 1
        assert [message["type"] for message in slow.sent] == ["http.response.start"]
        fast.gone.set()
        await asyncio.wait_for(tasks[1], LIMIT_S)
        assert site.readers == 0

    asyncio.run(run())


def test_streams_end_in_order_when_the_server_stops() -> None:
    async def run() -> None:
        site = await started("1")
        connection = Connection(reads=True)
        task = connection.stream(site)
        await until(lambda: len(connection.sent) == 3)
        site.close()
        await asyncio.wait_for(task, LIMIT_S)
        assert connection.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}

    asyncio.run(run())
