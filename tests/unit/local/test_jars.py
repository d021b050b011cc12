"""Where the jars come from, and that nothing but the pinned bytes is kept; against a real HTTP server."""

from __future__ import annotations

import base64
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from cryptometrics.errors import ServiceUnavailableError, UserError
from cryptometrics.local import jars, maven

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = b"the bytes of a jar"
JAR = jars.Jar("org/example/some/1.0/some-1.0.jar", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


class Mirror(ThreadingHTTPServer):
    """A company's mirror: answers with what it is told, and notes what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.codes = [200]
        self.asked: list[tuple[str, str | None]] = []

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_port}/maven"


class Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Authorization"]))
        codes = self.server.codes
        self.send_response(codes.pop(0) if len(codes) > 1 else codes[0])
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with Mirror() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _one_jar(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Pin one small jar, for a person with an empty home folder."""
    monkeypatch.setattr(jars, "lock", lambda: jars.JarLock("4.4.0", (JAR,)))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("M2_REPO", raising=False)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "jars"


def fetch(place: Path) -> list[str]:
    shown: list[str] = []
    assert jars.ensure(place, shown.append) == [place / "some-1.0.jar"]
    assert (place / "some-1.0.jar").read_bytes() == CONTENT
    return shown


def test_a_mirror_with_a_login(mirror: Mirror, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(maven.MIRROR_VARIABLE, f"http://me:p%40ss@{mirror.place}/")
    assert fetch(place) == ["downloading Kafka 4.4.0: 1 of 1 jars, 0.0 of 0.0 MiB"]
    login = "Basic " + base64.b64encode(b"me:p@ss").decode()
    assert mirror.asked == [(f"/maven/{JAR.path}", login)]
    assert fetch(place) == []
    assert len(mirror.asked) == 1


def test_wrong_bytes_are_an_error_that_names_the_file(
    mirror: Mirror, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(maven.MIRROR_VARIABLE, f"http://me:secret@{mirror.place}")
    mirror.content = CONTENT.replace(b"jar", b"rat")
    with pytest.raises(UserError, match=r"some-1\.0\.jar from .* is not the pinned file") as raised:
        jars.ensure(place, lambda _text: None)
    assert "secret" not in str(raised.value)
    assert [file.name for file in place.iterdir()] == [".lock"]


def test_a_damaged_jar_is_fetched_anew(mirror: Mirror, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(maven.MIRROR_VARIABLE, f"http://{mirror.place}")
    fetch(place)
    (place / "some-1.0.jar").write_bytes(CONTENT[::-1])
    fetch(place)
    assert len(mirror.asked) == 2


def test_a_refusal_is_final_and_names_the_variable(
    mirror: Mirror, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(maven.MIRROR_VARIABLE, f"http://{mirror.place}")
    mirror.codes = [401]
    with pytest.raises(UserError, match=rf"HTTP 401.*{maven.MIRROR_VARIABLE}"):
        jars.ensure(place, lambda _text: None)
    assert len(mirror.asked) == 1


def test_a_server_in_trouble_is_asked_again(
    mirror: Mirror, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(maven.MIRROR_VARIABLE, f"http://{mirror.place}")
    mirror.codes = [503, 200]
    fetch(place)
    assert len(mirror.asked) == 2


def test_nobody_there(mirror: Mirror, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(maven.MIRROR_VARIABLE, f"http://{mirror.place}")
    monkeypatch.setattr(maven, "RETRY_FOR", 0.2)
    mirror.codes = [503]
    with pytest.raises(ServiceUnavailableError, match="HTTPS_PROXY"):
        jars.ensure(place, lambda _text: None)


def test_what_maven_has_already_is_not_downloaded(
    mirror: Mirror, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(maven.MIRROR_VARIABLE, f"http://{mirror.place}")
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    kept = tmp_path / "m2" / JAR.path
    kept.parent.mkdir(parents=True)
    kept.write_bytes(CONTENT)
    fetch(place)
    assert mirror.asked == []


def test_the_mirror_of_mavens_own_settings(
    mirror: Mirror, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPANY_PASSWORD", "s3cret")
    settings = tmp_path / "home" / ".m2" / "settings.xml"
    settings.parent.mkdir(parents=True)
    settings.write_text(
        f"""<settings xmlns="urn:any">
          <servers><server>
            <id>company</id><username>me</username><password>${{env.COMPANY_PASSWORD}}</password>
          </server></servers>
          <mirrors>
            <mirror><id>other</id><mirrorOf>snapshots</mirrorOf><url>http://127.0.0.1:1/</url></mirror>
            <mirror><id>company</id><mirrorOf>*, !internal</mirrorOf><url>http://{mirror.place}</url></mirror>
          </mirrors>
        </settings>"""
    )
    fetch(place)
    assert mirror.asked[0][1] == "Basic " + base64.b64encode(b"me:s3cret").decode()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/maven", "company/maven", "https://", "https://u:s3cret#x@host/maven",
        "https://u:s3cret?x@host/maven", "https://u:s3cret/x@host/maven", "https://u:s3cret[x@host/maven",
        "https://u:x@host:s3cret/maven",
    ],
)  # fmt: skip
def test_an_invalid_address_is_not_repeated(url: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(maven.MIRROR_VARIABLE, url)
    with pytest.raises(UserError, match=maven.MIRROR_VARIABLE) as caught:
        jars.ensure(place, lambda _text: None)
    assert "s3cret" not in str(caught.value)
