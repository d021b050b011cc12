"""Every option of every command, so that a rule for all of them is tested on those to come, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cryptometrics.cli import cryptometrics
from cryptometrics.cli.commands import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterator


def options_with(*metavars: str) -> Iterator[tuple[str, ...]]:
    """Yield the words that lead to each option whose value is shown as one of these in the help."""
    context = click.Context(cryptometrics)

    def below(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if isinstance(command, click.Group):
            for name, each in command.commands.items():
                yield from below(each, (*words, name))
        for option in command.params:
            if isinstance(option, click.Option) and option.metavar in metavars:
                yield (*words, option.opts[0])

    for name in COMMANDS:
        command = cryptometrics.get_command(context, name)
        assert command is not None
        yield from below(command, (name,))
