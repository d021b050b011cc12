"""Connection strings that are none: said without repeating what may be a password."""

from __future__ import annotations

import pytest

from cryptometrics.config import Settings
from cryptometrics.errors import ServiceUnavailableError, UserError
from cryptometrics.store.connection import connect
from cryptometrics.store.connection_options import place, public_uri

SECRET = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{SECRET}%zz@127.0.0.1/d",
        f"postgres//u:{SECRET}@127.0.0.1/d",
        f"postgresql://u:{SECRET}@127.0.0.1:port/d",
        f"postgresql://u:{SECRET}@[127.0.0.1/d",
        f"postgresql://u:{SECRET}@127.0.0.1/d?{SECRET}=1",
        f"postgresql://u:x@{SECRET}@127.0.0.1/d",
        f"postgresql://u:{SECRET}/x@127.0.0.1/d",
        f"postgresql://u:12/{SECRET}@127.0.0.1/d",
        f"host=127.0.0.1 password='{SECRET}",
        f"host=127.0.0.1 password=x {SECRET}",
        "nonsense",
    ],
)
def test_an_invalid_url_is_not_repeated(url: str) -> None:
    with pytest.raises(UserError, match=r"^DATABASE_URL is not valid: ") as caught:
        connect(Settings.of({"database_url": url}))
    assert SECRET not in str(caught.value)


def test_a_folder_of_sockets_may_have_any_name() -> None:
    uri = "postgresql://u@/d?host=%2Fhome%2Fme%40corp.example.com&port=1"
    with pytest.raises(ServiceUnavailableError):  # it is valid, and nobody is there
        connect(Settings.of({"database_url": uri, "cryptometrics_wait": 0.1}))


def test_the_place_of_a_server_is_shown_without_secrets() -> None:
    assert place(f"postgresql://u:{SECRET}@h:1/d?passfile=x") == "h:1/d"
    assert place(f"host=h user=u password={SECRET}") == "h:5432/u"


@pytest.mark.parametrize(
    ("uri", "public"),
    [
        ("postgresql://ana:hunter2@h:6543/d?sslpassword=hunter2", "postgresql://ana@h:6543/d"),
        ("host=h user=ana dbname=d password=hunter2", "postgresql://ana@h:5432/d"),
        ("postgresql://ana:hunter2@h1:1,h2:2/d", "postgresql://ana@h1:1,h2:2/d"),
        ("host=h1,h2 user='a b' dbname=d", "postgresql://a%20b@h1:5432,h2:5432/d"),
        ("postgresql://ana@[::1]:6543/d", "postgresql://ana@[::1]:6543/d"),
        ("host=/var/run user=ana dbname=d", "postgresql://ana@/d?host=%2Fvar%2Frun&port=5432"),
    ],
)
def test_a_public_uri_has_no_password(uri: str, public: str) -> None:
    assert public_uri(uri) == public
