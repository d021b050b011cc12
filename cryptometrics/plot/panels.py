"""The content of a chart: its panels and their lines. Pure, and quick to import for a help text.

A new metric also needs its expression in `store.tick_series`. The browser draws its own chart, in
`web/static/market_chart.js`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

# The palette of Okabe and Ito, for any kind of colour vision.
BLACK, BLUE, VERMILLION, GREEN, PURPLE = "#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7"


class MetricLine(NamedTuple):
    """One metric in a panel."""

    metric: str
    label: str
    colour: str
    width: float = 1.0
    """In points. The mid is drawn over bid and ask, and thin, so that they stay visible."""
    marker: str = ""
    """Marks the moment at which an extreme was set; empty for the quote and its spread."""
    in_bps: bool = False
    """Whether a spread in the quote currency is drawn in basis points of the mid price."""

    @property
    def is_extreme(self) -> bool:
        """Whether the line is a running extreme of the session."""
        return bool(self.marker)


class Panel(NamedTuple):
    """Lines that share an axis because they share a unit."""

    label: str
    """Label of the vertical axis; `{quote}` is replaced by the quote currency."""
    lines: tuple[MetricLine, ...]
    from_zero: bool
    height: float
    """Relative to the other panels."""
    top: float | None = None
    """A fixed upper limit of the axis."""
    is_volume: bool = False
    """Whether it has the bars of `Series.volume`."""
    is_risk: bool = False
    """Whether it has a line of `Series.risk`, in per cent."""
    is_rate: bool = False
    """Whether it has the bars of `points.tick_rates`."""


_ALL = (
    Panel(
        "price ({quote})",
        (
            MetricLine("ask", "ask", VERMILLION),
            MetricLine("mid_price", "mid", BLACK, width=0.6),
            MetricLine("bid", "bid", BLUE),
            MetricLine("highest_bid", "high bid", BLUE, marker="^"),
            MetricLine("lowest_ask", "low ask", VERMILLION, marker="v"),
            MetricLine("weighted_mid", "weighted mid", PURPLE, width=0.6),
        ),
        from_zero=False,
        height=2.2,
    ),
    Panel(
        "spread ({quote})",
        (
            MetricLine("spread", "spread", GREEN),
            MetricLine("max_spread", "max spread", GREEN, marker="D"),
        ),
        from_zero=True,
        height=1.0,
    ),
    Panel(
        "spread (bps)",
        (
            MetricLine("spread_bps", "spread", PURPLE),
            MetricLine("max_spread", "max spread", PURPLE, marker="D", in_bps=True),
        ),
        from_zero=True,
        height=1.0,
    ),
    Panel(
        "ticks per second",
        (MetricLine("ticks_per_second", "ticks/s", BLUE),),
        from_zero=True,
        height=0.7,
        is_rate=True,
    ),
    Panel(
        "imbalance (0 to 1)",
        (MetricLine("imbalance", "imbalance", BLUE),),
        from_zero=True,
        height=1.0,
        top=1.0,
    ),
    Panel(
        "volume ({base})",
        (MetricLine("volume", "volume", GREEN),),
        from_zero=True,
        height=1.0,
        is_volume=True,
    ),
    Panel(
        "volatility (% a year)",
        (MetricLine("volatility", "volatility", VERMILLION),),
        from_zero=True,
        height=1.0,
        is_risk=True,
    ),
    Panel(
        "drawdown (%)",
        (MetricLine("drawdown", "drawdown", BLUE),),
        from_zero=True,
        height=1.0,
        is_risk=True,
    ),
    Panel(
        "value at risk (%)",
        (MetricLine("value_at_risk", "value at risk", PURPLE),),
        from_zero=True,
        height=1.0,
        is_risk=True,
    ),
)

METRICS = tuple(
    dict.fromkeys(
        line.metric for panel in _ALL for line in panel.lines if not (panel.is_risk or panel.is_rate)
    )
)
"""What can be drawn of the values of ticks and minutes."""
RATE_METRICS = tuple(line.metric for panel in _ALL for line in panel.lines if panel.is_rate)
"""What can be drawn of their number."""
RISK_METRICS = tuple(line.metric for panel in _ALL for line in panel.lines if panel.is_risk)
"""What can be drawn of the figures that `risk --follow` stores."""
_ON_REQUEST = {"spread", "weighted_mid", "imbalance", "volume"}
"""Spreads are shown in basis points, and not every feed has sizes and trades."""
_FOR_BPS = {"spread_bps", "mid_price"}
"""What the largest spread needs to be drawn in basis points."""


def panels_of(metrics: Collection[str]) -> tuple[Panel, ...]:
    """Return the panels with the lines of these metrics only; no metrics: all but those on request.

    Risk figures alone stand below the mid price.
    """
    wanted = set(metrics) or {*METRICS, *RATE_METRICS} - _ON_REQUEST
    if wanted <= set(RISK_METRICS):
        wanted |= {"mid_price"}
    in_bps = wanted >= _FOR_BPS and "spread" not in wanted
    chosen = (
        panel._replace(
            lines=tuple(
                line
                for line in panel.lines
                if line.metric in wanted and (line.metric != "max_spread" or line.in_bps == in_bps)
            )
        )
        for panel in _ALL
    )
    return tuple(panel for panel in chosen if panel.lines)


def stored_metrics(panels: Collection[Panel]) -> list[str]:
    """Return the metrics of panels that are loaded for each tick or minute, each once."""
    lines = [line for panel in panels if not (panel.is_risk or panel.is_rate) for line in panel.lines]
    return list(dict.fromkeys(line.metric for line in lines)) or ["mid_price"]


PANELS = panels_of(())
"""The panels of a chart without a choice."""
