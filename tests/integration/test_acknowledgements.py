"""Acknowledge and silence alerts on a real database: what is stored, what is sent, and who may do it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import conninfo, errors

from cryptometrics.alerts.channels import NOBODY, Recipients
from cryptometrics.alerts.rule_state import Transition
from cryptometrics.alerts.rules import parse
from cryptometrics.errors import NotFoundError, UserError
from cryptometrics.market.venues import Market
from cryptometrics.notify.sender import Sender
from cryptometrics.notify.webhook import Webhook
from cryptometrics.store import acknowledgements, alerts, roles
from cryptometrics.store import migrate as migrations
from cryptometrics.store.acknowledgements import AlreadyAcknowledgedError
from tests.fakes.receiver import Receiver
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.config import Settings
    from tests.conftest import Cli

GROUP = "g"
RULES = '[[rule]]\nname = "wide"\nkind = "spread_bps"\nlevel = 25\n'
(RULE,) = parse(RULES)
AT = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def uri(settings: Settings) -> str:
    return settings.postgres()


@pytest.fixture
def connection(uri: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(uri, autocommit=True) as opened:
        yield opened


@pytest.fixture
def reader(connection: psycopg.Connection, uri: str) -> Iterator[psycopg.Connection]:
    """Return a connection with the reader's login, which is read-only by default."""
    roles.create_roles(connection)
    options = "-c default_transaction_read_only=on"
    with psycopg.connect(
        conninfo.make_conninfo(uri, user=roles.READER, options=options), autocommit=True
    ) as opened:
        yield opened


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


THEM = Recipients(webhook=True)


def store(connection: psycopg.Connection, *pairs: str, firing: bool = True, to: Recipients = THEM) -> None:
    """Store that an alert fires, or that it resolves, for each pair."""
    news = [
        Transition(RULE, Market("coinbase", pair), firing, AT, AT, Decimal(30), 0, number, "m")
        for number, pair in enumerate(pairs)
    ]
    with connection.transaction(), connection.cursor() as cursor:
        alerts.write(cursor, GROUP, news, {}, to)


def only(connection: psycopg.Connection) -> alerts.Alert:
    (alert,) = alerts.listed(connection, None, None, 10)
    return alert


def outbox(connection: psycopg.Connection) -> list[tuple[str, str]]:
    """Return pair and status of each notification, in order."""
    return connection.execute(
        "SELECT pair, status FROM alert_notifications JOIN alerts a ON a.id = alert_id "
        "ORDER BY alert_notifications.id"
    ).fetchall()


def end(connection: psycopg.Connection, silence: acknowledgements.Silence) -> None:
    """Let a silence end by itself, as if its time were over."""
    connection.execute(
        "UPDATE alert_silences SET starts_at = now() - interval '2 s', ends_at = now() - interval '1 s' "
        "WHERE id = %s",
        [silence.id],
    )


# Acknowledgements


def test_an_acknowledgement_informs_others_and_changes_nothing(connection: psycopg.Connection) -> None:
    store(connection, "BTC-USD")
    acknowledgements.acknowledge(connection, only(connection).id, "alice", "told the desk")
    alert = only(connection)
    assert (alert.acknowledged_by, alert.acknowledged_why) == ("alice", "told the desk")
    assert alert.acknowledged_at is not None
    assert not alert.silenced
    store(connection, "BTC-USD", firing=False)
    assert outbox(connection) == [("BTC-USD", "firing"), ("BTC-USD", "resolved")]
    assert only(connection).acknowledged_by == "alice"


def test_nobody_overwrites_the_acknowledgement_of_another(connection: psycopg.Connection) -> None:
    store(connection, "BTC-USD")
    alert = only(connection).id
    acknowledgements.acknowledge(connection, alert, "alice", "first")
    with pytest.raises(
        AlreadyAcknowledgedError, match=rf"alert {alert} is already acknowledged, by alice at "
    ):
        acknowledgements.acknowledge(connection, alert, "bob", "second")
    assert only(connection).acknowledged_why == "first"


def test_an_alert_that_was_deleted_takes_its_acknowledgement_along(connection: psycopg.Connection) -> None:
    store(connection, "BTC-USD")
    acknowledgements.acknowledge(connection, only(connection).id, "alice", "seen")
    connection.execute("DELETE FROM alerts")
    assert connection.execute("SELECT count(*) FROM alert_acknowledgements").fetchone() == (0,)


