"""What `cryptometrics demo` shows of its stored data: tables of pairs, risk and portfolio, and charts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from cryptometrics.cli.demo_stages import GROUP
from cryptometrics.market.venues import SIMULATED, venue_label

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import psycopg

    from cryptometrics.config import Settings
    from cryptometrics.store.stored_sessions import SessionRow

AGAINST = "BTC-USD"
"""The pair that the others are compared with."""
DAY_MINUTES = 1440


def show(settings: Settings) -> list[Path]:
    """Print what is stored and draw a chart of each pair; return the paths of the charts."""
    from cryptometrics.store import stored_sessions
    from cryptometrics.store.connection import connect

    with connect(settings) as connection:
        rows = stored_sessions.sessions(connection, GROUP)
        _show_pairs(rows)
        _show_risk(connection)
        _show_portfolio(connection)
        return _draw(connection, rows)


def _show_pairs(rows: Sequence[SessionRow]) -> None:
    from cryptometrics.cli.output import print_table, short

    columns = ("ticks", "bid", "ask", "mid_price", "spread", "highest_bid", "lowest_ask", "max_spread")
    heads = [column.replace("_", "\n") for column in columns]
    cells = [[row.pair, *(short(getattr(row, column)) for column in columns)] for row in rows]
    venue = venue_label(rows[0].venue)
    print_table(
        ["pair", *heads], cells, numbers=heads, caption=f"venue {venue}; prices in the quote currency"
    )


def _show_risk(connection: psycopg.Connection) -> None:
    """Print the table of `cryptometrics risk`."""
    from cryptometrics.cli.risk_table import show as show_lines
    from cryptometrics.risk.figures import FigureSettings
    from cryptometrics.risk.lines import MarketRange, risk_lines
    from cryptometrics.store.complete_markets import choose_as_of, markets
    from cryptometrics.store.risk_inputs import load_series

    stored = markets(connection, GROUP, SIMULATED)
    market = MarketRange(GROUP, SIMULATED, choose_as_of(stored, None), DAY_MINUTES)
    pairs, settings = [each.pair for each in stored], FigureSettings()
    series = load_series(connection, market, pairs, settings)
    show_lines(risk_lines(series, pairs, AGAINST, market, settings), "realized", settings.bar)


def _show_portfolio(connection: psycopg.Connection) -> None:
    """Print the tables of `cryptometrics portfolio`."""
    from cryptometrics.cli.portfolio_table import show as show_valuation
    from cryptometrics.risk.portfolio.valuation import value_portfolio
    from cryptometrics.store.portfolio_market import load_market
    from cryptometrics.store.positions import named_in_force

    [version] = named_in_force(connection, datetime.now(UTC), GROUP)
    held = version.portfolio
    market = load_market(connection, version.group, version.venue, [held], None)
    click.echo()
    show_valuation(value_portfolio(held, version.version, market.as_of, market.of(held)))


def _draw(connection: psycopg.Connection, rows: Sequence[SessionRow]) -> list[Path]:
    from cryptometrics.cli.chart_files import CHARTS, figure_of, save
    from cryptometrics.cli.plot import POINTS_A_PAIR
    from cryptometrics.plot.panels import PANELS, stored_metrics
    from cryptometrics.store.tick_series import load_series

    charts = []
    for row in rows:
        series = load_series(
            connection,
            GROUP,
            row.market,
            stored_metrics(PANELS),
            session=None,
            since=None,
            until=None,
            buckets=POINTS_A_PAIR,
        )
        charts.append(CHARTS / f"{row.pair}.png")
        save(charts[-1], figure_of([series], PANELS))
    return charts
