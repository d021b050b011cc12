"""`cryptometrics plot`: charts of the stored metrics."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cryptometrics.cli import options
from cryptometrics.cli.chart_files import CHARTS, Look, charts_of, empty_figure, is_page, need_display, write
from cryptometrics.errors import NotFoundError, UserError
from cryptometrics.plot.panels import METRICS, RATE_METRICS, RISK_METRICS, panels_of, stored_metrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    import psycopg
    from matplotlib.figure import Figure

    from cryptometrics.market.venues import Market
    from cryptometrics.store.candles import Candles
    from cryptometrics.store.tick_series import Series

MAX_PAIRS = 12
"""Pairs drawn at once; if there are more, the user must name some."""
CANDLES = ("1m", "5m", "15m", "1h", "4h", "1d")
"""Lengths of a candle, as in `store.candles`."""
BEST = "auto"
POINTS_A_PAIR, POINTS = 1200, 4800
"""Points in time loaded per pair, and per figure."""


def _candles(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    if text is not None and text != BEST and text not in CANDLES:
        raise click.BadParameter(f"{text!r} is not one of {', '.join(CANDLES)}")
    return text


@click.command("plot")
@options.pairs
@click.option(
    "--portfolio",
    callback=options.name,
    metavar="NAME",
    help="Draw this portfolio instead of pairs: value, profit and loss with value at risk, and drawdown, as "
    "`risk --follow` has stored them. Goes with --since, --until, --out, --theme, --size and --show.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    type=click.Choice((*METRICS, *RATE_METRICS, *RISK_METRICS)),
    help="Draw only this metric; repeatable.",
)
@click.option(
    "--since",
    metavar="TIME",
    callback=options.time,
    help="Draw from this time on: 15m, 2h, 7d ago, or an ISO time (UTC).",
)
@click.option(
    "--until", metavar="TIME", callback=options.time, help="Draw up to this time, in the same format."
)
@click.option(
    "--candles",
    metavar="[LENGTH]",
    is_flag=False,
    flag_value=BEST,
    callback=_candles,
    help="Draw candles of 1m, 5m, 15m, 1h, 4h or 1d, with the spread below; without LENGTH, it chooses one.",
)
@click.option(
    "--windows",
    callback=options.name,
    metavar="NAME",
    help="Draw the windows that `aggregate` stored under this name, like candles. Goes with --pair, --group, "
    "--venue, --since, --until, --out, --theme, --size and --show.",
)
@click.option(
    "--session",
    callback=options.name,
    metavar="NAME",
    help="Session to draw. [default: the newest of each pair, unless there is a range]",
)
@options.reading_group
@options.one_venue
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=options.chart_or_page,
    help="Draw all pairs into one .png, .svg, .pdf or .html file; the last is for a browser, also offline, "
    "and has zoom and exact values. [default: charts/PAIR.png for each pair; with --venue, "
    "charts/PAIR-VENUE.png; charts/portfolio-NAME.png]",
)
@click.option(
    "--theme",
    type=click.Choice(("light", "dark")),
    default="light",
    show_default=True,
    help="Colours of the chart.",
)
@click.option(
    "--size",
    metavar="WIDTHxHEIGHT",
    callback=options.size,
    help="Size of the chart in dots, such as 1600x900. [default: what suits the pairs and panels]",
)
@click.option("--show", is_flag=True, help="Also open a window with the chart.")
def plot(
    *,
    pairs: tuple[str, ...],
    portfolio: str | None,
    metrics: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    candles: str | None,
    windows: str | None,
    session: str | None,
    group: str | None,
    venue: str | None,
    out: Path | None,
    theme: str,
    size: tuple[int, int] | None,
    show: bool,
) -> None:
    """Draw bid, ask, mid price, spread and the session's extremes over time.

    Without --pair it draws every pair of the newest session, or of the range, each on its own chart. All of
    them are of one venue. Pairs without ticks in the range are left out and named. More than a million ticks
    are drawn from their minutes, unless --metric asks for bid, ask or weighted_mid.

    Drawn on request only: --metric spread (in the quote currency), imbalance (the bid's share of both sizes),
    weighted_mid (each price weighted by the other side's size), and volume in bars of whole minutes. Tickers
    may batch trades, so volume is a lower bound. Below the mid price, volatility, drawdown and value_at_risk
    are over the 24 hours before each moment, as `risk --follow` has stored them.

    \b
    Example:
      cryptometrics plot --pair BTC-USD
      cryptometrics plot --pair BTC-USD --candles 5m --since 6h
      cryptometrics plot --portfolio treasury --since 24h
      cryptometrics plot --windows 5m-every-1m --pair BTC-USD
    """
    if since is not None and until is not None and since > until:
        raise UserError(f"--since ({since:%Y-%m-%d %H:%M:%S}) is after --until ({until:%Y-%m-%d %H:%M:%S})")
    if candles is not None and metrics:
        raise UserError("--candles draws mid price and spread: remove --metric or --candles")
    if show:
        need_display(out)
    else:
        os.environ.pop("MPLBACKEND", None)  # a file needs no toolkit, so a wrong one must not matter
    span: dict[str, Any] = {"since": since, "until": until}
    look = Look(theme, size)
    if portfolio is not None:
        of_pairs = {
            "--pair": pairs, "--metric": metrics, "--candles": candles, "--windows": windows,
            "--session": session, "--group": group, "--venue": venue,
        }  # fmt: skip
        _refuse("--portfolio", of_pairs)
        if is_page(out):
            raise UserError("a portfolio is drawn as .png, .svg or .pdf: name such a file with --out")
        charts = _portfolio_chart(portfolio, out, look, **span, show=show)
    elif windows is not None:
        _refuse("--windows", {"--metric": metrics, "--candles": candles, "--session": session})
        charts = _window_charts(windows, pairs, group, venue, out, span, look, show=show)
    else:
        span["session"] = session
        charts = _pair_charts(pairs, metrics, candles, group, venue, out, span, look, show=show)
    for path, chart in charts:
        write(path, chart)
        click.echo(path)
    if show:
        import matplotlib.pyplot as plt

        plt.show()


def _refuse(chosen: str, others: Mapping[str, object]) -> None:
    """Raise UserError if one of the options is given that the chosen kind of chart does not have."""
    for option, value in others.items():
        if value:
            raise UserError(f"{option} does not go with {chosen}: remove one of them")


def _check_count(chosen: Sequence[Market]) -> None:
    from cryptometrics.text import listed

    if len(chosen) > MAX_PAIRS:
        raise UserError(
            f"{len(chosen)} pairs are too many: choose up to {MAX_PAIRS} with --pair, "
            f"of {listed(market.pair for market in chosen)}"
        )


def _pair_charts(
    pairs: tuple[str, ...],
    metrics: tuple[str, ...],
    candles: str | None,
    group: str | None,
    venue: str | None,
    out: Path | None,
    span: dict[str, Any],
    look: Look,
    *,
    show: bool,
) -> Iterator[tuple[Path, Figure | bytes]]:
    """Yield the charts of pairs with their files; report on stderr which pairs are left out."""
    from cryptometrics.cli.connections import stored_venue
    from cryptometrics.store.candles import load_candles
    from cryptometrics.store.chart_range import load_each, pairs_with_sessions
    from cryptometrics.store.risk_curves import NoFiguresError
    from cryptometrics.store.tick_series import load_series
    from cryptometrics.text import listed

    panels = panels_of(metrics)
    drawn = stored_metrics(panels)
    without_figures: list[str] = []
    with stored_venue(group, venue, pairs, span["session"]) as (connection, name, at):
        chosen, silent = pairs_with_sessions(connection, name, at, pairs, **span)
        _check_count(chosen)

        def load(market: Market) -> Series | Candles:
            if candles is not None:
                size = None if candles == BEST else candles
                return load_candles(connection, name, market, size, **span)
            points = POINTS_A_PAIR if out is None else min(POINTS_A_PAIR, POINTS // len(chosen))
            minutes = not {"bid", "ask", "weighted_mid"} & set(metrics)
            series = load_series(connection, name, market, drawn, buckets=points, minutes=minutes, **span)
            try:
                return _with_risk(connection, series, metrics, points)
            except NoFiguresError:
                without_figures.append(market.pair)
                return series

        loaded, left_out = load_each(chosen, silent, load)
        loaded = [each for each in loaded if each.market.pair not in without_figures]
        if not loaded:
            raise NoFiguresError(without_figures)
    if left_out:
        click.echo(f"left out, without ticks in that range: {listed(left_out)}", err=True)
    if without_figures:
        click.echo(
            f"left out, without stored risk figures in that time: {listed(without_figures)}; "
            "`cryptometrics risk --follow` computes them",
            err=True,
        )
    suffix = ("" if venue is None else f"-{venue}") + ("" if candles is None else "-candles")
    yield from charts_of(loaded, out, suffix, panels, look, show=show)


def _window_charts(
    name: str,
    pairs: tuple[str, ...],
    group: str | None,
    venue: str | None,
    out: Path | None,
    span: dict[str, Any],
    look: Look,
    *,
    show: bool,
) -> Iterator[tuple[Path, Figure | bytes]]:
    """Yield the charts of stored windows with their files; report on stderr which pairs are left out."""
    from cryptometrics.cli.connections import report_choice, stored
    from cryptometrics.store.stored_windows import choose_windows, load_windows
    from cryptometrics.text import listed

    loaded, silent = [], []
    with stored() as connection:
        source = choose_windows(connection, name, group, venue, pairs)
        _check_count(source.markets)
        for market in source.markets:
            try:
                loaded.append(load_windows(connection, source.group.name, market, name, **span))
            except NotFoundError:
                silent.append(market.pair)
    if not loaded:
        raise NotFoundError(f"no windows named {name} of {listed(silent)} overlap that range")
    report_choice(source.group, source.venue)
    if silent:
        click.echo(f"left out, without windows in that range: {listed(silent)}", err=True)
    suffix = ("" if venue is None else f"-{venue}") + "-windows"
    yield from charts_of(loaded, out, suffix, (), look, show=show)


def _portfolio_chart(
    name: str, out: Path | None, look: Look, *, since: datetime | None, until: datetime | None, show: bool
) -> Iterator[tuple[Path, Figure | bytes]]:
    """Yield the chart of a portfolio with its file; raise UserError if no figures of it are stored."""
    from cryptometrics.cli.connections import stored
    from cryptometrics.plot.portfolio import draw
    from cryptometrics.plot.theme import THEMES
    from cryptometrics.store.portfolio_history import load_history

    with stored() as connection:
        history = load_history(connection, name, since, until, POINTS_A_PAIR)
    figure = empty_figure(show=show)
    draw(figure, history, THEMES[look.theme], look.size)
    yield out or CHARTS / f"portfolio-{name}.png", figure


def _with_risk(connection: psycopg.Connection, series: Series, metrics: Sequence[str], points: int) -> Series:
    """Return the series with the risk figures of its time, if any of the metrics is one."""
    from dataclasses import replace

    from cryptometrics.store.risk_curves import load_curves

    if not set(RISK_METRICS) & set(metrics):
        return series
    curves = load_curves(connection, series.group, series.market, series.start, series.end, points)
    return replace(series, risk=curves)
