"""Channels, against a mail server, a webhook and ntfy's protocol on the loopback, and a real outbox."""

from __future__ import annotations

import socket
import threading
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from cryptometrics.alerts import channels as parser
from cryptometrics.alerts.channels import NOBODY, Recipients
from cryptometrics.alerts.rule_state import Transition
from cryptometrics.alerts.rules import parse
from cryptometrics.market.venues import Market
from cryptometrics.notify import outbox
from cryptometrics.notify.channels import ChannelTarget, open_channels
from cryptometrics.notify.sender import Sender
from cryptometrics.notify.webhook import NotDeliveredError, Webhook
from cryptometrics.store import alerts
from tests.fakes.mailbox import Mailbox
from tests.fakes.receiver import SECRET, Act, Receiver
from tests.integration.test_webhook import notification
from tests.waiting import LIMIT_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cryptometrics.config import Settings
    from tests.conftest import Cli

GROUP = "g"
RULES = """
[[rule]]
name = "wide"
kind = "spread_bps"
level = 25

[[rule]]
name = "wider"
kind = "spread_bps"
level = 50
severity = "critical"
"""
WIDE, WIDER = parse(RULES)
AT = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.fixture
def connection(settings: Settings) -> Iterator[psycopg.Connection]:
    with psycopg.connect(settings.postgres(), autocommit=True) as opened:
        yield opened


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as running:
        yield running


def table(name: str, url: str, more: str = "") -> str:
    return f'[[channel]]\nname = "{name}"\nurl = "{url}"\n{more}\n'


def json_url(port: int) -> str:
    return f"json://ana:{SECRET}@127.0.0.1:{port}/hooks/{SECRET}"


def mail_url(port: int) -> str:
    return f"mailto://127.0.0.1:{port}?from=alerts@example.com&to=desk@example.com&mode=insecure"


def targets(*tables: str) -> tuple[ChannelTarget, ...]:
    found, problems = parser.parse("\n".join(tables))
    assert problems == []
    return open_channels(found)


def to(*tables: str, webhook: bool = False) -> Recipients:
    return Recipients(webhook, parser.parse("\n".join(tables))[0])


def store(
    connection: psycopg.Connection,
    recipients: Recipients,
    *pairs: str,
    firing: bool = True,
    critical: bool = False,
) -> None:
    """Store an alert that begins or ends for each pair, as a worker does."""
    rule = WIDER if critical else WIDE
    news = [
        Transition(rule, Market("coinbase", pair), firing, AT, AT, Decimal(60), None, None, f"{pair}!")
        for pair in pairs
    ]
    with connection.transaction(), connection.cursor() as cursor:
        alerts.write(cursor, GROUP, news, {}, recipients)


