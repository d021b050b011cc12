"""`cryptometrics plot --portfolio`: what the chart of stored rows shows, and its errors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.figure import Figure

from cryptometrics.plot.portfolio import draw
from cryptometrics.store.portfolio_history import load_history

if TYPE_CHECKING:
    import psycopg

    from tests.conftest import Cli

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
# Minutes 200 to 399 are missing; value at risk is known from minute 100 on; the last ten breach a limit.
ROWS = """
INSERT INTO portfolio_risk (portfolio, version, consumer_group, as_of, venue, currency, value,
    profit_and_loss, gross, value_at_risk, drawdown, unmarked, positions, cash, limits)
SELECT 'treasury', 1 + n / 300, 'g1', timestamptz '2026-07-01 12:00Z' + n * interval '1 min', 'simulated',
    'USD', 100000 + 10 * n, 10 * n - 500, 90000, CASE WHEN n >= 100 THEN 1000 + n END, n % 50, 0, '[]', '[]',
    jsonb_build_array(jsonb_build_object('limit', 'limit.gross',
        'state', CASE WHEN n >= 590 THEN 'breach' ELSE 'ok' END))
FROM generate_series(0, 599) AS n WHERE n NOT BETWEEN 200 AND 399
"""
ELSEWHERE = """
INSERT INTO portfolio_risk (portfolio, version, consumer_group, as_of, venue, currency, value, unmarked,
    positions, cash, limits)
SELECT 'treasury', 0, 'g1', timestamptz '2026-07-01 11:00Z', 'coinbase', 'EUR', 1, 0, '[]', '[]', '[]'
"""


def legend_of(figure: Figure, panel: int) -> str:
    legend = figure.axes[panel].get_legend()
    assert legend is not None
    return "\n".join(text.get_text() for text in legend.get_texts())


def test_the_chart_has_three_panels_and_marks_breaches(cli: Cli, connection: psycopg.Connection) -> None:
    connection.execute(ROWS)
    connection.execute(ELSEWHERE)
    done = cli("plot", "--portfolio", "treasury")
    assert done.stdout == "charts/portfolio-treasury.png\n"
    assert done.stderr == ""
    assert (cli.cwd / "charts/portfolio-treasury.png").read_bytes().startswith(b"\x89PNG")

    history = load_history(connection, "treasury", None, None, 1200)
    assert (history.rows, history.versions, history.currency) == (400, (1, 2), "USD")
    figure = Figure()
    draw(figure, history)
    value, gain, drawdown = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "value (USD)", "profit and loss (USD)", "drawdown (USD)",
    ]  # fmt: skip
    assert "SIMULATED" in value.get_title(loc="left")
    drawn = np.asarray(value.lines[0].get_ydata(), dtype=float)
    assert len(drawn) == 401
    assert np.isnan(drawn).sum() == 1  # the break where rows are missing
    assert drawn[-1] == 105_990
    assert "limit breached: 10 rows, gross" in legend_of(figure, 0)
    assert len(np.asarray(drawdown.lines[-1].get_xdata())) == 10
    assert "value at risk 1,599.00" in legend_of(figure, 1)
    [band] = gain.collections
    assert band.get_paths()[0].get_extents().y0 == pytest.approx(-600)  # 500 - 1,100 at minute 100
    assert "drawdown 49.00" in legend_of(figure, 2)


def test_theme_and_size_go_with_a_portfolio(cli: Cli, connection: psycopg.Connection) -> None:
    connection.execute(ROWS)
    cli("plot", "--portfolio", "treasury", "--out", "t.png", "--theme", "dark", "--size", "1200x800")
    header = (cli.cwd / "t.png").read_bytes()[16:24]
    assert (int.from_bytes(header[:4]), int.from_bytes(header[4:])) == (1200, 800)


def test_a_range_is_cut_and_peaks_survive_wide_buckets(connection: psycopg.Connection) -> None:
    connection.execute(ROWS)
    since, until = NOON + timedelta(minutes=120), NOON + timedelta(minutes=150)
    cut = load_history(connection, "treasury", since, until, 1200)
    assert (cut.rows, cut.start, cut.end, list(cut.breaches)) == (31, since, until, [])
    few = load_history(connection, "treasury", None, None, 10)
    assert len(few.as_of) <= 11
    assert max(few.drawdown) == 49
    assert len(few.breaches) == 10


def test_unknown_figures_are_said_to_be_unknown(connection: psycopg.Connection) -> None:
    connection.execute(ELSEWHERE)
    figure = Figure()
    draw(figure, load_history(connection, "treasury", None, None, 1200))
    assert legend_of(figure, 1) == "profit and loss: not known"
    assert legend_of(figure, 2) == "drawdown: not known"


def test_mistakes_are_one_line(cli: Cli, connection: psycopg.Connection) -> None:
    for portfolio, message in (("x", "no figures of portfolios are stored: load one with"),):
        assert message in cli("plot", "--portfolio", portfolio, code=2).stderr
    connection.execute(ROWS)
    for options, message in (
        (["x"], "portfolio x has no stored figures; there is treasury"),
        (["treasury", "--pair", "BTC-USD"], "--pair does not go with --portfolio: remove one of them"),
        (["treasury", "--out", "t.html"], "a portfolio is drawn as .png, .svg or .pdf"),
        (["treasury", "--since", "2030-01-01T00:00"], "portfolio treasury has no rows in that time"),
    ):
        failed = cli("plot", "--portfolio", *options, code=2)
        assert message in failed.stderr
        assert failed.stderr.count("\n") == 1
        assert failed.stdout == ""
