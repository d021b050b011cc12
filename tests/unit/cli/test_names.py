"""Every name that a person types is validated by the same rule, before anything else happens."""

from __future__ import annotations

import click
import pytest

from cryptometrics.cli import cryptometrics
from tests.command_options import options_with

OPTIONS = list(options_with("NAME"))


@pytest.mark.parametrize("words", OPTIONS, ids=" ".join)
@pytest.mark.parametrize("name", ["", "x" * 101, "a\x1b", "a\x9b", "a\u202eb", "a\nb", "a\u2028b"])
def test_a_name_that_does_not_print_is_refused_by_every_command(words: tuple[str, ...], name: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a valid name: names ") as refused:
        cryptometrics.main([*words, name], standalone_mode=False)
    assert refused.value.format_message().isprintable()


def test_all_name_options_are_found() -> None:
    assert {("process", "--group"), ("process", "--session"), ("aggregate", "--group")} <= set(OPTIONS)
