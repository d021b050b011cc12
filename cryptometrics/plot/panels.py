"""What a chart shows: its panels, and the lines of each. Pure, and light enough for a help text."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

# Okabe and Ito's palette: told apart with any kind of colour vision.
BLACK, BLUE, VERMILLION, GREEN, PURPLE = "#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7"


class Line(NamedTuple):
    """One metric in a panel."""

    metric: str
    label: str
    colour: str
    width: float = 1.0
    """In points. The mid lies over bid and ask and is thin, so that they are seen beside it."""
    marker: str = ""
    """Marks when a session's extreme was set; a line without one is the quote itself, or its spread."""

    @property
    def is_extreme(self) -> bool:
        """Whether this is a running extreme of the session."""
        return bool(self.marker)


class Panel(NamedTuple):
    """Lines that share an axis because they share a unit."""

    label: str
    """Of the vertical axis; `{quote}` stands for the quote currency."""
    lines: tuple[Line, ...]
    from_zero: bool
    height: float
    """Relative to the other panels."""


PANELS = (
    Panel(
        "price ({quote})",
        (
            Line("ask", "ask", VERMILLION),
            Line("mid_price", "mid", BLACK, width=0.6),
            Line("bid", "bid", BLUE),
            Line("highest_bid", "highest bid", BLUE, marker="^"),
            Line("lowest_ask", "lowest ask", VERMILLION, marker="v"),
        ),
        from_zero=False,
        height=2.2,
    ),
    Panel(
        "spread ({quote})",
        (
            Line("spread", "spread", GREEN),
            Line("max_spread", "max spread", GREEN, marker="D"),
        ),
        from_zero=True,
        height=1.0,
    ),
    Panel(
        "spread / mid (bps)",
        (Line("spread_bps", "spread", PURPLE),),
        from_zero=True,
        height=1.0,
    ),
)

METRICS = tuple(line.metric for panel in PANELS for line in panel.lines)
"""Every metric that can be drawn."""


def panels_of(metrics: Collection[str]) -> tuple[Panel, ...]:
    """Return the panels that these metrics take, with no other line; all of them for no metric."""
    if not metrics:
        return PANELS
    chosen = (
        panel._replace(lines=tuple(line for line in panel.lines if line.metric in metrics))
        for panel in PANELS
    )
    return tuple(panel for panel in chosen if panel.lines)
