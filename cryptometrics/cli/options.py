"""Options that several commands share, each defined once."""

from __future__ import annotations

import click

from cryptometrics.ticks import is_pair


def _pairs(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not is_pair(value):
            raise click.BadParameter(f"{value!r} is not a pair of the form BASE-QUOTE, such as BTC-USD")
    return tuple(dict.fromkeys(values))


pairs = click.option(
    "--pair",
    "pairs",
    multiple=True,
    metavar="BASE-QUOTE",
    callback=_pairs,
    help="A pair such as BTC-USD; may be given several times.",
)

reading_group = click.option(
    "--group",
    metavar="NAME",
    help="Whose rows to read; without it the only group there is, else the one with the newest row.",
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
