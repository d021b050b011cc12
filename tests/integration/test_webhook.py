"""The webhook, against a receiver on the loopback interface."""

from __future__ import annotations

import json
import socket
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cryptometrics.errors import UserError
from cryptometrics.notify import webhook as module
from cryptometrics.notify.outbox import Notification
from cryptometrics.notify.webhook import NotDeliveredError, Webhook
from tests.fakes.receiver import SECRET, Act, Receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Cli

KEY = uuid.UUID("6f2c1d7e-0000-4000-8000-000000000001")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def notification(**changes: Any) -> Notification:
    now = datetime(2026, 7, 1, 12, 0, 0, 250_000, UTC)
    values: dict[str, Any] = {
        "id": 7,
        "status": "firing",
        "key": KEY,
        "attempts": 0,
        "alert_id": 5,
        "consumer_group": "g1",
        "rule": "wide",
        "kind": "spread_bps",
        "venue": "coinbase",
        "pair": "BTC-USD",
        "severity": "critical",
        "level": Decimal(25),
        "value": Decimal("31.25"),
        "message": "BTC-USD (coinbase): spread is 31.25 bps, above 25",
        "started_at": now,
        "fired_at": now,
        "resolved_at": None,
        "wait_s": None,
    }
    return Notification(**values | changes)


def test_an_alert_is_posted_as_json_with_its_key(receiver: Receiver) -> None:
    answer = Webhook(receiver.url, "generic").send(notification())
    assert (answer.status, answer.body) == (200, "ok")
    (post,) = receiver.posts
    assert post.path == f"/hooks/{SECRET}?token={SECRET}"
    assert post.key == str(KEY)
    assert post.headers["Content-Type"] == "application/json"
    assert post.body == {
        "id": 5,
        "status": "firing",
        "rule": "wide",
        "kind": "spread_bps",
        "venue": "coinbase",
        "pair": "BTC-USD",
        "severity": "critical",
        "message": "BTC-USD (coinbase): spread is 31.25 bps, above 25",
        "level": "25",
        "value": "31.25",
        "started_at": "2026-07-01T12:00:00.250000Z",
        "fired_at": "2026-07-01T12:00:00.250000Z",
        "resolved_at": None,
        "group": "g1",
    }


def test_slack_gets_a_text_with_its_signs_escaped(receiver: Receiver) -> None:
    Webhook(receiver.url, "slack").send(notification(consumer_group="a<b>&c"))
    assert receiver.posts[0].body == {
        "text": "[FIRING] critical wide: BTC-USD (coinbase): spread is 31.25 bps, above 25 "
        "(2026-07-01T12:00:00.250000Z, group a&lt;b&gt;&amp;c)"
    }


def test_a_secret_of_the_query_is_not_shown_by_itself(receiver: Receiver) -> None:
    secret = "s3cr%2Bet"
    webhook = Webhook(f"{receiver.url.partition('/hooks')[0]}/hooks?token={secret}", "generic")
    for said in (secret, "s3cr+et", f"token={secret}"):
        assert webhook._redacted(f"invalid {said}!") == "invalid …!"


def test_a_login_in_the_url_becomes_a_header(receiver: Receiver) -> None:
    Webhook(receiver.url.replace("//", "//ana:p%40ss@"), "generic").send(notification())
    assert receiver.posts[0].headers["Authorization"] == "Basic YW5hOnBAc3M="


@pytest.mark.parametrize(
    ("act", "says"),
    [
        ("refuse", "answered 500 Internal Server Error"),
        ("redirect", "answered 302 Found (redirects are not followed)"),
        ("cut", "does not answer: "),
        ("busy", "answered 429 Too Many Requests"),
    ],
)
def test_what_is_not_taken_is_an_error_without_the_secret(receiver: Receiver, act: Act, says: str) -> None:
    receiver.choose = lambda: act
    with pytest.raises(NotDeliveredError, match=r"http://127\.0\.0\.1:[0-9]+ ") as error:
        Webhook(receiver.url, "generic").send(notification())
    assert says in str(error.value)
    assert SECRET not in str(error.value)
    assert error.value.answered is (act != "cut")
    assert error.value.retry_after_s == (1 if act == "busy" else 0)
    assert len(receiver.posts) == 1, "it went where the redirect leads"


def test_an_answer_that_never_ends_is_cut_off(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOTAL_LIMIT_S", 0.5)
    receiver.choose = lambda: "drip"
    answer = Webhook(receiver.url, "generic").send(notification())
    assert answer.status == 200
    assert len(answer.body) < 100


def test_a_receiver_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEP_LIMIT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(NotDeliveredError, match="does not answer: timed out"):
            Webhook(f"http://127.0.0.1:{port}/", "generic").send(notification())


def test_over_tls_only_a_receiver_that_is_trusted_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = tmp_path / "receiver.pem"
    certificate.write_bytes(self_signed())
    with Receiver(certificate=certificate) as receiver:
        with pytest.raises(NotDeliveredError, match="its certificate is not trusted") as error:
            Webhook(receiver.url, "generic").send(notification())
        assert SECRET not in str(error.value)
        assert receiver.posts == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert Webhook(receiver.url, "generic").send(notification()).status == 200


def self_signed() -> bytes:
    """Return a certificate of 127.0.0.1 that nobody else has signed, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver of the test")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return signed.public_bytes(pem) + private


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://host/{SECRET}",
        f"file:///{SECRET}",
        f"https:///{SECRET}",
        f"//host/{SECRET}",
        f"{SECRET}",
        f"http://host:port/{SECRET}",
        f"http://[host/{SECRET}",
        f"http://host/{SECRET}\r\nX: y",
        f"http://host/ {SECRET}",
    ],
)
def test_only_a_url_of_http_is_one_and_none_is_repeated(url: str) -> None:
    with pytest.raises(UserError, match="CRYPTOMETRICS_WEBHOOK_URL is not valid: ") as error:
        Webhook(url, "generic")
    assert SECRET not in str(error.value)


# The command


def run(cli_with: Callable[[dict[str, str]], Cli], url: str, code: int) -> tuple[str, str]:
    done = cli_with({"CRYPTOMETRICS_WEBHOOK_URL": url})("alerts", "test", code=code)
    assert SECRET not in done.stdout + done.stderr
    return done.stdout, done.stderr


def test_the_command_says_what_came_back(
    cli_with: Callable[[dict[str, str]], Cli], receiver: Receiver
) -> None:
    out, _ = run(cli_with, receiver.url, 0)
    assert f"{receiver.place} answered 200 OK in " in out
    assert out.strip().endswith(": ok")
    assert json.dumps(receiver.posts[0].body["message"]) == (
        '"TEST-USD: this is a test, nothing has happened"'
    )


def test_the_command_fails_where_the_receiver_does(
    cli_with: Callable[[dict[str, str]], Cli], receiver: Receiver
) -> None:
    receiver.choose = lambda: "refuse"
    _, error = run(cli_with, receiver.url, 1)
    assert error == f"error: {receiver.place} answered 500 Internal Server Error\n"
    _, error = run(cli_with, f"http://127.0.0.1:1/{SECRET}", 3)
    assert error == "error: http://127.0.0.1:1 does not answer: Connection refused\n"
    _, error = run(cli_with, f"gopher://127.0.0.1:1/{SECRET}", 2)
    assert "must begin with https:// or http://" in error
    _, error = run(cli_with, "", 2)
    assert "nobody to tell: set CRYPTOMETRICS_WEBHOOK_URL" in error
