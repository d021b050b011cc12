"""Every name that a person types is validated by the same rule, before anything else happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest

from cryptometrics.cli import cryptometrics
from cryptometrics.cli.commands import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterator


def name_options() -> Iterator[tuple[str, ...]]:
    """Yield the words that lead to each option whose value is a name."""
    context = click.Context(cryptometrics)

    def below(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if isinstance(command, click.Group):
            for name, each in command.commands.items():
                yield from below(each, (*words, name))
        for option in command.params:
            if isinstance(option, click.Option) and option.metavar == "NAME":
                yield (*words, option.opts[0])

    for name in COMMANDS:
        command = cryptometrics.get_command(context, name)
        assert command is not None
        yield from below(command, (name,))


@pytest.mark.parametrize("words", list(name_options()), ids=" ".join)
@pytest.mark.parametrize("name", ["", "x" * 101, "a\x1b", "a\x9b", "a\u202eb", "a\nb", "a\u2028b"])
def test_a_name_that_does_not_print_is_refused_by_every_command(words: tuple[str, ...], name: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a valid name: names ") as refused:
        cryptometrics.main([*words, name], standalone_mode=False)
    assert refused.value.format_message().isprintable()


def test_all_name_options_are_found() -> None:
    assert {("process", "--group"), ("process", "--session"), ("aggregate", "--group")} <= set(name_options())
