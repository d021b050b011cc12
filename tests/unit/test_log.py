"""Log events: on stderr, one a line, for programs unless a person looks."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import structlog

from cryptometrics import log

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_elsewhere_than_on_a_terminal_an_event_is_a_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup()
    log.get_logger(group="g\n1").warning("partitions_lost", partitions=[1, 2], why={"a": None})
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    event = json.loads(output.err)
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "partitions_lost",
        "level": "warning",
        "group": "g\n1",
        "partitions": [1, 2],
        "why": {"a": None},
    }


def test_what_json_does_not_know_is_shown_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("json")
    log.get_logger().info("odd", thing={1})
    assert json.loads(capsys.readouterr().err)["thing"] == "{1}"


def test_an_exception_is_part_of_its_event(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("json")
    try:
        raise ValueError("no")  # noqa: TRY301
    except ValueError:
        log.get_logger().exception("failed")
    event = json.loads(capsys.readouterr().err)
    assert "ValueError: no" in event["exception"]


def test_human_lines_are_no_json_and_have_no_colours_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("human")
    log.get_logger().info("topic_made", partitions=6)
    text = capsys.readouterr().err
    assert "topic_made" in text
    assert "partitions=6" in text
    assert "\x1b" not in text
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)


def test_a_person_at_a_terminal_gets_human_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    log.setup()
    log.get_logger().info("topic_made")
    assert not capsys.readouterr().err.startswith("{")


@pytest.mark.parametrize("verbose", [False, True])
def test_what_is_for_developers_shows_only_when_asked_for(
    capsys: pytest.CaptureFixture[str], verbose: bool
) -> None:
    log.setup("json", verbose=verbose)
    log.get_logger().debug("librdkafka")
    assert bool(capsys.readouterr().err) == verbose


def test_events_follow_stderr_where_it_goes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A live display takes stderr's place while it is shown; lines must not run through it."""
    import io

    log.setup("json")
    logger = log.get_logger()
    logger.info("before")
    live = io.StringIO()
    monkeypatch.setattr(sys, "stderr", live)
    logger.info("meanwhile")
    assert "meanwhile" in live.getvalue()
    assert "meanwhile" not in capsys.readouterr().err


def test_structlog_is_imported_with_the_first_event_and_then_follows_each_setup() -> None:
    program = (
        "import sys; from cryptometrics import log\n"
        "log.setup('json', quiet=True); print('structlog' in sys.modules)\n"
        "logger = log.get_logger(); logger.info('unseen'); logger.warning('first')\n"
        "log.setup('json'); logger.info('second')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False\n"
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == ["first", "second"]
