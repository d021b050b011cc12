"""The text of a channel's message."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from decimal import Decimal

from cryptometrics.notify.channel_messages import message_of
from cryptometrics.notify.outbox import Notification

AT = datetime(2026, 7, 1, 12, tzinfo=UTC)


def notification(message: str, *, resolved: bool = False, severity: str = "warning") -> Notification:
    return Notification(
        id=1,
        status="resolved" if resolved else "firing",
        key=uuid.UUID(int=1),
        attempts=0,
        alert_id=1,
        consumer_group="g1",
        rule="wide",
        kind="spread_bps",
        venue="coinbase",
        pair="BTC-USD",
        severity=severity,
        level=Decimal(25),
        value=Decimal(30),
        message=message,
        started_at=AT,
        fired_at=AT,
        resolved_at=AT if resolved else None,
        wait_s=None,
    )


def test_one_alert_is_a_title_and_its_message() -> None:
    message = message_of([notification("BTC-USD: wide", severity="critical")], 1_000)
    assert message.title == "[FIRING] critical wide"
    assert message.body == "BTC-USD: wide\n2026-07-01T12:00:00Z, group g1"


def test_a_digest_lists_all_in_order() -> None:
    found = message_of([notification("a", severity="critical"), notification("b", resolved=True)], 1_000)
    assert found.title == "[2 ALERTS] 1 firing (1 critical), 1 resolved, group g1"
    assert found.body.splitlines() == [
        "2026-07-01T12:00:00Z FIRING critical wide: a",
        "2026-07-01T12:00:00Z RESOLVED warning wide: b",
    ]


def test_a_digest_that_is_too_long_counts_the_others() -> None:
    body = message_of([notification(f"{number:03}") for number in range(500)], 500).body
    assert len(body) <= 500
    lines = body.splitlines()
    assert lines[0].endswith(": 000")
    assert lines[-1] == f"and {500 - len(lines) + 1} more: see `cryptometrics alerts list`"