def waiting(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Return channel, pair and status of what is not delivered."""
    return connection.execute(
        "SELECT channel, pair, status FROM alert_notifications n JOIN alerts a ON a.id = alert_id "
        "WHERE delivered_at IS NULL ORDER BY n.id, channel"
    ).fetchall()


def titles(receiver: Receiver) -> list[str]:
    return [post.body["title"] for post in receiver.posts]


def bodies(receiver: Receiver) -> list[str]:
    return [post.body["message"].split("!")[0] for post in receiver.posts]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


# Services


def test_a_person_gets_the_alert_by_mail(mailbox: Mailbox) -> None:
    (target,) = targets(table("mail", mail_url(mailbox.port)))
    target.send([notification()])
    (mail,) = mailbox.mails
    assert mail["To"].endswith("desk@example.com") or "desk@example.com" in mail["To"]
    assert mail["Subject"] == "[FIRING] critical wide"
    text = mail.get_body(("plain", "html"))
    assert text is not None
    assert "BTC-USD (coinbase): spread is 31.25 bps, above 25" in text.get_content()


def test_a_person_gets_the_alert_over_ntfy(receiver: Receiver) -> None:
    (target,) = targets(table("phone", f"ntfy://127.0.0.1:{receiver.port}/desk"))
    target.send([notification(status="resolved", resolved_at=AT)])
    (post,) = receiver.posts
    assert post.body["topic"] == "desk"
    assert post.body["title"] == "[RESOLVED] critical wide"
    assert post.body["message"].startswith("BTC-USD (coinbase): spread is 31.25 bps, above 25\n")


def test_a_program_gets_the_alert_as_json(receiver: Receiver) -> None:
    (target,) = targets(table("hook", json_url(receiver.port)))
    target.send([notification()])
    (post,) = receiver.posts
    assert (post.path, post.body["type"]) == (f"/hooks/{SECRET}", "failure")


def test_what_is_not_accepted_is_an_error_without_the_secret(receiver: Receiver) -> None:
    receiver.choose = lambda: "refuse"
    answered, silent = targets(table("hook", json_url(receiver.port)), table("dead", json_url(free_port())))
    with pytest.raises(NotDeliveredError, match=r"^channel hook answered 500$") as refused:
        answered.send([notification()])
    with pytest.raises(NotDeliveredError, match=r"^channel dead does not answer$") as unheard:
        silent.send([notification()])
    assert (refused.value.answered, unheard.value.answered) == (True, False)


def test_the_url_may_be_in_a_variable_or_a_file(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESK_URL", json_url(receiver.port))
    (tmp_path / "url").write_text(json_url(receiver.port) + "\n")
    for target in targets(
        '[[channel]]\nname = "a"\nurl_env = "DESK_URL"',
        f'[[channel]]\nname = "b"\nurl_file = "{tmp_path / "url"}"',
    ):
        target.send([notification()])
    assert len(receiver.posts) == 2


# The outbox


def test_each_channel_gets_what_it_asks_for_and_the_end_of_it(connection: psycopg.Connection) -> None:
    recipients = to(
        table("all", "json://a"),
        table("grave", "json://a", 'min_severity = "critical"'),
        table("eth", "json://a", 'pairs = ["eth-*"]'),
        webhook=True,
    )
    store(connection, recipients, "BTC-USD")
    store(connection, recipients, "ETH-USD", critical=True)
    store(connection, recipients, "ETH-USD", firing=False, critical=True)
    begun, graver = ["all", "webhook"], ["all", "eth", "grave", "webhook"]
    assert waiting(connection) == [
        *((name, "BTC-USD", "firing") for name in sorted(begun, key=recipients.names.index)),
        *((name, "ETH-USD", "firing") for name in sorted(graver, key=recipients.names.index)),
        *((name, "ETH-USD", "resolved") for name in sorted(graver, key=recipients.names.index)),
    ]


def test_a_channel_added_later_gets_only_new_alerts(connection: psycopg.Connection) -> None:
    store(connection, to(table("old", "json://a")), "BTC-USD")
    both = to(table("old", "json://a"), table("new", "json://a"))
    store(connection, both, "BTC-USD", firing=False)
    store(connection, both, "ETH-USD")
    assert waiting(connection) == [
        ("old", "BTC-USD", "firing"),
        ("old", "BTC-USD", "resolved"),
        ("old", "ETH-USD", "firing"),
        ("new", "ETH-USD", "firing"),
    ]


def test_a_dead_channel_never_delays_another_and_gets_all_in_order_later(
    settings: Settings, connection: psycopg.Connection, receiver: Receiver
) -> None:
    """It accepts connections and says nothing, which takes the longest to find out."""
    with socket.create_server(("127.0.0.1", 0)) as silent, Receiver() as webhook:
        port = silent.getsockname()[1]
        tables = table("dead", json_url(port)), table("live", json_url(receiver.port))
        pairs = [f"P{number}-USD" for number in range(9)]
        sender = Sender(settings, GROUP, (WIDE, WIDER), Webhook(webhook.url, "generic"), targets(*tables))
        for pair in pairs:
            store(connection, to(*tables, webhook=True), pair)
        wait_until(lambda: len(receiver.posts) == len(webhook.posts) == 9, "the live ones get all")
        delivered = "SELECT count(*) FROM alert_notifications WHERE delivered_at IS NOT NULL"
        wait_until(lambda: connection.execute(delivered).fetchone() == (18,), "that is stored")
        sender.close()
    assert bodies(receiver) == pairs
    assert waiting(connection) == [("dead", pair, "firing") for pair in pairs]
    with Receiver(port=port) as back:
        sender = Sender(settings, GROUP, (WIDE, WIDER), None, targets(*tables))
        wait_until(lambda: waiting(connection) == [], "it gets them later")
        sender.close()
        assert bodies(back) == pairs


def test_many_alerts_of_a_minute_become_one_message(
    settings: Settings, connection: psycopg.Connection, receiver: Receiver
) -> None:
    tables = (table("desk", json_url(receiver.port)),)
    pairs = [f"P{number:02}-USD" for number in range(21)]
    store(connection, to(*tables), *pairs)
    store(connection, to(*tables), pairs[0], firing=False)
    sender = Sender(settings, GROUP, (WIDE, WIDER), None, targets(*tables))
    wait_until(lambda: waiting(connection) == [], "all is delivered")
    sender.close()
    assert titles(receiver) == ["[22 ALERTS] 21 firing, 1 resolved, group g"]
    lines = receiver.posts[0].body["message"].splitlines()
    assert [line.split(": ")[1] for line in lines] == [f"{pair}!" for pair in [*pairs, pairs[0]]]


def test_twenty_alerts_are_single_messages_and_the_next_ones_are_collected(
    settings: Settings, connection: psycopg.Connection, receiver: Receiver
) -> None:
    tables = (table("desk", json_url(receiver.port)),)
    store(connection, to(*tables), *(f"P{number:02}-USD" for number in range(20)))
    sender = Sender(settings, GROUP, (WIDE, WIDER), None, targets(*tables))
    wait_until(lambda: waiting(connection) == [], "all are delivered")
    assert len(receiver.posts) == 20
    store(connection, to(*tables), "LATE-USD", "LATER-USD")
    begun = outbox.take_lock(connection, GROUP, channel="desk")
    assert not begun, "the sender has the channel"
    sender.close()
    assert len(receiver.posts) == 20, "a person had twenty messages within this minute"
    assert len(waiting(connection)) == 2


def test_a_message_that_was_on_its_way_when_the_sender_died_is_sent_again(
    settings: Settings, connection: psycopg.Connection, receiver: Receiver
) -> None:
    tables = (table("desk", json_url(receiver.port)),)
    held = threading.Event()

    def hold() -> Act:
        assert held.wait(LIMIT_S)
        return "accept"

    receiver.choose = hold
    store(connection, to(*tables), "BTC-USD", "ETH-USD")
    sender = Sender(settings, GROUP, (WIDE, WIDER), None, targets(*tables))
    locks = f"FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = {outbox.LOCK}"
    wait_until(lambda: connection.execute(f"SELECT pid {locks}").fetchone() is not None, "it has begun")
    wait_until(lambda: any(thread.name == "to desk" for thread in threading.enumerate()), "it is sending")
    connection.execute(f"SELECT pg_terminate_backend(pid) {locks}")
    held.set()
    wait_until(lambda: waiting(connection) == [], "all is delivered")
    sender.close()
    assert bodies(receiver) == ["BTC-USD", "BTC-USD", "ETH-USD"], "at least once, and in order"


def test_what_waits_for_a_removed_channel_is_discarded(
    settings: Settings, connection: psycopg.Connection, receiver: Receiver
) -> None:
    tables = table("gone", json_url(free_port())), table("desk", json_url(receiver.port))
    store(connection, to(*tables), "BTC-USD")
    sender = Sender(settings, GROUP, (WIDE, WIDER), None, targets(tables[1]))
    wait_until(lambda: waiting(connection) == [], "nothing waits")
    sender.close()
    assert bodies(receiver) == ["BTC-USD"]
    assert connection.execute("SELECT channel FROM alert_notifications").fetchall() == [("desk",)]


def test_a_channel_of_another_sender_is_not_removed(
    settings: Settings, connection: psycopg.Connection
) -> None:
    tables = (table("theirs", json_url(free_port())),)
    store(connection, to(*tables), "BTC-USD")
    with psycopg.connect(settings.postgres(), autocommit=True) as other:
        assert outbox.take_lock(other, GROUP, channel="theirs")
        assert outbox.discard_removed(connection, GROUP, []) == {}
    wait_until(lambda: outbox.discard_removed(connection, GROUP, []) == {"theirs": 1}, "its sender is gone")


def test_no_secret_is_stored_or_logged(
    settings: Settings, connection: psycopg.Connection, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    tables = table("dead", json_url(free_port())), table("hook", json_url(receiver.port))
    receiver.choose = lambda: "refuse"
    store(connection, to(*tables), "BTC-USD")
    sender = Sender(settings, GROUP, (WIDE, WIDER), None, targets(*tables))
    failed = "SELECT count(*) FROM alert_notifications WHERE last_error IS NOT NULL"
    wait_until(lambda: connection.execute(failed).fetchone() == (2,), "both have failed")
    sender.close()
    stored = connection.execute("SELECT n::text, a::text FROM alert_notifications n, alerts a").fetchall()
    assert SECRET not in f"{stored} {caplog.text}"
    assert connection.execute("SELECT last_error FROM alert_notifications ORDER BY channel").fetchall() == [
        ("channel dead does not answer",),
        ("channel hook answered 500",),
    ]


def test_without_anybody_nothing_is_put_into_the_outbox(connection: psycopg.Connection) -> None:
    store(connection, NOBODY, "BTC-USD")
    assert waiting(connection) == []


# The commands


def test_a_test_message_goes_to_one_channel_or_to_all(
    cli_with: Callable[[dict[str, str]], Cli], tmp_path: Path, receiver: Receiver, mailbox: Mailbox
) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(table("hook", json_url(receiver.port)) + table("mail", mail_url(mailbox.port)))
    cli = cli_with({"CRYPTOMETRICS_ALERTS": str(file)})
    said = cli("alerts", "test", "mail").stdout
    assert said.startswith("channel mail accepted the message in ")
    assert (len(mailbox.mails), len(receiver.posts)) == (1, 0)
    receiver.choose = lambda: "refuse"
    done = cli("alerts", "test", code=1)
    assert done.stdout.startswith("channel mail accepted the message in ")
    assert done.stderr.splitlines()[-1] == "error: channel hook answered 500"
    assert cli("alerts", "test", "pager", code=2).stderr.splitlines()[-1] == (
        "error: there is no channel pager: there are hook, mail"
    )