@pytest.mark.parametrize("number", [0, 99, 2**63 - 1])
def test_what_does_not_exist_is_not_found(connection: psycopg.Connection, number: int) -> None:
    with pytest.raises(NotFoundError, match=f"there is no alert {number}"):
        acknowledgements.acknowledge(connection, number, "alice", "seen")
    with pytest.raises(NotFoundError, match=f"there is no active silence {number}"):
        acknowledgements.end_silence(connection, number, "alice")


@pytest.mark.parametrize(
    ("by", "why", "refusal"),
    [
        ("", "seen", "the author must not be empty"),
        (" \t", "seen", "the author must not be empty"),
        ("a" * 101, "seen", "the author has 101 characters: at most 100 are allowed"),
        ("alice\x1b[2J", "seen", "the author must be one line without control characters"),
        ("alice", "", "the reason must not be empty"),
        ("alice", "x" * 1001, "the reason has 1001 characters: at most 1000 are allowed"),
        ("alice", "two\nlines", "the reason must be one line without control characters"),
        ("alice", "c1 \x9b", "the reason must be one line without control characters"),
        ("alice", "nul \x00", "NUL"),
        ("alice", "half \ud800", "not valid Unicode"),
    ],
)
def test_texts_are_checked_by_the_database(
    connection: psycopg.Connection, by: str, why: str, refusal: str
) -> None:
    store(connection, "BTC-USD")
    with pytest.raises(UserError, match=refusal):
        acknowledgements.acknowledge(connection, only(connection).id, by, why)
    with pytest.raises(UserError, match=refusal):
        acknowledgements.silence(connection, "*", "*", HOUR, by, why)
    assert only(connection).acknowledged_by is None
    assert acknowledgements.silences(connection, ended=True) == []


def test_a_number_that_no_id_can_be_is_refused(connection: psycopg.Connection) -> None:
    with pytest.raises(UserError, match="out of range"):
        acknowledgements.acknowledge(connection, 2**63, "alice", "seen")


# Silences


def test_an_alert_that_begins_in_a_silence_is_stored_and_never_sent(connection: psycopg.Connection) -> None:
    acknowledgements.silence(connection, "w*", "BTC-*", HOUR, "alice", "maintenance")
    store(connection, "BTC-USD", "ETH-USD")
    store(connection, "BTC-USD", "ETH-USD", firing=False)
    assert outbox(connection) == [("ETH-USD", "firing"), ("ETH-USD", "resolved")]
    listed = alerts.listed(connection, None, None, 10)
    assert {alert.pair: alert.silenced for alert in listed} == {"BTC-USD": True, "ETH-USD": False}


def test_the_end_of_an_alert_that_began_before_the_silence_is_sent(connection: psycopg.Connection) -> None:
    store(connection, "BTC-USD")
    acknowledgements.silence(connection, "*", "*", HOUR, "alice", "maintenance")
    alerts.send_unsilenced(connection, GROUP, THEM)
    assert not only(connection).silenced
    store(connection, "BTC-USD", firing=False)
    assert outbox(connection) == [("BTC-USD", "firing"), ("BTC-USD", "resolved")]


@pytest.mark.parametrize("early", [False, True])
def test_an_alert_that_outlasts_its_silence_is_sent_once(connection: psycopg.Connection, early: bool) -> None:
    silence = acknowledgements.silence(connection, "*", "*", HOUR, "alice", "maintenance")
    store(connection, "BTC-USD")
    for _ in range(2):
        alerts.send_unsilenced(connection, GROUP, THEM)
    assert outbox(connection) == []
    assert only(connection).silenced
    if early:
        acknowledgements.end_silence(connection, silence.id, "bob")
    else:
        end(connection, silence)
    for _ in range(2):
        alerts.send_unsilenced(connection, GROUP, THEM)
    assert outbox(connection) == [("BTC-USD", "firing")]
    assert not only(connection).silenced
    store(connection, "BTC-USD", firing=False)
    assert outbox(connection) == [("BTC-USD", "firing"), ("BTC-USD", "resolved")]


def test_an_alert_that_ended_in_its_silence_stays_unsent(connection: psycopg.Connection) -> None:
    silence = acknowledgements.silence(connection, "*", "*", HOUR, "alice", "maintenance")
    store(connection, "BTC-USD")
    store(connection, "BTC-USD", firing=False)
    end(connection, silence)
    alerts.send_unsilenced(connection, GROUP, THEM)
    assert outbox(connection) == []
    assert only(connection).silenced


