"""Write docs/cli.md from the help texts. `make docs` runs it, and a test fails if the page is not current."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cryptometrics.cli import cryptometrics

if TYPE_CHECKING:
    from collections.abc import Iterator

REFERENCE = Path(__file__).with_name("cli.md")
WIDTH = 90
"""Width of the help texts, in columns."""

INTRODUCTION = """\
# Command line reference

`make docs` writes this page from the help texts. `python -m cryptometrics` is the same as `cryptometrics`.

- stdout is data, stderr is progress and logs. A terminal gets live lines and tables; a pipe gets plain lines.
- `COLUMNS` states a width to fit into, in a pipe, too. `LINES` limits the height of `watch`.
- Every option can also come from the environment. The variable's name is below each command. Separate several
  values of a repeatable option with spaces.
- Connection settings are never options: see [configuration](configuration.md).

## Completion

The shell completes commands and options, and the pairs, groups and venues that are stored, after one line
in the file that it reads at its start:

```sh
# bash 4.4 or newer: ~/.bashrc
eval "$(_CRYPTOMETRICS_COMPLETE=bash_source cryptometrics)"
# zsh: ~/.zshrc, below compinit
eval "$(_CRYPTOMETRICS_COMPLETE=zsh_source cryptometrics)"
# fish: ~/.config/fish/completions/cryptometrics.fish
_CRYPTOMETRICS_COMPLETE=fish_source cryptometrics | source
```

Names come from the configured database. If it does not answer within a second, none are suggested.

## Exit codes

| code | meaning |
|---|---|
| 0 | Done. Also after Ctrl-C or SIGTERM in `simulate`, `ingest`, `record`, \
`replay`, `process`, `run`, `watch` and `aggregate --follow`: they finish the work in hand and stop. |
| 1 | It failed, or a check says no: `init-db --check` on a schema that is behind, \
ticks that Kafka did not acknowledge, books that do not balance, data that is lost. |
| 2 | Your mistake: a wrong option or setting, a wrong password, a step that was left out. \
Trying again changes nothing. |
| 3 | Kafka or PostgreSQL does not answer, or a feed received nothing from its exchange. \
Trying again later can help. |
| 130, 143 | Stopped by Ctrl-C or by SIGTERM before it was done. Unfinished work is rolled back. |

An error is one line on stderr that says what is wrong and what to do. A traceback is a bug: please report it.
"""


def commands(context: click.Context | None = None) -> Iterator[click.Context]:
    """Yield the context of every command, each group before its sub-commands."""
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
    """Return the environment variables of the command's options."""
    prefix = context.auto_envvar_prefix
    names = (
        f"{prefix}_{(option.name or '').upper()}"
        for option in context.command.params
        if isinstance(option, click.Option) and option.expose_value and not option.hidden
    )
    return list(dict.fromkeys(names))  # two flags may set the same option


def render() -> str:
    """Return the text of the reference."""
    parts = [INTRODUCTION]
    for context in commands():
        parts.append(f"\n## {context.command_path}\n\n```text\n{context.get_help()}\n```\n")
        if names := variables(context):
            parts.append("\nEnvironment: " + ", ".join(f"`{name}`" for name in dict.fromkeys(names)) + "\n")
    return "".join(parts)


def main() -> None:
    """Write the reference."""
    REFERENCE.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
