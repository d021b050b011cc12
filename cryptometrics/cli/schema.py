"""`cryptometrics schema`: the wire format of the topic as a contract."""

from __future__ import annotations

import click

PARTS = ("tick", "gap", "asyncapi")


@click.command()
@click.option("--only", type=click.Choice(PARTS), help="Print only this part. [default: all]")
def schema(only: str | None) -> None:
    """Print the wire format of the topic as JSON.

    `tick` and `gap` are JSON Schemas (2020-12) of the two kinds of messages; `asyncapi` describes the topic
    (AsyncAPI 3). A producer of your own can check its messages with them.

    \b
    Example:
      cryptometrics schema
      cryptometrics schema --only tick > tick.schema.json
    """
    import json
    from importlib.resources import files

    text = files("cryptometrics.market").joinpath("wire_format.json").read_text(encoding="utf-8")
    click.echo(text if only is None else json.dumps(json.loads(text)[only], indent=2), nl=only is not None)
