"""`cryptometrics alerts ack`, `silence`, `silences` and `unsilence`."""

from __future__ import annotations

import getpass
import json
from typing import TYPE_CHECKING, Any

import click

from cryptometrics.cli import options
from cryptometrics.times import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from rich.text import Text

    from cryptometrics.store.acknowledgements import Silence

MAX_ID = 2**63 - 1
MAX_PATTERN, MAX_REASON = 100, 1_000
"""Characters that the database accepts."""


def _line(most: int) -> Callable[[click.Context, click.Parameter, str], str]:
    """Return a callback for Click that accepts one line of at most this many characters."""

    def check(_context: click.Context, _option: click.Parameter, value: str) -> str:
        text = value.strip()
        if not text:
            raise click.BadParameter("it must not be empty")
        if len(text) > most:
            raise click.BadParameter(f"it has {len(text):,} characters: at most {most:,} are allowed")
        if not text.isprintable():
            raise click.BadParameter(f"{text!r} must be one line of printable characters")
        return text

    return check


def _duration(_context: click.Context, _option: click.Parameter, value: str) -> timedelta:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _author(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Return the name given, else that of the user of this machine."""
    if value is None:
        try:
            value = getpass.getuser()
        except (KeyError, OSError):  # a container may have no user of this id
            raise click.BadParameter("this machine does not know your name: state it") from None
    return options.name(context, option, value)


_by = click.option("--by", callback=_author, metavar="NAME", help="Your name. [default: your login]")
_id = click.IntRange(1, MAX_ID)


@click.command()
@click.argument("alert_id", metavar="ID", type=_id)
@click.option(
    "--why", required=True, callback=_line(MAX_REASON), metavar="TEXT", help="What you do about it."
)
@_by
def ack(alert_id: int, why: str, by: str) -> None:
    """Acknowledge an alert, so that others know that you look after it.

    It changes nothing else: the end of the alert is still sent. `alerts list` shows the IDs.

    \b
    Example:
      cryptometrics alerts ack 17 --why "the exchange is down, told the desk"
    """
    from cryptometrics.cli.connections import database
    from cryptometrics.store import acknowledgements

    with database() as connection:
        acknowledgements.acknowledge(connection, alert_id, by, why)
    click.echo(f"alert {alert_id}: acknowledged by {by}")


@click.command()
@click.argument("rule", callback=_line(MAX_PATTERN))
@click.option(
    "--pair",
    default="*",
    callback=_line(MAX_PATTERN),
    metavar="PATTERN",
    help="Only alerts of these pairs, such as BTC-USD or 'BTC-*'. [default: all]",
)
@click.option(
    "--for",
    "duration",
    required=True,
    callback=_duration,
    metavar="DURATION",
    help="How long: 30m, 2h, 1d; at most 30d.",
)
@click.option(
    "--why", required=True, callback=_line(MAX_REASON), metavar="TEXT", help="The reason, for others."
)
@_by
def silence(rule: str, pair: str, duration: timedelta, why: str, by: str) -> None:
    """Do not send alerts of a rule for a while.

    RULE is the name of a rule or a pattern with *, ? and [ ], in quotes. Alerts that begin during the silence
    are stored and listed as silenced. Those that still fire when it ends are sent then.

    \b
    Example:
      cryptometrics alerts silence "limit.*" --pair "BTC-*" --for 2h --why "rebalancing"
    """
    from cryptometrics.cli.connections import database
    from cryptometrics.cli.output import short
    from cryptometrics.store import acknowledgements

    with database() as connection:
        made = acknowledgements.silence(connection, rule, pair, duration, by, why)
    click.echo(f"silence {made.id}: {_about(made)} until {short(made.ends_at)} UTC")


@click.command()
@click.option("--all", "ended", is_flag=True, help="Also silences that have ended.")
@options.as_json
def silences(ended: bool, as_json: bool) -> None:
    """List silences, the longest first.

    \b
    Example:
      cryptometrics alerts silences
    """
    from cryptometrics.cli.connections import database
    from cryptometrics.store import acknowledgements

    with database() as connection:
        found = acknowledgements.silences(connection, ended=ended)
    if as_json:
        click.echo(json.dumps([_as_dict(each) for each in found], indent=2))
    elif not found:
        click.echo("no silences" if ended else "no active silences")
    else:
        _print(found)


@click.command()
@click.argument("silence_id", metavar="ID", type=_id)
@_by
def unsilence(silence_id: int, by: str) -> None:
    """End a silence early. Alerts that it kept back and that still fire are sent.

    \b
    Example:
      cryptometrics alerts unsilence 3
    """
    from cryptometrics.cli.connections import database
    from cryptometrics.store import acknowledgements

    with database() as connection:
        ended = acknowledgements.end_silence(connection, silence_id, by)
    click.echo(f"silence {ended.id}: {_about(ended)} ended by {by}")


def _about(silence: Silence) -> str:
    from cryptometrics.text import escape

    pairs = "all pairs" if silence.pair == "*" else silence.pair
    return escape(f"{silence.rule} of {pairs}")


def _end(silence: Silence) -> datetime:
    return silence.ended_at or silence.ends_at


def _as_dict(silence: Silence) -> dict[str, Any]:
    from cryptometrics.times import iso

    return {
        "id": silence.id,
        "active": silence.active,
        "rule": silence.rule,
        "pair": silence.pair,
        "by": silence.created_by,
        "login": silence.created_login,
        "why": silence.why,
        "from": iso(silence.starts_at),
        "until": iso(silence.ends_at),
        "ended_at": None if silence.ended_at is None else iso(silence.ended_at),
        "ended_by": silence.ended_by,
    }


def _print(found: list[Silence]) -> None:
    from cryptometrics.cli.output import for_people, plain, print_table, short, stacked
    from cryptometrics.text import escape

    rows: list[list[str | Text]] = []
    if not for_people():
        for each in found:
            state = "active" if each.active else "ended"
            texts = map(escape, (each.rule, each.pair, each.created_by, each.why))
            rows.append([str(each.id), state, *texts, plain(each.starts_at), plain(_end(each))])
        print_table(("id", "state", "rule", "pair", "by", "why", "from", "until"), rows, numbers=("id",))
        return
    rows += (
        [
            stacked(str(each.id), "active" if each.active else "ended"),
            stacked(escape(each.rule), escape(each.pair)),
            stacked(escape(each.created_by), escape(each.why)),
            stacked(short(each.starts_at), short(_end(each))),
        ]
        for each in found
    )
    heads = ("id\nstate", "rule\npair", "by\nwhy", "from\nuntil")
    print_table(heads, rows, uncut=heads[3:], caption="times in UTC")
