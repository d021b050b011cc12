"""The command line: one file per stage, each of which reads options, calls, and prints."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

import click

from cryptometrics import __version__
from cryptometrics.errors import CryptometricsError

if TYPE_CHECKING:
    from collections.abc import Sequence

# In the order in which a person meets them; each is the function of that name in the module.
COMMANDS = {
    "demo": "demo:demo",
    "up": "services:up",
    "down": "services:down",
    "status": "services:status",
    "init-db": "init_db:init_db",
    "simulate": "simulate:simulate",
    "process": "process:process",
    "aggregate": "aggregate:aggregate",
    "session": "session:session",
    "plot": "plot:plot",
    "rejects": "rejects:rejects",
    "verify": "verify:verify",
    "prune": "prune:prune",
    "bench": "bench:bench",
}


class StagedGroup(click.Group):
    """Loads a command's module when it is asked for, and lists commands in the order of the work."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Name every command."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command, or return None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(f"{__name__}.{module}"), name)
        assert isinstance(command, click.Command)  # noqa: S101
        return command


@click.command(
    cls=StagedGroup,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "CRYPTOMETRICS",
        "max_content_width": 100,
        "show_default": True,
    },
)
@click.version_option(__version__, package_name="cryptometrics", message="%(prog)s %(version)s")
@click.option(
    "--log-format",
    type=click.Choice(["auto", "human", "json"]),
    default="auto",
    help="How log events look on stderr; auto is human on a terminal, JSON elsewhere.",
)
@click.option("--verbose", "-v", is_flag=True, help="Show what is of use to developers, too.")
def cryptometrics(log_format: str, verbose: bool) -> None:
    """Crypto market risk in time: quotes through Kafka into PostgreSQL, exactly once.

    \b
    Example:
      cryptometrics demo
    """
    from cryptometrics import log  # noqa: PLC0415

    log.setup(log_format, verbose=verbose)  # type: ignore[arg-type]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code: 2 a user's mistake, 3 a service that is down."""
    sys.exit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        result = cryptometrics.main(arguments, prog_name="cryptometrics", standalone_mode=False)
        sys.stdout.flush()
    except (CryptometricsError, click.ClickException) as error:
        return _complain(error)
    except click.Abort:
        click.echo("\nstopped", err=True)
        return 130
    except BrokenPipeError:
        # `cryptometrics … | head`: whoever read has enough. Nothing more can be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result if isinstance(result, int) else 0


def _complain(error: CryptometricsError | click.ClickException) -> int:
    """Say in one line what is wrong and what to do; return the exit code."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message())
        return 0
    message = error.format_message() if isinstance(error, click.ClickException) else str(error)
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "cryptometrics"
        message = f"{message.rstrip('.')} (see `{path} --help`)"
    click.echo("error: " + " ".join(message.split()), err=True)
    return error.exit_code
