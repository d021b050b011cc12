"""The command line: one file per stage, each of which reads options, calls, and prints."""

from __future__ import annotations

import errno
import gc
import importlib
import os
import signal
import stat
import sys
from typing import TYPE_CHECKING

import click

from cryptometrics import __version__
from cryptometrics.cli.signals import exit_code, interrupt, interrupted
from cryptometrics.errors import CryptometricsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from structlog.typing import FilteringBoundLogger

GC_THRESHOLD = 50_000
"""Objects made before Python looks for cycles among them: imports make many, and all of those stay."""

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}

# In the order in which a person meets them; each is the function of that name in the module.
COMMANDS = {
    "demo": "demo:demo",
    "run": "run:run",
    "up": "services:up",
    "down": "services:down",
    "status": "services:status",
    "init-db": "init_db:init_db",
    "simulate": "simulate:simulate",
    "ingest": "ingest:ingest",
    "record": "ingest:record",
    "replay": "replay:replay",
    "process": "process:process",
    "aggregate": "aggregate:aggregate",
    "session": "session:session",
    "plot": "plot:plot",
    "watch": "watch:watch",
    "export": "export:export",
    "alerts": "alerts:alerts",
    "rejects": "rejects:rejects",
    "gaps": "gaps:gaps",
    "verify": "verify:verify",
    "prune": "prune:prune",
    "bench": "bench:bench",
}

SUPERVISED = "--reporting"
"""The option of a worker whose supervisor has said already what is to be said once."""


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
    from cryptometrics import log

    log.setup(log_format, verbose=verbose)  # type: ignore[arg-type]
    _warn_of_open_settings(log.get_logger())


def _warn_of_open_settings(logger: FilteringBoundLogger) -> None:
    """Say so, once a command, when other users of this machine may read the passwords in `.env`."""
    try:
        found = os.stat(".env")  # noqa: PTH116  (pathlib takes a while to import)
    except OSError:
        return
    if stat.S_ISREG(found.st_mode) and found.st_mode & 0o044 and SUPERVISED not in sys.argv:
        logger.warning("env_file_is_open_to_others", file=os.path.abspath(".env"), advice="chmod 600 .env")  # noqa: PTH100


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code: 2 a user's mistake, 3 a service that is down."""
    gc.set_threshold(GC_THRESHOLD)
    for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is default:  # not where it is to be ignored
            signal.signal(number, interrupt)
    try:
        code = _run(arguments)
    except BaseException:
        if not interrupted():
            raise
        click.echo("\nstopped", err=True)
        code = exit_code()
    # All that is in memory goes with the process: to look for cycles in it was a quarter of a chart's time.
    gc.freeze()
    # What is left is to wait for threads of Kafka's client: whoever asks again need not.
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is interrupt:
            signal.signal(number, signal.SIG_DFL)
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> int:
    stdout = sys.stdout
    try:
        result = cryptometrics.main(arguments, prog_name="cryptometrics", standalone_mode=False)
        sys.stdout.flush()
    except (CryptometricsError, click.ClickException) as error:
        return _complain(error)
    except click.Abort:
        click.echo("stopped", err=True)  # after Click's empty line
        return exit_code()
    except SystemExit:
        if sys.stdout is stdout:
            raise
        return _silence()  # Click has met a broken pipe, and put something else in its place
    except BrokenPipeError:
        return _silence()
    except OSError as error:
        if error.errno not in _DISK:
            raise
        _silence()
        return _complain(CryptometricsError(f"what comes out cannot be written: {error.strerror}"))
    return result if isinstance(result, int) else 0


def _silence() -> int:
    """Write nothing more, also at exit, and return 0: of `cryptometrics … | head` who reads has enough."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _complain(error: CryptometricsError | click.ClickException) -> int:
    """Say in one line what is wrong and what to do; return the exit code."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message())
        return 0
    from cryptometrics.text import escape

    message = error.format_message() if isinstance(error, click.ClickException) else str(error)
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "cryptometrics"
        message = f"{message.rstrip('.')} (see `{path} --help`)"
    click.echo("error: " + escape(" ".join(message.split())), err=True)
    return error.exit_code
