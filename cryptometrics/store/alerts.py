"""Write alerts with the ticks that caused them, load their states, and list them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row

from cryptometrics.alerts.evaluator import StoredStates
from cryptometrics.alerts.kinds import LIMIT_PREFIX
from cryptometrics.alerts.messages import in_words
from cryptometrics.alerts.rule_state import SavedState
from cryptometrics.alerts.silences import longest
from cryptometrics.alerts.stale_feed import LastTicks
from cryptometrics.market.venues import Market
from cryptometrics.store.acknowledgements import active_silences
from cryptometrics.store.text_encoding import storable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    import psycopg

    from cryptometrics.alerts.channels import Recipients
    from cryptometrics.alerts.rule_state import Transition

# If a row of alert_states was deleted by hand, the rule fires again: the alert then continues.
_FIRE = """
WITH fired AS (
    INSERT INTO alerts (consumer_group, rule, kind, venue, pair, severity, level, value, message,
                        started_at, fired_at, kafka_partition, kafka_offset, silence_id, channels)
    VALUES (%(group)s, %(rule)s, %(kind)s, %(venue)s, %(pair)s, %(severity)s, %(level)s, %(value)s,
            %(message)s, %(since)s, %(at)s, %(partition)s, %(offset)s, %(silence)s, %(told)s)
    ON CONFLICT (consumer_group, rule, venue, pair) WHERE resolved_at IS NULL DO NOTHING
    RETURNING id, silence_id
)
INSERT INTO alert_notifications (consumer_group, alert_id, status, channel)
SELECT %(group)s, id, 'firing', unnest(%(told)s::text[]) FROM fired WHERE silence_id IS NULL
"""
_RESOLVE = """
WITH resolved AS (
    UPDATE alerts SET resolved_at = %(at)s, resolved_value = %(value)s, resolved_message = %(message)s
    WHERE consumer_group = %(group)s AND rule = %(rule)s AND venue = %(venue)s AND pair = %(pair)s
      AND resolved_at IS NULL
    RETURNING id, silence_id, channels
)
INSERT INTO alert_notifications (consumer_group, alert_id, status, channel)
SELECT %(group)s, id, 'resolved', name FROM resolved, unnest(%(recipients)s::text[]) AS name
WHERE silence_id IS NULL AND (name = 'webhook' OR name = ANY (channels))
"""
_SAVE = """
INSERT INTO alert_states AS s (consumer_group, rule, venue, pair, state, since, resolved_at, memory)
SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[],
    %s::timestamptz[], %s::jsonb[])
ON CONFLICT (consumer_group, rule, venue, pair) DO UPDATE SET
    state = excluded.state, since = excluded.since, resolved_at = excluded.resolved_at,
    memory = excluded.memory
