"""Create a schema and two topics for a benchmark, and remove them however it ends."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import uuid
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from psycopg import sql
from psycopg.conninfo import make_conninfo

from cryptometrics.config import Secret
from cryptometrics.errors import CryptometricsError
from cryptometrics.kafka import client
from cryptometrics.kafka.client import make_admin
from cryptometrics.kafka.partition_ends import ANSWER_S, PartitionEnds
from cryptometrics.kafka.topic import create_topic, delete_topic
from cryptometrics.store.connection import connect
from cryptometrics.store.connection_options import resolve
from cryptometrics.store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import psycopg
    from confluent_kafka import Consumer

    from cryptometrics.config import Settings

PARTITIONS = 6
COMMAND_TIMEOUT_S = 3600.0


@dataclass(frozen=True)
class Scratch:
    """A schema and two topics for one benchmark."""

    settings: Settings
    connection: psycopg.Connection

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a `cryptometrics` command."""
        return [sys.executable, "-m", "cryptometrics", *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which a command uses this schema and topic."""
        return os.environ | {
            "DATABASE_URL": self.settings.postgres(),
            "KAFKA_BOOTSTRAP_SERVERS": self.settings.kafka_address,
            "KAFKA_TOPIC": self.settings.kafka_topic,
        }

    def run(
        self,
        *arguments: str,
        environment: Mapping[str, str] = MappingProxyType({}),
        timeout: float = COMMAND_TIMEOUT_S,
    ) -> str:
        """Run a `cryptometrics` command in this schema and topic; return what it printed on stdout.

        environment: variables that differ. Raises CryptometricsError if it fails or does not end in
        `timeout` seconds.
        """
        try:
            done = subprocess.run(
                self.command(*arguments),
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CryptometricsError(f"`{arguments[0]}` did not end in {timeout:g} s") from None
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
            raise CryptometricsError(f"`{arguments[0]}` ended with exit code {done.returncode}: {last}")
        return done.stdout

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a `cryptometrics` command in this schema and topic; what it prints is discarded."""
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @contextlib.contextmanager
    def simulate(self, rate: int, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
        """Run `simulate` at a rate for this long, or until the block ends."""
        with self.start("simulate", "--rate", str(rate), "--duration", f"{seconds:g}s") as feed:
            try:
                yield feed
            finally:
                feed.terminate()

    @property
    def aside(self) -> Settings:
        """Return the settings with the second topic, which no worker reads."""
        return replace(self.settings, kafka_topic=f"{self.settings.kafka_topic}_aside")

    def reader(self) -> Consumer:
        """Return a consumer without partitions; the caller closes it."""
        conf = client.consumer_conf(self.settings, "bench-reader", "bench-reader")
        return client.make_consumer(self.settings, conf)

    def ends(self) -> dict[int, int]:
        """Return the end of each partition of the topic."""
        # Retries: a new topic may have no leaders yet.
        ends = PartitionEnds(make_admin(self.settings), self.settings.kafka_topic)
        held = ends.held_by(range(PARTITIONS), wait=ANSWER_S)
        return {partition: end for partition, (_, end) in held.items()}


@contextlib.contextmanager
def scratch(settings: Settings) -> Iterator[Scratch]:
    """Create the schema and the topics, and remove them at the end."""
    name = f"cryptometrics_bench_{uuid.uuid4().hex[:8]}"
    schema = sql.Identifier(name)
    with connect(settings) as connection:
        try:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
            with _inside(settings, name) as inside:
                yield inside
        finally:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(schema))


@contextlib.contextmanager
def _inside(settings: Settings, name: str) -> Iterator[Scratch]:
    uri = settings.postgres()
    options = f"{resolve(uri).get('options', '')} -c search_path={name}".strip()
    own = replace(settings, database_url=Secret(make_conninfo(uri, options=options)), kafka_topic=name)
    with connect(own) as connection:
        migrate(connection)
        made = Scratch(own, connection)
        with contextlib.ExitStack() as stack:
            for topic in (made.settings, made.aside):
                # Registered first: an interrupted creation may have succeeded.
                stack.callback(delete_topic, topic)
                create_topic(topic, PARTITIONS)
            yield made
