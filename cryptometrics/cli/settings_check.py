"""Warn, once per command, of settings that are open to others or that nothing reads."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import click

from cryptometrics import config, log
from cryptometrics.config.env_file import FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.config.env_file import UnknownVariable


def warn_of_settings(context: click.Context) -> None:
    """Log a warning for each; context: that of the group of all commands."""
    if context.invoked_subcommand == "doctor":
        return  # it reports them itself
    if is_open_to_others():
        log.get_logger().warning(
            "env_file_is_open_to_others", file=str(FILE.absolute()), advice="chmod 600 .env"
        )
    for found in unknown_settings(context):
        log.get_logger().warning("unknown_setting", name=found.name, where=found.where, advice=found.advice)


def unknown_settings(context: click.Context) -> Iterator[UnknownVariable]:
    """Yield the variables that look like ours and that nothing reads.

    context: that of the group of all commands.
    """
    assert isinstance(context.command, click.Group)  # noqa: S101
    prefix = f"{context.auto_envvar_prefix}_"
    invoked = context.invoked_subcommand
    begins = tuple(
        _prefix(prefix, name) for name in context.command.list_commands(context) if name != invoked
    )
    options = {f"{prefix}{option.name}".upper() for option in context.command.params}
    if invoked and (command := context.command.get_command(context, invoked)):
        options |= {*_options(command, _prefix(prefix, invoked))}

    def is_option(name: str) -> bool:
        # The options of other commands are not looked up: that would import all of them.
        return name in options or name.startswith(begins)

    yield from config.unknown_variables(is_option)


def is_open_to_others() -> bool:
    """Return whether other users of this machine can read `.env`."""
    try:
        mode = FILE.stat().st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) and bool(mode & 0o044)


def _prefix(above: str, command: str) -> str:
    """Return how the variables of a command's options begin, as Click names them."""
    return f"{above}{command}_".upper().replace("-", "_")


def _options(command: click.Command, prefix: str) -> Iterator[str]:
    """Yield the variables of the options of a command and of its subcommands."""
    for option in command.params:
        yield f"{prefix}{option.name}".upper()
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _options(inner, _prefix(prefix, name))
