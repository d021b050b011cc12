"""Hostile messages and names: they cannot harm the database, the terminal or the disk."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from cryptometrics import cli as command_line
from cryptometrics import log
from cryptometrics.kafka import client
from tests.conftest import environment_of
from tests.database import rows, scalar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptometrics.config import Settings
    from tests.conftest import Cli
    from tests.integration.conftest import Store

SQL = "x'; DROP TABLE crypto_metrics; --"
NAME = f'{SQL} " %s %(group)s {{0}} \\N \\. \\t $1 ünï ☃ 名'
ESCAPES = "\x1b]0;title\x07\x1b[2J\x9b31m\u202edesrever\x08\x00\r\nsecond line"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

QUOTE = {
    "type": "ticker",
    "product_id": "BTC-USD",
    "best_bid": "1",
    "best_ask": "2",
    "time": "2026-01-01T00:00:00Z",
}


def publish(settings: Settings, *messages: tuple[bytes, bytes]) -> None:
    producer = client.make_producer(settings)
    for key, value in messages:
        producer.produce(settings.kafka_topic, value=value, key=key)
    assert producer.flush(20) == 0


# SQL


@pytest.fixture
def run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Return a function that runs a command in this process and returns all that it printed."""
    monkeypatch.chdir(tmp_path)
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str, code: int | None = 0) -> str:
        capfd.readouterr()  # what was printed before is not the command's
        found = command_line._run([*arguments])
        out, err = capfd.readouterr()
        assert code is None or found == code, out + err
        return out + err

    return run


def test_names_are_values(cli: Cli, settings: Settings, run: Callable[..., str]) -> None:
    """Group and session go through options, COPY and every reading command as they are."""
    name = NAME
    cli("init-db", "--partitions", "1")
    publish(settings, (b"BTC-USD", json.dumps(QUOTE).encode()), (b"BTC-USD", b"{}"))
    cli("process", "--group", name, "--session", name, "--until-caught-up")
    [row] = json.loads(run("session", "--group", name, "--session", name, "--json"))
    assert (row["consumer_group"], row["session"], row["ticks"]) == (name, name, 1)
    assert json.loads(run("rejects", "list", "--group", name, "--json"))
    run("verify", "--group", name, "--topic")
    run("plot", "--group", name, "--session", name)
    assert rows(settings, "SELECT consumer_group, session FROM crypto_metrics") == [(name, name)]


@pytest.mark.parametrize(
    "arguments",
    [
        ["session", "--pair", SQL],
        ["plot", "--pair", SQL],
        ["plot", "--session", SQL],
        ["session", "--group", SQL],
        ["verify", "--group", SQL],
        ["rejects", "list", "--reason", SQL],
    ],
    ids=" ".join,
)
def test_options_are_values(
    arguments: list[str], run: Callable[..., str], settings: Settings, store: Store
) -> None:
    store([("2024-01-05 10:00", "100", "101")])
    run(*arguments, code=None)  # a traceback would be this test's own
    assert scalar(settings, "SELECT count(*) FROM crypto_metrics") == 1


def test_what_comes_over_the_topic_is_a_value(cli: Cli, settings: Settings) -> None:
    cli("init-db", "--partitions", "1")
    hostile = [SQL, "BTC-USD\\N", "BTC-USD\t1", "BTC-USD'", "\\."]
    publish(
        settings,
        *((text.encode(), json.dumps(QUOTE | {"product_id": text}).encode()) for text in hostile),
        *((b"BTC-USD", json.dumps(QUOTE | {name: text}).encode()) for name in QUOTE for text in hostile),
    )
    done = cli("process", "--until-caught-up")
    assert f"0 stored, {len(hostile) * (1 + len(QUOTE))} rejected" in done.stdout
    cli("verify", "--topic")


# Terminals


