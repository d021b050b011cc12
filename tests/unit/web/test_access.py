from __future__ import annotations

import pytest

from cryptometrics.web.access import Access, is_loopback
from cryptometrics.web.gate import RateLimit

TOKEN = "a token of some length"


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.7", False),
        ("example.com", False),
        ("", False),
    ],
)
def test_which_addresses_are_of_this_machine(host: str, local: bool) -> None:
    assert is_loopback(host) is local


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8050", "LOCALHOST:1", "localhost", "[::1]", "[::1]:8050"]
)
def test_hosts_that_are_ours(host: str) -> None:
    assert Access().allows_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil",
        "127.0.0.1:x",
        ":8050",
        "::1",
        "127.0.0.1 ",
    ],
)
def test_hosts_that_are_not(host: str) -> None:
    assert not Access().allows_host(host)


def test_origins() -> None:
    access = Access()
    assert access.allows_origin(None, "localhost:8050")
    assert access.allows_origin("http://localhost:8050", "localhost:8050")
    assert access.allows_origin("https://Host.example", "host.example")
    for origin in ("null", "", "http://localhost", "http://localhost:8051", "http://evil.example"):
        assert not access.allows_origin(origin, "localhost:8050"), origin


def test_without_a_token_all_are_admitted_and_with_one_only_who_knows_it() -> None:
    assert Access().admits(None, None)
    access = Access(TOKEN)
    assert not access.admits(None, None)
    assert not access.admits("other", TOKEN)  # the cookie is not the token
    assert access.admits(TOKEN, None)
    assert access.admits(None, access.cookie)
    assert not access.admits("ä", "ä")


def test_the_cookie_outlives_a_restart_and_ends_with_the_token() -> None:
    assert Access(TOKEN).cookie == Access(TOKEN).cookie
    assert Access(TOKEN).cookie != Access(TOKEN + "2").cookie
    assert TOKEN not in Access(TOKEN).cookie


def test_a_link_works_once() -> None:
    access = Access(TOKEN)
    code = access.code
    assert not access.use_code("x")
    assert access.use_code(code)
    assert not access.use_code(code)
    assert access.use_code(access.code)
    assert not Access().use_code(Access().code)  # without a token there is nothing to exchange


def test_the_rate_is_limited() -> None:
    now = 0.0
    limit = RateLimit(rate=2, burst=3, clock=lambda: now)
    assert [limit.allows() for _ in range(4)] == [True, True, True, False]
    now = 1.0
    assert [limit.allows() for _ in range(3)] == [True, True, False]
    now = 100.0
    assert [limit.allows() for _ in range(4)] == [True, True, True, False]