def test_a_second_silence_keeps_an_alert_back(connection: psycopg.Connection) -> None:
    first = acknowledgements.silence(connection, "*", "*", HOUR, "alice", "maintenance")
    store(connection, "BTC-USD")
    second = acknowledgements.silence(connection, "wide", "*", HOUR, "bob", "it goes on")
    end(connection, first)
    alerts.send_unsilenced(connection, GROUP, THEM)
    assert outbox(connection) == []
    assert connection.execute("SELECT silence_id FROM alerts").fetchone() == (second.id,)
    end(connection, second)
    alerts.send_unsilenced(connection, GROUP, THEM)
    assert outbox(connection) == [("BTC-USD", "firing")]


def test_a_rule_that_is_removed_ends_a_silenced_alert_without_a_word(connection: psycopg.Connection) -> None:
    acknowledgements.silence(connection, "*", "*", HOUR, "alice", "maintenance")
    store(connection, "BTC-USD")
    alerts.retire(connection, GROUP, "wide", Market("coinbase", "BTC-USD"), THEM)
    assert only(connection).resolved_at is not None
    assert outbox(connection) == []


def test_a_silence_whose_row_was_deleted_holds_nothing_up(connection: psycopg.Connection) -> None:
    acknowledgements.silence(connection, "*", "*", HOUR, "alice", "maintenance")
    store(connection, "BTC-USD")
    connection.execute("DELETE FROM alert_silences")
    alerts.send_unsilenced(connection, GROUP, THEM)
    assert outbox(connection) == [("BTC-USD", "firing")]


def test_without_a_webhook_nothing_is_put_into_the_outbox(connection: psycopg.Connection) -> None:
    silence = acknowledgements.silence(connection, "*", "*", HOUR, "alice", "maintenance")
    store(connection, "BTC-USD", to=NOBODY)
    end(connection, silence)
    alerts.send_unsilenced(connection, GROUP, NOBODY)
    assert outbox(connection) == []
    assert not only(connection).silenced


def test_active_silences_are_listed_and_ended_ones_on_request(connection: psycopg.Connection) -> None:
    first = acknowledgements.silence(connection, "a", "*", HOUR, "alice", "one")
    second = acknowledgements.silence(connection, "b", "*", 2 * HOUR, "alice", "two")
    third = acknowledgements.silence(connection, "c", "*", HOUR, "alice", "three")
    ended = acknowledgements.end_silence(connection, second.id, "bob")
    assert (ended.active, ended.ended_by) == (False, "bob")
    end(connection, third)
    assert [each.id for each in acknowledgements.silences(connection)] == [first.id]
    every = acknowledgements.silences(connection, ended=True)
    assert [(each.id, each.active) for each in every] == [
        (first.id, True),
        (second.id, False),
        (third.id, False),
    ]
    with pytest.raises(NotFoundError):
        acknowledgements.end_silence(connection, third.id, "bob")


def test_the_end_of_a_silence_lies_ahead_and_not_far(connection: psycopg.Connection) -> None:
    now = alerts.now(connection)
    for until in (now - HOUR, timedelta(0), -HOUR):
        with pytest.raises(UserError, match="must be in the future"):
            acknowledgements.silence(connection, "*", "*", until, "alice", "late")
    for until in (now + timedelta(days=31), timedelta(days=31)):
        with pytest.raises(UserError, match="at most 30 days"):
            acknowledgements.silence(connection, "*", "*", until, "alice", "long")
    with pytest.raises(UserError, match="out of range"):
        acknowledgements.silence(connection, "*", "*", timedelta.max, "alice", "longest")
    made = acknowledgements.silence(connection, "*", "*", now + HOUR, "alice", "an hour")
    assert made.ends_at == now + HOUR


def test_the_number_of_active_silences_is_bounded(connection: psycopg.Connection) -> None:
    """Whoever stores an alert compares it with each of them."""
    connection.execute(
        "INSERT INTO alert_silences (rule, pair, why, created_by, created_login, ends_at) "
        "SELECT 'r', '*', 'w', 'a', session_user, now() + interval '1 h' FROM generate_series(1, 1000)"
    )
    with pytest.raises(UserError, match="already 1,000 active silences"):
        acknowledgements.silence(connection, "*", "*", HOUR, "alice", "one more")


# The migration