def test_no_message_steers_the_terminal(cli: Cli, settings: Settings, run: Callable[..., str]) -> None:
    cli("init-db", "--partitions", "1")
    escapes = ESCAPES.encode()
    publish(
        settings,
        (escapes, json.dumps(QUOTE | {"product_id": ESCAPES}).encode()),
        (b"BTC-USD", json.dumps(QUOTE | {"time": ESCAPES}, ensure_ascii=False).encode()),
        (b"BTC-USD", json.dumps(QUOTE | {"type": ESCAPES}, ensure_ascii=False).encode()),
        (escapes, json.dumps(QUOTE).encode()),
        (escapes, escapes),
        (b"BTC-USD", b"\xff" + escapes),
    )
    shown = cli("--log-format", "human", "--verbose", "process", "--until-caught-up")
    outputs = [shown.stdout, shown.stderr, run("rejects", "list")]
    numbers = [row["id"] for row in json.loads(run("rejects", "list", "--json"))["newest"]]
    assert len(numbers) == 6
    outputs += [run("rejects", "show", str(number)) for number in numbers]
    outputs += [run("rejects", "export"), run("verify")]
    for output in outputs:
        assert not CONTROL.search(output), CONTROL.findall(output)
    assert "\\x1b]0;title" in outputs[2]


@pytest.mark.parametrize("character", ["\x1b", "\x9b", "\u202e", "\n", "\u2028"])
@pytest.mark.parametrize("option", ["--group", "--session"])
def test_no_name_steers_the_terminal(run: Callable[..., str], option: str, character: str) -> None:
    said = run("process", option, f"a{character}b", code=2)
    assert "printable characters" in said
    assert not CONTROL.search(said)


def test_no_error_steers_the_terminal(run: Callable[..., str], store: Store) -> None:
    store([("2024-01-05 10:00", "100", "101")])
    for arguments in (
        ["session", "--pair", ESCAPES.replace("\x00", "")],
        ["session", "--group", "\x1b[2J\x9b"],
        ["verify", "--group", "\x1b[2J\x9b"],
        ["plot", "--out", "\x1b[2J\x9b/x.png"],
    ):
        said = run(*arguments, code=2)
        assert "error: " in said
        assert not CONTROL.search(said)


@pytest.mark.parametrize("form", ["human", "json"])
def test_no_log_event_steers_the_terminal(form: log.Format, capsys: pytest.CaptureFixture[str]) -> None:
    log.setup(form)
    log.get_logger().warning("event", text=ESCAPES.replace("\r\n", ""), other="\x9b31m")
    out, err = capsys.readouterr()
    assert "title" in err
    assert not CONTROL.search(out + err)


# The disk


def test_a_pair_in_the_table_chooses_no_place(cli: Cli, store: Store) -> None:
    """As if somebody else had written into the table."""
    store([("2024-01-05 10:00", "100", "101")], pair="../outside")
    done = cli("plot", "--group", "g1", code=2)
    assert "the stored pair '../outside' cannot be a file name" in done.stderr
    assert not list(cli.cwd.rglob("*.png"))
    assert not list(cli.cwd.parent.glob("outside*"))


def test_a_chart_is_not_written_through_a_link(cli: Cli, store: Store, tmp_path: Path) -> None:
    store([("2024-01-05 10:00", "100", "101")])
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / "chart.png").symlink_to(precious)
    cli("plot", "--group", "g1", "--pair", "BTC-USD", "--out", "chart.png")
    assert precious.read_text() == "kept"
    assert not (tmp_path / "chart.png").is_symlink()


@pytest.mark.parametrize("session", ["$\\frac{", "$x$ %s {0} \\n", "<b>&amp;"])
def test_a_session_is_drawn_as_it_is_called(
    session: str, run: Callable[..., str], store: Store, tmp_path: Path
) -> None:
    store([("2024-01-05 10:00", "100", "101")], session=session)
    run("plot", "--group", "g1", "--session", session, "--out", "chart.svg")
    assert (tmp_path / "chart.svg").stat().st_size > 1000
