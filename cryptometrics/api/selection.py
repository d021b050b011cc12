"""Read what a caller of the Python interface asks for: pairs, times, a group and a venue."""

from __future__ import annotations

import re
import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptometrics.errors import UserError
from cryptometrics.market.ticks import parse_pairs
from cryptometrics.store.choose_source import check_venue, resolve_group, resolve_venue
from cryptometrics.times import parse_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    from cryptometrics.store.choose_source import Choice


def read_pairs(pairs: Sequence[str] | str) -> tuple[str, ...]:
    """Return the pairs of a list or of a text such as "BTC-USD,ETH-USD"; raise UserError if one is none."""
    texts = [pairs] if isinstance(pairs, str) else pairs
    try:
        return tuple(dict.fromkeys(pair for text in texts for pair in parse_pairs(text)))
    except ValueError as error:
        raise UserError(str(error)) from None


def read_moment(moment: datetime | str | None) -> datetime | None:
    """Return a moment in UTC; one without a zone is UTC, a text is as on the command line: 2h, 2026-07-01.

    Raises UserError if the text is not a time.
    """
    if isinstance(moment, str):
        try:
            return parse_time(moment, datetime.now(UTC))
        except ValueError as error:
            raise UserError(str(error)) from None
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def choose_group(connection: psycopg.Connection, group: str | None, *, with_imported: bool) -> str:
    """Return the group named, else the only one, else the newest one with a warning that names the others."""
    return _named(resolve_group(connection, group, with_imported=with_imported))


def choose_venue(
    connection: psycopg.Connection,
    group: str,
    venue: str | None,
    pairs: Sequence[str],
    *,
    with_imported: bool,
) -> str:
    """Return the venue named, else the only one, else the newest one with a warning that names the others."""
    return _named(resolve_venue(connection, group, venue, pairs=pairs, with_imported=with_imported))


def optional_venue(
    connection: psycopg.Connection, group: str, venue: str | None, *, with_imported: bool
) -> str | None:
    """Return the venue named, None for all; raise UserError if the group has nothing of it."""
    check_venue(connection, group, venue, with_imported=with_imported)
    return venue


def _named(choice: Choice) -> str:
    if choice.note:
        # The note is for the command line: here an argument chooses, not an option.
        warnings.warn(re.sub(r"--(\w+) ", r"\1= ", choice.note), stacklevel=5)
    return choice.name
