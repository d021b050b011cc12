"""Follow quotes as they are committed, without loss or repetition, across restarts of either side."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Self

import psycopg

from cryptometrics import config
from cryptometrics.api.selection import choose_group, choose_venue, read_pairs
from cryptometrics.errors import ServiceUnavailableError, UserError
from cryptometrics.retry import wait_after
from cryptometrics.store.committed_quotes import CommittedQuotes
from cryptometrics.store.connection import connect
from cryptometrics.store.database_errors import explained, explaining, is_transient, one_line

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from types import TracebackType

    from cryptometrics.config import Settings
    from cryptometrics.store.committed_quotes import Step, StoredQuote

_log = logging.getLogger("cryptometrics")
"""Of the standard library: a program that imports us decides what becomes of its messages."""

POLL_S = 0.2
"""Seconds between two looks for new quotes, once everything was read."""


class Bookmark(NamedTuple):
    """A place in the quotes of a group: everything before it was yielded, nothing after it."""

    group: str
    offsets: Mapping[str, int]
    """The next offset of each partition, by the topic's id and the partition's number."""

    @classmethod
    def beginning(cls, group: str) -> Bookmark:
        """Return the place before the oldest stored quote of a group."""
        return cls(group, {})

    @classmethod
    def from_json(cls, text: str) -> Bookmark:
        """Return the place that `to_json` wrote; raise UserError if the text is not one."""
        try:
            value = json.loads(text)
            group, offsets = value["group"], value["offsets"]
            if isinstance(group, str) and all(type(offset) is int for offset in offsets.values()):
                return cls(group, dict(offsets))
        except (ValueError, TypeError, KeyError, AttributeError):
            pass
        raise UserError("this is not a bookmark: pass what Bookmark.to_json returned")

    def to_json(self) -> str:
        """Return the place as one line of text, to be kept."""
        return json.dumps({"group": self.group, "offsets": dict(self.offsets)})


def follow(
    pairs: Sequence[str] | str = (),
    *,
    group: str | None = None,
    venue: str | None = None,
    after: Bookmark | None = None,
) -> Follower:
    """Return an iterator of quotes as they are committed, for `for` and for `async for`; it never ends.

    pairs: a list, or a text such as "BTC-USD,ETH-USD"; empty for all. group, venue: if none is named, the
    only one is read, else the one with the newest row, with a warning. after: the place to continue from, as
    `Follower.bookmark` has it; None for now: quotes that are committed after this call.

    Raises UserError for a mistake of the caller, and ServiceUnavailableError if PostgreSQL does not answer
    within CRYPTOMETRICS_WAIT. Later, while it does not answer, the iterator waits and says so in the log.
    """
    settings = config.load()
    names = read_pairs(pairs)
    if after is not None and group not in (None, after.group):
        raise UserError(f"the bookmark is of group {after.group}, not of group {group}")
    with explaining():
        connection = connect(settings)
        try:
            of_group = choose_group(connection, group if after is None else after.group, with_imported=False)
            at = choose_venue(connection, of_group, venue, names, with_imported=False)
            source = CommittedQuotes(of_group, at, names, {} if after is None else after.offsets)
            if after is None:
                source.skip_stored(connection)
        except BaseException:
            connection.close()
            raise
    return Follower(settings, connection, of_group, source)


class Follower:
    """Quotes of a group as they are committed, in the order of each partition.

    `close` it, or use it as a context manager. If PostgreSQL restarts, it connects again and continues. One
    thread or one task at a time may iterate; `close` may be called from any.
    """

    def __init__(
        self, settings: Settings, connection: psycopg.Connection, group: str, source: CommittedQuotes
    ) -> None:
        """Take over an open connection."""
        self._settings = settings
        self._connection: psycopg.Connection | None = connection
        self._group = group
        self._source = source
        self._offsets = dict(source.offsets)
        self._steps: deque[Step] = deque()
        self._pages: Generator[list[Step]] | None = None
        self._failures = 0
        self._closed = threading.Event()
        self._reading = threading.Lock()
        self._task: asyncio.Future[None] | None = None

    @property
    def bookmark(self) -> Bookmark:
        """The place after the quote that was yielded last; `follow(after=…)` continues there."""
        return Bookmark(self._group, dict(self._offsets))

    def close(self) -> None:
        """End the iteration and close the connection."""
        self._closed.set()
        with self._reading:
            self._disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> StoredQuote:
        while not self._closed.is_set():
            if (quote := self._take()) is not None:
                return quote
            self._read()
        raise StopIteration

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StoredQuote:
        while not self._closed.is_set():
            if (quote := self._take()) is not None:
                return quote
            # A cancelled caller leaves the reading to the next one, so nothing is lost.
            reading = self._task or asyncio.ensure_future(asyncio.to_thread(self._read))
            self._task = reading
            try:
                await asyncio.shield(reading)
            finally:
                if reading.done():
                    self._task = None
        raise StopAsyncIteration

    def _take(self) -> StoredQuote | None:
        """Return the next quote that was read, and move the bookmark after it."""
        while self._steps:
            step = self._steps.popleft()
            self._offsets[step.partition] = step.next_offset
            if step.quote is not None:
                return step.quote
        return None

    def _read(self) -> None:
        """Read a page, or wait a moment: for new quotes, or for PostgreSQL."""
        with self._reading:
            if self._closed.is_set():
                return
            try:
                page = self._next_page()
            except (psycopg.Error, ServiceUnavailableError) as error:
                self._lose(error)
                return
            self._failures = 0
            if page is not None:
                self._steps.extend(page)
                return
        self._closed.wait(POLL_S)

    def _next_page(self) -> list[Step] | None:
        """Return the next page; None once everything that is committed was read."""
        if self._connection is None:
            self._connection = connect(self._settings, timeout=0)
        if self._pages is None:
            self._pages = self._source.pages(self._connection)
        page = next(self._pages, None)
        if page is None:
            self._pages = None
        return page

    def _lose(self, error: psycopg.Error | ServiceUnavailableError) -> None:
        """Give up the connection and wait, growing; raise the error if a retry cannot help."""
        self._disconnect()
        if isinstance(error, psycopg.Error) and not is_transient(error):
            raise explained(error) or error from None
        self._failures += 1
        wait = wait_after(self._failures)
        _log.warning("PostgreSQL is not available (%s): next attempt in %.1f s", one_line(error), wait)
        self._closed.wait(wait)

    def _disconnect(self) -> None:
        if self._pages is not None:
            with contextlib.suppress(psycopg.Error):  # it ends its transaction, if it still can
                self._pages.close()
            self._pages = None
        self._source.forget()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
