"""Options of `risk` that would be ignored."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from cryptometrics.cli import cryptometrics


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metrics-port", "9200"], "--metrics-port has no meaning without --follow: add it"),
        (["--catch-up", "1d"], "--catch-up has no meaning without --follow: add it"),
        (["--no-alerts"], "--no-alerts has no meaning without --follow: add it"),
        (["--follow", "--range", "1h"], "--range has no meaning with --follow: leave it out"),
        (["--follow", "--json"], "--json has no meaning with --follow: leave it out"),
        (["--range", "1h", "history"], "--range must follow the command: risk history --range …"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(cryptometrics, ["risk", *arguments])
    assert done.exit_code == 2
    assert message in done.output