def test_alerts_that_fire_while_the_schema_is_migrated_are_sent_to_their_end(
    empty_database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = migrations._migrations()
    older = {name: text for name, text in files.items() if name < "0017"}
    with psycopg.connect(empty_database_settings.postgres(), autocommit=True) as opened:
        monkeypatch.setattr(migrations, "_migrations", lambda: older)
        migrations.migrate(opened)
        opened.execute(
            "INSERT INTO alerts (consumer_group, rule, kind, venue, pair, severity, level, message, "
            "started_at, fired_at) VALUES (%s, 'wide', 'spread_bps', 'coinbase', 'BTC-USD', 'warning', 25, "
            "'m', now(), now())",
            [GROUP],
        )
        monkeypatch.setattr(migrations, "_migrations", lambda: files)
        assert migrations.migrate(opened)[0] == "0017_acknowledgements"
        acknowledgements.silence(opened, "*", "*", HOUR, "alice", "maintenance")
        acknowledgements.acknowledge(opened, only(opened).id, "alice", "seen")
        assert not only(opened).silenced
        store(opened, "BTC-USD", firing=False)
        assert outbox(opened) == [("BTC-USD", "resolved")]


# Who may


def test_a_reader_acknowledges_and_silences_and_its_login_is_stored(
    connection: psycopg.Connection, reader: psycopg.Connection
) -> None:
    store(connection, "BTC-USD")
    acknowledgements.acknowledge(reader, only(reader).id, "postgres", "I am another")
    silence = acknowledgements.silence(reader, "*", "*", HOUR, "postgres", "I am another")
    ended = acknowledgements.end_silence(reader, silence.id, "postgres")
    logins = connection.execute("SELECT acknowledged_login FROM alert_acknowledgements").fetchone()
    assert logins == (roles.READER,)
    assert (ended.created_login, ended.ended_login) == (roles.READER, roles.READER)


def test_a_role_that_was_set_does_not_hide_the_login(
    connection: psycopg.Connection, reader: psycopg.Connection
) -> None:
    owner = connection.execute("SELECT session_user").fetchone()
    connection.execute(f"SET ROLE {roles.READER}".encode())
    silence = acknowledgements.silence(connection, "*", "*", HOUR, "reader", "as another")
    assert (silence.created_login,) == owner


@pytest.mark.parametrize("role", [roles.READER, roles.WRITER])
def test_nobody_writes_past_the_functions(
    connection: psycopg.Connection, reader: psycopg.Connection, uri: str, role: str
) -> None:
    store(connection, "BTC-USD")
    acknowledgements.silence(reader, "*", "*", HOUR, "alice", "mine")
    acknowledgements.acknowledge(reader, only(reader).id, "alice", "mine")
    with psycopg.connect(conninfo.make_conninfo(uri, user=role), autocommit=True) as other:
        for statement in (
            "INSERT INTO alert_silences (rule) VALUES ('*')",
            "UPDATE alert_silences SET created_by = 'bob'",
            "DELETE FROM alert_silences",
            "INSERT INTO alert_acknowledgements SELECT * FROM alert_acknowledgements",
            "UPDATE alert_acknowledgements SET acknowledged_by = 'bob'",
            "DELETE FROM alert_acknowledgements",
            "SELECT crypto_check_note('a', 'b', 1)",
        ):
            with pytest.raises(errors.InsufficientPrivilege):  # the statement is in the test's traceback
                other.execute(statement.encode())


def test_a_stranger_may_not_call_the_functions(connection: psycopg.Connection, uri: str) -> None:
    name = connection.info.dbname
    connection.execute(f'CREATE ROLE "{name}" LOGIN'.encode())
    try:
        with psycopg.connect(conninfo.make_conninfo(uri, user=name), autocommit=True) as stranger:
            for call in (
                "SELECT crypto_acknowledge_alert(1, 'a', 'b')",
                "SELECT crypto_silence_alerts('a', 'b', now() + interval '1 h', 'a', 'b')",
                "SELECT crypto_end_silence(1, 'a')",
            ):
                with pytest.raises(errors.InsufficientPrivilege):
                    stranger.execute(call.encode())
    finally:
        connection.execute(f'DROP ROLE "{name}"'.encode())


# The sender


def test_what_was_kept_back_is_sent_when_the_silence_ends_though_the_sender_was_killed(
    settings: Settings, connection: psycopg.Connection, receiver: Receiver
) -> None:
    def sender() -> Sender:
        return Sender(settings, GROUP, (RULE,), Webhook(receiver.url, "generic"))

    silence = acknowledgements.silence(connection, "*", "BTC-*", HOUR, "alice", "maintenance")
    store(connection, "BTC-USD", "ETH-USD")
    first = sender()
    delivered = "SELECT count(*) FROM alert_notifications WHERE delivered_at IS NOT NULL"
    wait_until(lambda: connection.execute(delivered).fetchone() == (1,), "the other pair is delivered")
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    end(connection, silence)
    second = sender()
    wait_until(lambda: len(receiver.posts) == 2, "what the silence kept back is sent")
    store(connection, "BTC-USD", firing=False)
    wait_until(lambda: len(receiver.posts) == 3, "its end is sent")
    for each in (first, second):
        each.close()
    told = [(post.body["pair"], post.body["status"]) for post in receiver.posts]
    assert told == [("ETH-USD", "firing"), ("BTC-USD", "firing"), ("BTC-USD", "resolved")]


# The commands


def test_alerts_are_acknowledged_and_silenced_by_command(connection: psycopg.Connection, cli: Cli) -> None:
    said = cli(
        "alerts", "silence", "wide", "--pair", "eth-*", "--for", "2h", "--why", "maintenance", "--by", "bob"
    )
    silence = acknowledgements.silences(connection)[0]
    assert said.stdout == f"silence 1: wide of eth-* until {silence.ends_at:%Y-%m-%d %H:%M:%S} UTC\n"
    assert silence.ends_at - silence.starts_at == 2 * HOUR
    store(connection, "BTC-USD", "ETH-USD", to=NOBODY)
    said = cli("alerts", "ack", "1", "--why", " told the desk ", "--by", "alice")
    assert said.stdout == "alert 1: acknowledged by alice\n"
    found = {alert["pair"]: alert for alert in json.loads(cli("alerts", "list", "--json").stdout)}
    said_at = found["BTC-USD"]["acknowledged"].pop("at")
    assert datetime.fromisoformat(said_at).tzinfo is not None
    assert found["BTC-USD"]["acknowledged"] == {"by": "alice", "why": "told the desk"}
    assert (found["BTC-USD"]["silenced"], found["ETH-USD"]["silenced"]) == (False, True)
    assert found["ETH-USD"]["acknowledged"] is None
    text = cli("alerts", "list").stdout.splitlines()
    assert [line.split()[-2:] for line in text[1:]] == [["silenced", "–"], ["channel", "alice"]]
    wide = cli("alerts", "list", env={"COLUMNS": "140"}).stdout
    assert "acknowledged 20" in wide
    assert " by alice: told the desk" in wide
    error = cli("alerts", "ack", "1", "--why", "me too", code=2).stderr
    assert error.startswith("error: alert 1 is already acknowledged, by alice at 20")


def test_silences_are_listed_and_ended_by_command(connection: psycopg.Connection, cli: Cli) -> None:
    assert cli("alerts", "silences").stdout == "no active silences\n"
    cli("alerts", "silence", "limit.*", "--for", "30m", "--why", "rebalancing")
    assert "limit.*" in cli("alerts", "silences").stdout
    assert "rebalancing" in cli("alerts", "silences", env={"COLUMNS": "80"}).stdout
    (listed,) = json.loads(cli("alerts", "silences", "--json").stdout)
    silence = acknowledgements.silences(connection)[0]
    assert {key: listed[key] for key in ("id", "active", "rule", "pair", "why", "ended_at", "ended_by")} == {
        "id": silence.id,
        "active": True,
        "rule": "limit.*",
        "pair": "*",
        "why": "rebalancing",
        "ended_at": None,
        "ended_by": None,
    }
    said = cli("alerts", "unsilence", str(silence.id), "--by", "bob").stdout
    assert said == f"silence {silence.id}: limit.* of all pairs ended by bob\n"
    assert json.loads(cli("alerts", "silences", "--json").stdout) == []
    (listed,) = json.loads(cli("alerts", "silences", "--all", "--json").stdout)
    assert (listed["active"], listed["ended_by"]) == (False, "bob")
    again = cli("alerts", "unsilence", str(silence.id), code=2).stderr
    assert again == f"error: there is no active silence {silence.id}\n"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["ack", "x", "--why", "w"], "'x' is not a valid integer"),
        (["ack", "1"], "Missing option '--why'"),
        (["ack", "7", "--why", "w"], "there is no alert 7"),
        (["ack", "7", "--why", "a\nb"], "must be one line of printable characters"),
        (["silence", "w", "--why", "w"], "Missing option '--for'"),
        (["silence", "w", "--why", "w", "--for", "2"], "'2' is not a duration"),
        (["silence", "w", "--why", "w", "--for", "31d"], "at most 30 days"),
        (["silence", "", "--why", "w", "--for", "1h"], "it must not be empty"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(cli: Cli, words: list[str], what: str) -> None:
    assert what in cli("alerts", *words, code=2).stderr
