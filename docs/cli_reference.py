"""Writes docs/cli.md from the help texts; `make docs` runs it, and a test sees whether it is current."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cryptometrics.cli import cryptometrics

if TYPE_CHECKING:
    from collections.abc import Iterator

REFERENCE = Path(__file__).with_name("cli.md")
WIDTH = 90
"""Columns of the help texts."""

INTRODUCTION = """\
# Command line reference

Made from the help texts by `make docs`. `python -m cryptometrics` is the same as `cryptometrics`.

- stdout is data, stderr is progress and logs. A terminal gets live lines and tables; a pipe gets plain lines.
- Every option can come from the environment as well: the name is below each command. Several values of a
  repeatable option are separated by spaces.
- Exit codes: 0 done, 1 it did not work or a check failed, 2 your mistake, 3 a service is down
  ([all of them](../README.md#exit-codes)).
- Ctrl-C and SIGTERM let `simulate`, `ingest`, `record`, `replay`, `process`, `run`, `watch` and `aggregate
  --follow` finish what they have in hand and exit with 0.
"""


def commands(context: click.Context | None = None) -> Iterator[click.Context]:
    """Yield the context of every command, each group before what is in it."""
    if context is None:
        settings: dict[str, Any] = dict(cryptometrics.context_settings)
        settings |= {"terminal_width": WIDTH, "max_content_width": WIDTH}
        context = click.Context(cryptometrics, info_name="cryptometrics", **settings)
    command = context.command
    yield context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None  # noqa: S101  (it was listed)
            if not child.hidden:
                yield from commands(click.Context(child, parent=context, info_name=name))


def variables(context: click.Context) -> list[str]:
    """Return the environment variables that give the command's options."""
    prefix = context.auto_envvar_prefix
    return [
        f"{prefix}_{(option.name or '').upper()}"
        for option in context.command.params
        if isinstance(option, click.Option) and option.expose_value and not option.hidden
    ]


def render() -> str:
    """Return the text of the reference."""
    parts = [INTRODUCTION]
    for context in commands():
        parts.append(f"\n## {context.command_path}\n\n```text\n{context.get_help()}\n```\n")
        if names := variables(context):
            parts.append("\nEnvironment: " + ", ".join(f"`{name}`" for name in names) + "\n")
    return "".join(parts)


def main() -> None:
    """Write the reference."""
    REFERENCE.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
