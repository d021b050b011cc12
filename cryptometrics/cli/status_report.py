"""What `status` finds out: the services, the schema, the topic, groups, feeds and kept commands."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cryptometrics.errors import CryptometricsError

if TYPE_CHECKING:
    import psycopg

    from cryptometrics.config import Settings
    from cryptometrics.kafka.topic import Topic
    from cryptometrics.local.kept_commands import CommandState

ANSWER_S = 3.0
"""Seconds a service has to answer each question: what matters is whether it does now."""


@dataclass
class ServiceState:
    """What is known of a service; most of it only if it is a local one."""

    local: bool
    running: bool = False
    address: str | None = None
    version: str | None = None
    pid: int | None = None
    uptime_seconds: float | None = None
    bytes_on_disk: int | None = None
    log: str | None = None
    problem: str | None = None

    @property
    def is_stopped(self) -> bool:
        """Whether nobody has to be asked: a local service that is not running."""
        return self.local and not self.running


@dataclass
class SchemaState:
    """Whether the schema is up to date; None if that is unknown."""

    up_to_date: bool | None = None
    version: str | None = None
    """The newest migration that is applied."""
    pending: list[str] | None = None
    problem: str | None = None


@dataclass
class TopicState:
    """The topic; without an answer of Kafka, only its name is known."""

    name: str
    partitions: int | None = None
    newest_record: datetime | None = None
    """By the publisher's clock."""
    age_seconds: float | None = None
    """Of the newest record, by the clock of this machine."""
    problem: str | None = None


@dataclass
class FeedState:
    """The feed of a venue, as far as groups have stored it."""

    venue: str
    newest_tick: datetime
    """Event time."""
    age_seconds: float
    newest_gap: str | None
    """Kind of its newest gap record, such as `start`, `down` or `end`."""
    newest_gap_at: datetime | None


@dataclass
class GroupState:
    """A consumer group."""

    group: str
    lag: int | None
    """Messages not stored yet; None if it is unknown."""
    newest_tick: datetime | None
    """Event time."""
    age_seconds: float | None