"""

_SAVED = """
SELECT s.venue, s.pair, s.rule, s.state, s.since, s.resolved_at, s.memory::text
FROM alert_states s JOIN unnest(%s::text[], %s::text[]) AS wanted (venue, pair) USING (venue, pair)
WHERE s.consumer_group = %s
"""
_NEWEST = """
SELECT p.venue, p.pair, p.timestamp
FROM pair_state p JOIN unnest(%s::text[], %s::text[]) AS wanted (venue, pair) USING (venue, pair)
WHERE p.consumer_group = %s
"""

_LAST_TICKS = """
SELECT venue, pair, recorded_at FROM pair_state
WHERE consumer_group = %s AND recorded_at > now() - make_interval(secs => %s)
"""
_SAVED_BY_RULE = """
SELECT rule, venue, pair, state, since, resolved_at, memory::text FROM alert_states
WHERE consumer_group = %s AND rule = ANY(%s)
"""
# Of portfolios, by their names: limits are in no file that could list them.
_SAVED_LIMITS = """
SELECT rule, venue, pair, state, since, resolved_at, memory::text FROM alert_states
WHERE consumer_group = %s AND venue = %s AND starts_with(rule, %s) AND state <> 'inactive'
"""

_FIRING_RULES = "SELECT rule, kind, venue, pair FROM alerts WHERE consumer_group = %s AND resolved_at IS NULL"
# Nothing else is known about a rule that was removed.
_RETIRE = """
WITH retired AS (
    UPDATE alerts SET resolved_at = greatest(now(), fired_at),
        resolved_message = %(market)s || ': its rule was removed, or no longer applies to this pair'
    WHERE consumer_group = %(group)s AND rule = %(rule)s AND venue = %(venue)s AND pair = %(pair)s
      AND resolved_at IS NULL
    RETURNING id, silence_id, channels
), forgotten AS (
    DELETE FROM alert_states
    WHERE consumer_group = %(group)s AND rule = %(rule)s AND venue = %(venue)s AND pair = %(pair)s
)
INSERT INTO alert_notifications (consumer_group, alert_id, status, channel)
SELECT %(group)s, id, 'resolved', name FROM retired, unnest(%(recipients)s::text[]) AS name
WHERE silence_id IS NULL AND (name = 'webhook' OR name = ANY (channels))
"""

_SILENCED = """
SELECT id, rule, pair, severity, silence_id FROM alerts
WHERE consumer_group = %s AND resolved_at IS NULL AND silence_id IS NOT NULL ORDER BY id
"""
# A worker may resolve the alert at the same moment: then its end is not sent, and neither is its begin.
_UNSILENCE = """
WITH changed AS (
    UPDATE alerts SET silence_id = %(silence)s, channels = %(told)s
    WHERE id = %(id)s AND resolved_at IS NULL AND silence_id = %(earlier)s
    RETURNING id, silence_id
)
INSERT INTO alert_notifications (consumer_group, alert_id, status, channel)
SELECT %(group)s, id, 'firing', unnest(%(told)s::text[]) FROM changed WHERE silence_id IS NULL
"""

_LIST = """
SELECT a.id, a.consumer_group, a.rule, a.kind, a.venue, a.pair, a.severity, a.level, a.value, a.message,
       a.started_at, a.fired_at, a.resolved_at, a.resolved_value, a.resolved_message, a.kafka_partition,
       a.kafka_offset, a.recorded_at,
       a.silence_id IS NOT NULL AS silenced,
       k.acknowledged_by, k.acknowledged_at, k.why AS acknowledged_why,
       count(n.id) AS notifications, count(n.delivered_at) AS delivered,
       (array_agg(n.last_error ORDER BY n.id) FILTER (WHERE n.delivered_at IS NULL))[1] AS last_error
FROM alerts a LEFT JOIN alert_notifications n ON n.alert_id = a.id
     LEFT JOIN alert_acknowledgements k ON k.alert_id = a.id
WHERE (%(group)s::text IS NULL OR a.consumer_group = %(group)s)
  AND (%(venue)s::text IS NULL OR a.venue = %(venue)s)
  AND (%(since)s::timestamptz IS NULL OR a.resolved_at IS NULL OR a.fired_at >= %(since)s)
GROUP BY a.id, k.alert_id
ORDER BY a.resolved_at IS NULL DESC, a.fired_at DESC, a.id DESC
LIMIT %(limit)s
"""


@dataclass(frozen=True)
class Alert:
    """A row of `alerts`, with the delivery of its notifications."""

    id: int
    consumer_group: str
    rule: str
    kind: str
    venue: str
    """Empty for a rule about rejected ticks."""
    pair: str
    severity: str
    level: Decimal
    value: Decimal | None
    message: str
    started_at: datetime
    fired_at: datetime
    resolved_at: datetime | None
    resolved_value: Decimal | None
    resolved_message: str | None
    kafka_partition: int | None
    kafka_offset: int | None
    recorded_at: datetime
    silenced: bool
    """Whether it is not sent because of a silence."""
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    acknowledged_why: str | None
    notifications: int
    delivered: int
    last_error: str | None
    """The error of the oldest undelivered notification."""


def write(
    cursor: psycopg.Cursor,
    group: str,
    transitions: Sequence[Transition],
    saved: Mapping[tuple[str, Market], SavedState],
    recipients: Recipients,
) -> None:
    """Write transitions and states in the caller's transaction.

    Whether a silence covers an alert is decided here, when it begins: no sender decides it again.

    saved: (rule, market) → state. recipients: the webhook and the channels, each with its row of the outbox.
    """
    active = active_silences(cursor) if any(news.firing for news in transitions) else []
    for news in transitions:
        cursor.execute(
            _FIRE if news.firing else _RESOLVE,
            {
                "group": group,
                "rule": news.rule.name,
                "kind": news.rule.kind,
                "venue": news.market.venue,
                "pair": news.market.pair,
                "severity": news.rule.severity,
                "level": news.rule.level,
                "value": news.value,
                "message": storable(cursor.connection, news.message),
                "since": news.since,
                "at": news.at,
                "partition": news.partition,
                "offset": news.offset,
                "silence": longest(active, news.rule.name, news.market.pair) if news.firing else None,
                "told": recipients.of(news.rule.severity, news.market.pair),
                "recipients": recipients.names,
            },
        )
    if saved:
        rows: Iterable[tuple[Any, ...]] = (
            (rule, *market, *standing) for (rule, market), standing in saved.items()
        )
        cursor.execute(_SAVE, [group, *map(list, zip(*rows, strict=True))])


def load_states(
    connection: psycopg.Connection, group: str, markets: Collection[Market]
) -> dict[Market, StoredStates]:
    """Load the states of these markets and partitions, including those without any yet."""
    values = [*map(list, zip(*markets, strict=True)), group]
    newest: dict[Market, datetime] = {
        Market(venue, pair): at for venue, pair, at in connection.execute(_NEWEST, values)
    }
    saved: dict[Market, dict[str, SavedState]] = {market: {} for market in markets}
    for venue, pair, rule, *standing in connection.execute(_SAVED, values):
        saved[Market(venue, pair)][rule] = SavedState(*standing)
    return {market: StoredStates(newest.get(market), saved[market]) for market in markets}


def now(connection: psycopg.Connection) -> datetime:
    """Return the database's time: the clock of everything stored, and one for all workers."""
    row = connection.execute("SELECT now()").fetchone()
    assert row is not None  # noqa: S101  (a SELECT without FROM has a row)
    moment: datetime = row[0]
    return moment


