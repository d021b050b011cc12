"""The command line: one module per command, which reads options, calls the package, and prints."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from typing import TYPE_CHECKING

import click

from cryptometrics import __version__
from cryptometrics.cli import memory, process_end
from cryptometrics.cli.commands import LazyGroup
from cryptometrics.cli.signals import exit_code, interrupt, interrupted
from cryptometrics.errors import CryptometricsError

if TYPE_CHECKING:
    from collections.abc import Sequence

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}

SUPERVISED = "--reporting"
"""The option of a supervised worker: its supervisor has already printed the warnings about settings."""


@click.command(
    cls=LazyGroup,
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
    help="Format of log events on stderr; auto means human on a terminal, JSON elsewhere.",
)
@click.option("--verbose", "-v", is_flag=True, help="Log details for developers, too.")
@click.option("--state-file", hidden=True, help="Write the progress here, for the command that shows it.")
def cryptometrics(log_format: str, verbose: bool, state_file: str | None) -> None:  # noqa: ARG001
    """Crypto market risk in time: quotes through Kafka into PostgreSQL, exactly once.

    \b
    Example:
      cryptometrics demo
    """
    from cryptometrics import log

    log.setup(log_format, verbose=verbose)  # type: ignore[arg-type]
    if not {SUPERVISED, "-h", "--help"} & {*sys.argv}:
        from cryptometrics.cli.settings_check import warn_of_settings

        warn_of_settings(click.get_current_context())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: code 2 for a mistake of the user, 3 for a service that is down."""
    memory.start()
    process_end.prepare()
    _make_streams_writable()
    for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is default:  # keep it ignored if the parent set it so
            signal.signal(number, interrupt)
    try:
        code = _run(arguments)
    except BaseException:
        if not interrupted():
            raise
        click.echo("\nstopped", err=True)
        code = exit_code()
    memory.end()
    # Only the threads of Kafka's client may still run: a second signal ends the process at once.
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is interrupt:
            signal.signal(number, signal.SIG_DFL)
    if interrupted():
        # After an interrupt in the exec of a text, as in the making of a dataclass, `python -m` would end by
        # SIGINT whatever the exit code. The next exec resets that.
        exec("")  # noqa: S102
    process_end.leave(code)


def _make_streams_writable() -> None:
    """Let output never fail: discard it where a stream is closed, escape what its encoding lacks.

    A file descriptor that is closed at the start would otherwise be given to a connection.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest descriptor that is free
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


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
        return _silence()  # Click replaced stdout because of a broken pipe
    except BrokenPipeError:
        return _silence()
    except OSError as error:
        if error.errno not in _DISK:
            raise
        _silence()
        return _complain(CryptometricsError(f"cannot write the output: {error.strerror}"))
    return result if isinstance(result, int) else 0


def _silence() -> int:
    """Discard all further output and return 0: the reader of `cryptometrics … | head` has enough."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _complain(error: CryptometricsError | click.ClickException) -> int:
    """Print in one line what is wrong and what to do; return the exit code."""
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
