"""Find the group, the venue and the pairs that price a portfolio when it is loaded; then they are pinned."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, NamedTuple

from cryptometrics.errors import UserError
from cryptometrics.risk.portfolio.definition import pricing_pairs
from cryptometrics.store.choose_source import resolve_group, stored_venues
from cryptometrics.text import are, listed

if TYPE_CHECKING:
    import psycopg

    from cryptometrics.risk.portfolio.definition import Portfolio
    from cryptometrics.risk.portfolio.file_problems import FileProblem
    from cryptometrics.risk.portfolio.positions_file import PositionsFile
    from cryptometrics.store.positions import PortfolioVersion

_PAIRS = "SELECT pair FROM pair_state WHERE consumer_group = %s AND venue = %s ORDER BY pair"


class PinnedPortfolio(NamedTuple):
    """A portfolio with what prices it, or what is wrong with it."""

    portfolio: Portfolio
    problems: list[FileProblem]
    """If there are any, the portfolio must not be stored."""
    note: str
    """Which group was chosen and why, for stderr; empty if there was no choice."""


def pin(
    connection: psycopg.Connection, file: PositionsFile, present: PortfolioVersion | None
) -> PinnedPortfolio:
    """Return the portfolio of a file, pinned.

    A group or venue that the file does not name is taken from the present version, else it is the only one.
    If there are several groups, the one with the newest row is chosen. Several venues are a problem, because
    their prices differ.

    Raises UserError if nothing is stored.
    """
    stated = file.portfolio
    note = ""
    group = stated.group or (present.group if present else None)
    try:
        chosen = resolve_group(connection, group)
    except UserError as error:
        if stated.group is None:
            raise
        return PinnedPortfolio(stated, [file.problem(("group",), str(error))], "")
    if group is None:
        note = chosen.note
    group = chosen.name
    venues = sorted(stored_venues(connection, group))
    venue = stated.venue
    if venue is None and present is not None and present.group == group:
        venue = present.venue
    if venue is None and len(venues) == 1:
        [venue] = venues
    if venue is None:
        what = f"is missing: group {group} has the venues {listed(venues)}, and their prices differ: name one"
        return PinnedPortfolio(stated, [file.problem(("venue",), what)], "")
    if venue not in venues:
        what = f"{venue} has stored nothing in group {group}; there {are(venues)}"
        return PinnedPortfolio(stated, [file.problem(("venue",), what)], "")
    known = [pair for (pair,) in connection.execute(_PAIRS, [group, venue])]
    prices = pricing_pairs(stated, known)
    problems = [
        file.problem(file.places[asset], _no_price(asset, stated, venue, known))
        for asset in stated.assets
        if asset not in prices
    ]
    return PinnedPortfolio(stated.pinned(group, venue, prices), problems, note)


def _no_price(asset: str, portfolio: Portfolio, venue: str, known: list[str]) -> str:
    """Return that no pair prices an asset, with the assets whose names are the closest."""
    priced = sorted(pair.removesuffix(f"-{portfolio.currency}") for pair in known)
    priced = [name for name in priced if "-" not in name]
    near = difflib.get_close_matches(asset, priced, n=3, cutoff=0.5)
    hint = f"did you mean {listed(near)}?" if near else f"it prices {listed(priced) or 'nothing in it'}"
    return f"{venue} has no pair {portfolio.treat_as.get(asset, asset)}-{portfolio.currency}: {hint}"
