"""The URLs of channels: what is wrong is said with its line and without the URL."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from cryptometrics.alerts.channels import parse
from cryptometrics.alerts.toml_lines import RulesError
from cryptometrics.errors import UserError
from cryptometrics.notify.channels import open_channels

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "T0PS3CRET"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (f'url = "gopher://{SECRET}"', "line 3: url: gopher:// is no service that Apprise knows"),
        (f'url = "{SECRET}"', "line 3: url: this is not a URL such as mailtos://… or slack://…"),
        (f'url = "{SECRET}:x://y"', "line 3: url: this is not a URL such as mailtos://… or slack://…"),
        (
            f'url = "slack://{SECRET}"',
            "line 3: url: the URL is not complete: see Apprise's documentation of slack://",
        ),
        (
            'url_env = "NOT_SET_ANYWHERE"',
            "line 3: url_env: the variable NOT_SET_ANYWHERE is not set, in the environment or in .env",
        ),
        ('url_file = "missing"', "line 3: url_file: cannot read missing: No such file or directory"),
        ('url_file = "empty"', "line 3: url_file: empty is empty"),
    ],
)
def test_a_url_that_cannot_be_used_is_reported(
    line: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").touch()
    channels, problems = parse(f'[[channel]]\nname = "desk"\n{line}\n')
    assert problems == []
    with pytest.raises(RulesError) as error:
        open_channels(channels)
    assert str(error.value) == says


def test_a_variable_of_the_env_file_has_the_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(f"DESK_URL=json://example.com/{SECRET}\n")
    (target,) = open_channels(parse('[[channel]]\nname = "desk"\nurl_env = "DESK_URL"\n')[0])
    assert target.name == "desk"


def test_without_the_extra_one_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    assert open_channels(()) == ()
    with pytest.raises(UserError, match=r"pip install 'cryptometrics\[notify\]'"):
        open_channels(parse('[[channel]]\nname = "desk"\nurl = "json://a"\n')[0])