def last_ticks(
    connection: psycopg.Connection, group: str, rules: Collection[str], expected_s: float
) -> LastTicks:
    """Load when each market's last tick was stored, within `expected_s` seconds, and the rules' states."""
    last: dict[Market, datetime] = {
        Market(venue, pair): at for venue, pair, at in connection.execute(_LAST_TICKS, [group, expected_s])
    }
    return LastTicks(now(connection), last, saved_states(connection, group, rules))


def saved_states(
    connection: psycopg.Connection, group: str, rules: Collection[str]
) -> dict[tuple[str, Market], SavedState]:
    """Load the states of these rules: (rule, market) → its state."""
    return {
        (rule, Market(venue, pair)): SavedState(*state)
        for rule, venue, pair, *state in connection.execute(_SAVED_BY_RULE, [group, list(rules)])
    }


def open_limits(
    connection: psycopg.Connection, group: str, venue: str
) -> dict[tuple[str, Market], SavedState]:
    """Load the states of the limits that have an open alert: (limit, portfolio) → its state."""
    return {
        (rule, Market(venue, portfolio)): SavedState(*state)
        for rule, venue, portfolio, *state in connection.execute(_SAVED_LIMITS, [group, venue, LIMIT_PREFIX])
    }


def firing(connection: psycopg.Connection, group: str) -> list[tuple[str, str, Market]]:
    """Return rule, kind and market of each firing alert."""
    rows = connection.execute(_FIRING_RULES, [group])
    return [(rule, kind, Market(venue, pair)) for rule, kind, venue, pair in rows]


def retire(
    connection: psycopg.Connection, group: str, rule: str, market: Market, recipients: Recipients
) -> None:
    """Resolve an alert whose rule was removed or no longer applies to the market."""
    values = {"group": group, "rule": rule, "market": in_words(market), "recipients": recipients.names}
    connection.execute(_RETIRE, values | market._asdict())


def send_unsilenced(connection: psycopg.Connection, group: str, recipients: Recipients) -> None:
    """Put alerts into the outbox that still fire when their silence has ended, unless another covers them."""
    with connection.transaction(), connection.cursor() as cursor:
        silenced = cursor.execute(_SILENCED, [group]).fetchall()
        active = active_silences(cursor) if silenced else []
        ids = {silence.id for silence in active}
        for alert, rule, pair, severity, earlier in silenced:
            if earlier not in ids:
                values = {"id": alert, "earlier": earlier, "silence": longest(active, rule, pair)}
                cursor.execute(_UNSILENCE, values | {"group": group, "told": recipients.of(severity, pair)})


def listed(
    connection: psycopg.Connection,
    group: str | None,
    since: datetime | None,
    limit: int,
    *,
    venue: str | None = None,
) -> list[Alert]:
    """Return firing alerts, then the newest resolved ones, without those that fired before `since`."""
    with connection.cursor(row_factory=class_row(Alert)) as cursor:
        values = {"group": group, "venue": venue, "since": since, "limit": limit}
        return cursor.execute(_LIST, values).fetchall()