class StatusReport:
    """What is known now; each question has a limit."""

    def __init__(self, settings: Settings) -> None:
        """Ask. Raises UserError for settings that are not valid."""
        self._settings = replace(settings, wait=min(settings.wait, ANSWER_S))
        self.services = self._find_services()
        self.schema = SchemaState()
        self.topic = TopicState(settings.kafka_topic)
        self.groups: list[GroupState] | None = None
        """None if they are unknown, like the feeds."""
        self.feeds: list[FeedState] | None = None
        self.commands: list[CommandState] = self._find_commands()
        topic = self._ask_kafka(self.services["kafka"])
        self._ask_postgres(self.services["postgres"], topic)

    @property
    def has_problem(self) -> bool:
        """Whether a service is down or the schema is behind. Lag and a silent feed are no problem."""
        services = self.services.values()
        return self.schema.problem is not None or any(service.problem is not None for service in services)

    def _find_services(self) -> dict[str, ServiceState]:
        """Return both services; of the local ones what this machine knows."""
        settings = self._settings
        uses_local = {"kafka": settings.uses_local_kafka, "postgres": settings.uses_local_postgres}
        found = {name: ServiceState(local) for name, local in uses_local.items()}
        if not any(uses_local.values()):
            return found  # the extra `local` may be missing
        from cryptometrics.local.services import Services

        for name, state in Services(settings.home).status().items():
            if uses_local[name]:
                problem = None if state.running else "it is stopped: start it with `cryptometrics up`"
                found[name] = ServiceState(local=True, **asdict(state), problem=problem)
        return found

    def _find_commands(self) -> list[CommandState]:
        """Return the commands that `demo --keep` left in a data folder, if any of them still runs."""
        from cryptometrics.cli.demo_keep import DEMO_FOLDER

        home = self._settings.home
        found: list[CommandState] = []
        with contextlib.suppress(ImportError):  # without the extra `local` there are none
            from cryptometrics.local.kept_commands import KeptCommands

            for folder in (home, home / DEMO_FOLDER):
                states = KeptCommands(folder).states()
                found += states if any(state.running for state in states) else []
        return found

    def _ask_kafka(self, kafka: ServiceState) -> Topic | None:
        """Fill in the state of Kafka and of the topic; return the topic if it exists."""
        from cryptometrics.kafka.admin_requests import wait_for_kafka
        from cryptometrics.kafka.topic import describe_topic
        from cryptometrics.kafka.topic_activity import newest_record_at

        if kafka.is_stopped:
            return None
        try:
            kafka.address = self._settings.kafka_address
            wait_for_kafka(self._settings)
            kafka.running = True
        except CryptometricsError as error:
            kafka.problem = str(error)
            return None
        try:
            topic = describe_topic(self._settings)
            self.topic.partitions = topic.partitions
            self.topic.newest_record = newest_record_at(self._settings, topic, ANSWER_S)
        except CryptometricsError as error:
            self.topic.problem = str(error)
            return None
        if self.topic.newest_record is not None:
            self.topic.age_seconds = _age(self.topic.newest_record)
        return topic

    def _ask_postgres(self, postgres: ServiceState, topic: Topic | None) -> None:
        """Fill in the state of PostgreSQL and of what is stored there."""
        from cryptometrics.store.connection import connect
        from cryptometrics.store.connection_options import public_uri
        from cryptometrics.store.database_errors import explaining

        if postgres.is_stopped:
            return
        try:
            postgres.address = postgres.address or public_uri(self._settings.postgres())
            with connect(self._settings) as connection, explaining():
                postgres.running = True
                postgres.version = postgres.version or connection.info.parameter_status("server_version")
                connection.execute(f"SET statement_timeout = '{ANSWER_S:g}s'".encode())
                self._ask_schema(connection)
                if self.schema.up_to_date:
                    self._ask_progress(connection, topic)
        except CryptometricsError as error:
            postgres.problem = str(error)

    def _ask_schema(self, connection: psycopg.Connection) -> None:
        from cryptometrics.store import migrate
        from cryptometrics.store.database_errors import explaining

        schema = self.schema
        try:
            with explaining():
                schema.pending = migrate.pending(connection)
                schema.version = migrate.version(connection)
            schema.up_to_date = not schema.pending
        except CryptometricsError as error:
            schema.problem = str(error)
        if schema.pending:
            schema.problem = "it is behind: run `cryptometrics init-db`"

    def _ask_progress(self, connection: psycopg.Connection, topic: Topic | None) -> None:
        from cryptometrics.kafka.client import make_admin
        from cryptometrics.kafka.partition_ends import known_ends
        from cryptometrics.store.feed_activity import feed_activity
        from cryptometrics.store.group_overview import overview

        groups = overview(connection)
        places = {place for group in groups for place in group.next_offsets}
        # After the next offsets, so that no lag is hidden.
        ends = known_ends(make_admin(self._settings), places, ANSWER_S) if topic and places else {}
        self.groups = [
            GroupState(
                group.name,
                group.lag(ends),
                group.newest_tick,
                None if group.newest_tick is None else _age(group.newest_tick),
            )
            for group in groups
        ]
        self.feeds = [
            FeedState(
                feed.venue, feed.newest_tick, _age(feed.newest_tick), feed.newest_gap, feed.newest_gap_at
            )
            for feed in feed_activity(connection)
        ]


def _age(moment: datetime) -> float:
    """Return the seconds since then, by the clock of this machine."""
    return round((datetime.now(UTC) - moment).total_seconds(), 3)


def as_dict(report: StatusReport) -> dict[str, Any]:
    """Return the contents for JSON."""
    from cryptometrics.cli.output import exact
    from cryptometrics.config.endpoints import ADDRESS_NAMES

    found: dict[str, Any] = {}
    for name, service in report.services.items():
        fields = asdict(service)
        found[name] = {"running": fields.pop("running"), ADDRESS_NAMES[name]: fields.pop("address")} | fields

    def plain(fields: dict[str, Any]) -> dict[str, Any]:
        return {name: exact(value) for name, value in fields.items()}

    def each(rows: list[Any] | None) -> list[dict[str, Any]] | None:
        return None if rows is None else [plain(asdict(row)) for row in rows]

    commands = [
        state._asdict() | {"home": str(state.home), "log": str(state.log)} for state in report.commands
    ]
    return found | {
        "schema": asdict(report.schema),
        "topic": plain(asdict(report.topic)),
        "groups": each(report.groups),
        "feeds": each(report.feeds),
        "commands": commands,
    }
