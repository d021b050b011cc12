"""The configuration under hostile input: what stands in a file or a variable is taken, or refused in words.

What reads other files from outside is listed in READERS; whoever adds a reader adds it there.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryptometrics import config
from cryptometrics.broker import client_conf
from cryptometrics.errors import UserError
from cryptometrics.store.connection import _valid, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLES = 100 * max(1, int(float(os.environ.get("FUZZ_SECONDS", "3")) / 3))
VARIABLES = [
    (field.validation_alias.choices[0] if field.validation_alias else name.upper())  # type: ignore[union-attr]
    for name, field in config.Settings.model_fields.items()
]
texts = st.one_of(
    st.text(st.characters(blacklist_characters="\x00", blacklist_categories=["Cs"]), max_size=200),
    st.sampled_from(
        ["postgresql://a:b@c:1/d", "host=a", "-1", "1e999", "/nowhere", "%00", "\x1b[2J", "9" * 400]
    ),
)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def use() -> None:
    """Do with the configuration what commands do with it, short of connecting."""
    config.load.cache_clear()
    loaded = config.load()
    conf = client_conf(loaded)
    assert all(isinstance(value, str) for name, value in conf.items() if "." in name)
    uri = _valid(loaded.postgres())
    assert isinstance(place(uri), str)


def refuses_in_one_line(attempt: Callable[[], None]) -> None:
    """Let pass what works and what a user is told; all else is a crash."""
    said = "taken"
    try:
        attempt()
    except UserError as error:
        said = str(error)
    assert 0 < len(said) < 2000


few = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@few
@given(st.dictionaries(st.sampled_from(VARIABLES), texts, max_size=6))
def test_variables(folder: Path, variables: dict[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        refuses_in_one_line(use)


def _env_file(content: bytes) -> None:
    Path(".env").write_bytes(content)
    try:
        use()
    finally:
        Path(".env").unlink()


def _secret_file(content: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file, pytest.MonkeyPatch.context() as patch:
        file.write(content)
        file.flush()
        patch.setenv("DATABASE_URL_FILE", file.name)
        use()


def _endpoints(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYPTOMETRICS_HOME", home)
        Path(home, "endpoints.json").write_bytes(content)
        use()


READERS: dict[str, Callable[[bytes], None]] = {
    ".env": _env_file,
    "a secret's file": _secret_file,
    "endpoints.json": _endpoints,
    # Here belong, each as a function of the bytes: the reader of captures, of messages of a WebSocket, of the
    # file of alert rules.
}
"""Each reads bytes from outside: it takes them or raises UserError, and nothing else."""
SEEDS = [
    b"DB_HOST=h\nDB_PASSWORD='x y'\nexport KAFKA_TOPIC=${HOME}\n# note\nKAFKA_CONF_CLIENT_ID=a\n",
    b"postgresql://user:password@host:5432/database?sslmode=verify-full",
    b'{"kafka": {"bootstrap_servers": "127.0.0.1:1"}, "postgres": {"uri": "postgresql:///x"}}',
    b"",
    b"\x00",
    b"\xff\xfe",
    b"${A:-${B}}",
    b"A" * 100_000,
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return a seed in which pieces are replaced, or any bytes."""
    raw = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(raw)))
        raw[at : at + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    return bytes(raw)


@pytest.mark.parametrize("reader", READERS)
@few
@given(content=mutated())
def test_files(folder: Path, reader: str, content: bytes) -> None:
    refuses_in_one_line(lambda: READERS[reader](content))


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    config.load.cache_clear()
