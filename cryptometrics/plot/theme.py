"""The looks of a chart: light for paper, dark for screens. The same look on every machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryptometrics.plot.panels import BLACK, BLUE, GREEN, PURPLE, VERMILLION

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Theme:
    """The colours of a chart."""

    background: str
    foreground: str
    muted: str
    """Of what is not data: axes and facts."""
    grid: str
    silence: str
    """Fill of the time without ticks."""
    silence_edge: str
    lines: Mapping[str, str] = field(default_factory=dict)
    """The palette's colours → those of this theme; the others stay."""

    def line(self, colour: str) -> str:
        """Return what a colour of the palette is in this theme."""
        return self.lines.get(colour, colour)

    @property
    def style(self) -> list[Any]:
        """The style for matplotlib. Based on its defaults, not on the user's."""
        return ["default", _STYLE | self._colours()]

    def _colours(self) -> dict[str, str]:
        text = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), self.foreground)
        ground = dict.fromkeys(("axes.facecolor", "figure.facecolor"), self.background)
        return text | ground | {"axes.edgecolor": self.muted, "grid.color": self.grid}


_STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.hashsalt": "cryptometrics",
    "pdf.fonttype": 42,
    # Names of sessions and groups are free text; `$` must not start a formula.
    "text.parse_math": False,
}

LIGHT = Theme("#FFFFFF", "#000000", "#555555", "#DDDDDD", "#F4F4F4", "#D5D5D5")
DARK = Theme(
    "#14171C",
    "#E8EAED",
    "#9AA0A6",
    "#2E333B",
    "#1D2229",
    "#3C434D",
    {BLACK: "#FFFFFF", BLUE: "#56B4E9", VERMILLION: "#F28444", GREEN: "#2FBF8F", PURPLE: "#DD92BC"},
)
THEMES = {"light": LIGHT, "dark": DARK}
