"""A worker's database sessions: one writes, another reads the past meanwhile, a third minds the index."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from cryptometrics.pipeline.indexing import Indexing
from cryptometrics.pipeline.writer import Writer
from cryptometrics.store.connection import connect_once
from cryptometrics.store.offsets import Backend, backend_of
from cryptometrics.store.past import State

if TYPE_CHECKING:
    import psycopg

    from cryptometrics.pipeline.writer import Totals
    from cryptometrics.store.offsets import GroupTopic

STATEMENT_TIMEOUT = "60s"
LOCK_TIMEOUT = "10s"
IDLE_TIMEOUT = "5s"
SEND_BYTES = 4 * 1024 * 1024
"""A batch goes to a local server in one piece where the system allows that: after each piece the writing
thread would have to get Python's lock back while the server waits."""
RETIRE_S = 2.0
"""How long a writer may take to come to rest before it is left to itself."""


@dataclass
class Database:
    """Lives from one connect to the next doubt; then another one takes its place."""

    state: State
    writer: Writer
    indexing: Indexing
    backend: Backend
    """The writing session: the next owner of a partition ends it if it holds a lock and sleeps."""

    @classmethod
    def connect(cls, uri: str, topic: GroupTopic, totals: Totals) -> Self:
        """Open the sessions that read and write; raises psycopg's errors."""
        reading, writing = connect_once(uri), connect_once(uri)
        for connection in (reading, writing):
            connection.execute(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'".encode())
            connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'".encode())
        # Claims are its only transactions: who falls asleep in one must not keep the next owner out.
        reading.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_TIMEOUT}'".encode())
        _widen(writing)
        backend = backend_of(writing)
        return cls(State(reading, topic.group), Writer(topic, writing, totals), Indexing(uri), backend)

    @property
    def connection(self) -> psycopg.Connection:
        """The session that reads."""
        return self.state.connection

    def close(self) -> None:
        """Give all up; a batch that is just being written may still be committed."""
        self.indexing.close()
        self.writer.retire(RETIRE_S)
        self.connection.close()


def _widen(connection: psycopg.Connection) -> None:
    """Give a Unix socket room for a whole batch; over TCP the system adjusts it better by itself."""
    if connection.info.host.startswith("/"):
        with (
            socket.socket(fileno=os.dup(connection.fileno())) as sending,
            contextlib.suppress(OSError),  # a system that allows less may refuse, and nothing is lost
        ):
            sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
