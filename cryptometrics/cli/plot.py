"""`cryptometrics plot`: charts of the stored metrics."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cryptometrics import files
from cryptometrics.cli import options
from cryptometrics.errors import UserError
from cryptometrics.market.tick_decoder import is_pair
from cryptometrics.plot.panels import METRICS, panels_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from matplotlib.figure import Figure

    from cryptometrics.plot.panels import Panel
    from cryptometrics.store.candles import Candles
    from cryptometrics.store.tick_series import Series

CHARTS = Path("charts")
"""The folder of charts that were given no name; it is made."""
MOST_PAIRS = 12
"""Charts drawn at once; of more pairs than that some must be named."""
CANDLES = ("1m", "5m", "15m", "1h", "4h", "1d")
"""Lengths of a candle; those of `store.candles`."""
BEST = "auto"
POINTS_A_PAIR, POINTS = 1200, 4800
"""Points in time loaded for a pair, and for a whole figure."""


def _candles(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    if text is not None and text != BEST and text not in CANDLES:
        raise click.BadParameter(f"{text!r} is none of {', '.join(CANDLES)}")
    return text


@click.command("plot")
@options.pairs
@click.option(
    "--metric", "metrics", multiple=True, type=click.Choice(METRICS), help="Draw only this; repeatable."
)
@click.option(
    "--since",
    metavar="TIME",
    callback=options.time,
    help="From then on: 15m, 2h, 7d ago, or an ISO time (UTC).",
)
@click.option("--until", metavar="TIME", callback=options.time, help="Up to then, likewise.")
@click.option(
    "--candles",
    metavar="[LENGTH]",
    is_flag=False,
    flag_value=BEST,
    callback=_candles,
    help="Candlesticks of 1m, 5m, 15m, 1h, 4h or 1d, without a length of the one that suits; spread below.",
)
@click.option(
    "--session",
    callback=options.name,
    metavar="NAME",
    help="A session; without it and a range the newest one of the pair.",
)
@options.reading_group
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=options.chart,
    help="One .png, .svg or .pdf with all pairs; without it one file a pair: charts/PAIR.png.",
)
@click.option("--show", is_flag=True, help="Open a window with the chart, too.")
def plot(
    *,
    pairs: tuple[str, ...],
    metrics: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    candles: str | None,
    session: str | None,
    group: str | None,
    out: Path | None,
    show: bool,
) -> None:
    """Draw bid, ask, mid price, spread and the session's extremes over time.

    Without --pair every pair of the newest session is drawn, each on its own chart.

    More than a million ticks are drawn from their minutes, unless --metric asks for bid or ask.

    \b
    Example:
      cryptometrics plot --pair BTC-USD
      cryptometrics plot --pair BTC-USD --candles 5m --since 6h
    """
    from cryptometrics import config
    from cryptometrics.cli.waiting import waiting
    from cryptometrics.store import catalog
    from cryptometrics.store.candles import load_candles
    from cryptometrics.store.connection import connect, snapshot
    from cryptometrics.store.database_errors import explaining
    from cryptometrics.store.tick_series import load_series
    from cryptometrics.text import listed

    if since is not None and until is not None and since > until:
        raise UserError(f"--since ({since:%Y-%m-%d %H:%M:%S}) is after --until ({until:%Y-%m-%d %H:%M:%S})")
    if candles is not None and metrics:
        raise UserError("--candles draws mid price and spread: leave --metric out, or --candles")
    if show:
        _need_display()
    else:
        os.environ.pop("MPLBACKEND", None)  # a file needs no toolkit, so a wrong one there is no error
    panels = panels_of(metrics)
    drawn = [line.metric for panel in panels for line in panel.lines]
    with (
        connect(config.load(), notice=waiting("PostgreSQL")) as connection,
        explaining(),
        snapshot(connection),
    ):
        chosen = catalog.resolve_group(connection, group)
        if not pairs:
            pairs = tuple(row.pair for row in catalog.sessions(connection, chosen.name, session=session))
        if len(pairs) > MOST_PAIRS:
            raise UserError(
                f"{len(pairs)} pairs are too many at once; name some with --pair: {listed(pairs)}"
            )
        points = POINTS_A_PAIR if out is None else min(POINTS_A_PAIR, POINTS // len(pairs))
        size = None if candles == BEST else candles
        loaded: list[Series | Candles] = [
            load_candles(connection, chosen.name, pair, size, session=session, since=since, until=until)
            if candles is not None
            else load_series(
                connection,
                chosen.name,
                pair,
                drawn,
                session=session,
                since=since,
                until=until,
                buckets=points,
                minutes=not {"bid", "ask"} & set(metrics),
            )
            for pair in pairs
        ]
    if chosen.note:
        click.echo(chosen.note, err=True)
    name = "" if candles is None else "-candles"
    charts = {out: loaded} if out is not None else {_file_of(each.pair, name): [each] for each in loaded}
    for path, together in charts.items():
        save(path, figure_of(together, panels, show=show))
        click.echo(path)
    if show:
        import matplotlib.pyplot as plt

        plt.show()


def _file_of(pair: str, suffix: str) -> Path:
    """Return where the chart of a pair goes; what is none in the table must not choose a place."""
    if not is_pair(pair):
        raise UserError(f"{pair!a} in the table is not a pair and gives no file's name: set --out")
    return CHARTS / f"{pair}{suffix}.png"


def figure_of(together: Sequence[Series | Candles], panels: Sequence[Panel], *, show: bool = False) -> Figure:
    """Return a chart with a column of panels for each series, or of candles for each pair's."""
    from cryptometrics.plot.candles import draw as draw_candles
    from cryptometrics.plot.figure import draw
    from cryptometrics.store.candles import Candles

    if show:
        import matplotlib.pyplot as plt

        figure = plt.figure()
    else:
        from matplotlib.figure import Figure

        figure = Figure()
    candles = [each for each in together if isinstance(each, Candles)]
    if candles:
        draw_candles(figure, candles)
    else:
        draw(figure, [each for each in together if not isinstance(each, Candles)], panels)
    return figure


def save(path: Path, figure: Figure) -> None:
    """Write a chart in the format of its suffix; raise UserError where that is not possible."""
    from cryptometrics.plot.figure import render

    chart = render(figure, path.suffix.lower().removeprefix("."))
    if path.parent == CHARTS:
        try:
            CHARTS.mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make {CHARTS}: {error.strerror}") from None
    files.write(path, chart)


def _need_display() -> None:
    """Raise UserError where no window can be opened, before any work is done."""
    # To ask a display server that is not there makes its library write to stderr.
    possible = sys.platform != "linux" or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")
    )
    if possible:
        try:
            import matplotlib.pyplot as plt

            figure = plt.figure()
        except (ImportError, RuntimeError, ValueError):  # of a toolkit that is missing, or MPLBACKEND
            possible = False
        else:
            # Where no toolkit is installed, matplotlib falls back to one that only writes files.
            possible = figure.canvas.required_interactive_framework is not None
            plt.close(figure)
    if not possible:
        raise UserError("--show needs a display and a toolkit such as Tk: leave it out and open the file")
