"""The chart of a portfolio: what it says where much is unknown, and where a band and marks are."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from cryptometrics.plot.figure import render
from cryptometrics.plot.portfolio import draw
from cryptometrics.plot.theme import DARK
from cryptometrics.store.portfolio_history import Breach, PortfolioHistory

START = datetime(2026, 7, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def history(*, count: int = 400, known: bool = True, breached: int = 0) -> PortfolioHistory:
    """Return minutes of a portfolio that falls to its lowest value in the middle."""
    as_of = [START + n * MINUTE for n in range(count)]
    gains = [40_000 * math.cos(n * 2 * math.pi / count) if known else math.nan for n in range(count)]
    names = ["gross", "drawdown_pct", "value_at_risk_pct", "of.BTC.gross", "concentration_pct"]
    breaches = [Breach(at, tuple(f"limit.{name}" for name in names)) for at in as_of[count - breached :]]
    return PortfolioHistory(
        name="treasury",
        group="cryptometrics",
        venue="simulated",
        currency="USD",
        versions=(1, 3),
        rows=count,
        as_of=as_of,
        value=[1_000_000 + gain for gain in gains],
        profit_and_loss=gains,
        value_at_risk=[20_000.0 + 30 * n if known else math.nan for n in range(count)],
        drawdown=[40_000 - gain for gain in gains],
        breaches=breaches,
        start=as_of[0],
        end=as_of[-1],
        width=MINUTE,
    )


def legends(figure: Figure) -> list[str]:
    found = []
    for axes in figure.axes:
        legend = axes.get_legend()
        assert legend is not None
        found.append("\n".join(text.get_text() for text in legend.get_texts()))
    return found


def test_the_band_reaches_from_profit_and_loss_to_the_value_at_risk_below_it() -> None:
    figure, drawn = Figure(), history()
    draw(figure, drawn)
    [band] = figure.axes[1].collections
    [path] = band.get_paths()
    vertices = np.asarray(path.vertices)
    lows = [gain - at_risk for gain, at_risk in zip(drawn.profit_and_loss, drawn.value_at_risk, strict=True)]
    assert vertices[:, 1].min() == pytest.approx(min(lows))
    assert vertices[:, 1].max() == pytest.approx(40_000)
    low, high = figure.axes[1].get_ylim()
    assert low < min(lows)
    assert high > 40_000


def test_the_title_says_that_prices_are_simulated() -> None:
    figure = Figure()
    draw(figure, history())
    assert "treasury · SIMULATED · versions 1 to 3" in figure.axes[0].get_title(loc="left")


def test_breaches_are_marked_in_every_panel_and_named() -> None:
    figure = Figure()
    draw(figure, history(breached=3))
    for axes in figure.axes:
        marks = [line for line in axes.lines if line.get_marker() == "|"]
        assert [len(np.asarray(line.get_xdata())) for line in marks] == [3]
    first, *others = legends(figure)
    assert "limit breached: 3 rows, concentration_pct, drawdown_pct, gross, of.BTC.gross, and 1 more" in first
    assert "breached" not in "".join(others)


def test_without_cost_profit_and_loss_is_not_known() -> None:
    figure = Figure()
    draw(figure, history(known=False))
    assert legends(figure) == ["value: not known", "profit and loss: not known", "drawdown: not known"]
    assert not figure.axes[1].collections


def test_theme_and_size_are_those_asked_for() -> None:
    figure = Figure()
    draw(figure, history(breached=3), DARK, (1600, 900))
    assert to_hex(figure.get_facecolor()) == DARK.background.lower()
    assert [round(figure.dpi * inches) for inches in figure.get_size_inches()] == [1600, 900]
    value = figure.axes[0].lines[0]
    assert to_hex(value.get_color()) == "#ffffff"  # black would vanish on the dark ground


def test_one_row_is_a_dot_and_the_file_is_the_same_each_time() -> None:
    files = []
    for _ in range(2):
        figure = Figure()
        draw(figure, history(count=1, breached=1))
        assert figure.axes[0].lines[0].get_marker() == "."
        files.append(render(figure, "png"))
    assert files[0] == files[1]
