"""Draws docs/architecture_diagram.png; `make docs` runs it.

The picture carries the hash of this file, by which a test sees that it was drawn from it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import matplotlib.style
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

SOURCE = Path(__file__)
PICTURE = SOURCE.with_suffix(".png")
HASH_KEY = "Source-SHA256"
WIDTH, HEIGHT = 152, 100
"""Of the canvas, in units of which UNITS make an inch."""
UNITS = 11

INK, SOFT, FAINT = "#1F2933", "#52606D", "#9AA5B1"
# Okabe and Ito's palette, told apart with any kind of colour vision; each with a tint to write on.
BLUE, ORANGE, GREEN, PURPLE = ("#0072B2", "#E6F1F8"), ("#D55E00", "#FCEFE6"), ("#009E73", "#E5F5F1"), (
    "#A8568A",
    "#F8EEF4",
)  # fmt: skip
PLAIN = ("#7B8794", "#FFFFFF")
MONO = "DejaVu Sans Mono"
Colours = tuple[str, str]


class Box(NamedTuple):
    """A rectangle: its lower left corner and its size."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.x + self.width

    @property
    def top(self) -> float:
        """Its upper edge."""
        return self.y + self.height

    @property
    def middle(self) -> float:
        """The height of its centre."""
        return self.y + self.height / 2

    @property
    def centre(self) -> float:
        """How far right its centre is."""
        return self.x + self.width / 2


FEEDS = Box(2, 46, 21.5, 45)
KAFKA = Box(33.5, 46, 24.5, 45)
WORKER = Box(69, 46, 32.5, 45)
POSTGRES = Box(112.5, 4, 37.5, 87)
AGGREGATE = Box(69, 26.5, 32.5, 13)
PEOPLE = Box(69, 4, 32.5, 16)
PROMISE = Box(2, 4, 56, 16)


def draw() -> Figure:
    """Return the figure."""
    with matplotlib.style.context(["default", {"font.family": "DejaVu Sans", "text.parse_math": False}]):
        figure = Figure(figsize=(WIDTH / UNITS, HEIGHT / UNITS))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))
        axes.set_axis_off()
        _headings(axes)
        _feeds(axes)
        _kafka(axes)
        _worker(axes)
        _postgres(axes)
        _aggregate(axes)
        _people(axes)
        _promise(axes)
        _arrows(axes)
    return figure


def source_hash() -> str:
    """Return the hash of this file."""
    return hashlib.sha256(SOURCE.read_bytes()).hexdigest()


def main() -> None:
    """Write the picture beside its source."""
    metadata = {"Software": "matplotlib", HASH_KEY: source_hash()}
    draw().savefig(PICTURE, dpi=130, facecolor="white", metadata=metadata)


# What stands in the picture


def _headings(axes: Axes) -> None:
    for box, heading in (
        (FEEDS, "feeds"),
        (KAFKA, "Kafka"),
        (WORKER, "cryptometrics process"),
        (POSTGRES, "PostgreSQL"),
    ):
        axes.text(
            box.centre, 95.5, heading, ha="center", va="center", fontsize=14, fontweight="bold", color=INK
        )


def _feeds(axes: Axes) -> None:
    feeds = (
        ("simulate", ["Coinbase's messages,", "the same for the same seed"]),
        ("ingest", ["Coinbase, live; each", "missed trade is named"]),
        ("replay", ["recorded frames, by", "the same code"]),
    )
    for number, (name, lines) in enumerate(feeds):
        box = Box(FEEDS.x, FEEDS.top - 13 - number * 16, FEEDS.width, 13)
        _box(axes, box, BLUE)
        _title(axes, box, name)
        _text(axes, box, box.top - 6.4, lines)
        _arrow(axes, (box.right, box.middle), (KAFKA.x, box.middle), INK)


def _kafka(axes: Axes) -> None:
    _box(axes, KAFKA, ORANGE)
    _title(axes, KAFKA, "crypto_prices")
    _text(axes, KAFKA, KAFKA.top - 6.4, ["key = pair, value = JSON"])
    for number, cells in enumerate((9, 7, 10, 6, 8, 5)):
        y = KAFKA.top - 13 - number * 4.4
        axes.text(KAFKA.x + 2.6, y, str(number), ha="center", va="center", fontsize=8.5, color=SOFT)
        for cell in range(cells):
            piece = Box(KAFKA.x + 4.4 + cell * 1.85, y - 1.05, 1.6, 2.1)
            _box(axes, piece, (ORANGE[0], "#F6C7A4"), line=0.7, rounding=0.15)
    _text(axes, KAFKA, KAFKA.y + 2.8, ["a pair lives in one partition"])


def _worker(axes: Axes) -> None:
    _box(axes, WORKER, GREEN)
    _text(axes, WORKER, WORKER.top - 3, ["a worker, one member of its group"])
    steps = (
        ("consume", "from the offset in the database", 77.5, PLAIN),
        ("decode", "Decimal prices, or a reason to reject", 68.5, PLAIN),
        ("measure", "metrics, extremes, minutes, alert rules", 59.5, PLAIN),
        ("write", "in a thread, two batches in flight", 48.5, PLAIN),
    )
    for name, what, y, colours in steps:
        step = Box(WORKER.x + 2, y - 0.6, WORKER.width - 4, 7)
        _box(axes, step, colours, line=1)
        axes.text(
            step.centre, y + 4.4, name, ha="center", va="center", fontsize=11, fontweight="bold", color=INK
        )
        axes.text(step.centre, y + 1.5, what, ha="center", va="center", fontsize=9, color=SOFT)
    for upper, lower in ((76.9, 74.9), (67.9, 65.9), (58.9, 54.9)):
        _arrow(axes, (WORKER.centre, upper), (WORKER.centre, lower), GREEN[0], width=1.4, head=10)


def _postgres(axes: Axes) -> None:
    _box(axes, POSTGRES, PURPLE)
    frame = Box(POSTGRES.x + 2, POSTGRES.y + 13, POSTGRES.width - 4, 71.5)
    axes.add_patch(
        FancyBboxPatch(
            (frame.x, frame.y),
            frame.width,
            frame.height,
            boxstyle="round,pad=0,rounding_size=1",
            facecolor="none",
            edgecolor=PURPLE[0],
            linewidth=1.3,
            linestyle=(0, (5, 3)),
        )
    )
    axes.text(
        frame.centre,
        frame.top - 2.7,
        "one transaction per batch",
        ha="center",
        va="center",
        fontsize=11,
        fontweight="bold",
        color=PURPLE[0],
    )
    tables = (
        ("consumer_offsets", "next offset, epoch, count of each fate"),
        ("crypto_metrics", "a row per tick; partitioned by day"),
        ("session_extremes", "highest bid, lowest ask, max spread"),
        ("pair_state", "newest quote, stored trade ids"),
        ("crypto_windows", "minutes: open, high, low, close, spreads"),
        ("alerts", "what fires, and what the webhook is told"),
        ("feed_gaps", "what the live feed missed, and when"),
        ("rejected_ticks", "whole message and reason"),
        ("skipped_offsets", "duplicates of the feed, holes"),
    )
    for number, (name, what) in enumerate(tables):
        table = Box(frame.x + 1.6, frame.top - 11.8 - number * 7.25, frame.width - 3.2, 6.3)
        _box(axes, table, PLAIN, line=0.9)
        axes.text(
            table.x + 1.6, table.middle + 1.2, name, va="center", fontsize=10, family=MONO,
            color=INK,
        )  # fmt: skip
        axes.text(table.x + 1.6, table.middle - 1.5, what, va="center", fontsize=8.8, color=SOFT)
    _text(
        axes,
        POSTGRES,
        POSTGRES.y + 9.2,
        [
            "consumer_offsets comes first: no row is hit",
            "when another worker has claimed the",
            "partition, and all is rolled back",
        ],
    )


def _aggregate(axes: Axes) -> None:
    _box(axes, AGGREGATE, GREEN)
    _title(axes, AGGREGATE, "cryptometrics aggregate")
    _text(
        axes,
        AGGREGATE,
        AGGREGATE.top - 6.4,
        ["any other window, by Apache Beam;", "on Flink where one machine is too small"],
    )


def _people(axes: Axes) -> None:
    _box(axes, PEOPLE, PLAIN)
    _title(axes, PEOPLE, "people")
    _text(
        axes,
        PEOPLE,
        PEOPLE.top - 6.8,
        [
            "watch, plot, session, export, alerts",
            "Grafana, Prometheus, any SQL client",
            "a webhook for each alert",
        ],
    )


def _promise(axes: Axes) -> None:
    _box(axes, PROMISE, ("#E4E7EB", "#F5F7FA"))
    _title(axes, PROMISE, "at any moment, per group and partition")
    sums = ["metrics + rejected + gaps + duplicates + holes", "= next_offset − first_offset"]
    for number, line in enumerate(sums):
        y = PROMISE.top - 7.6 - number * 3.2
        axes.text(PROMISE.centre, y, line, ha="center", va="center", fontsize=9.6, family=MONO, color=SOFT)


def _arrows(axes: Axes) -> None:
    _label(axes, (FEEDS.right + KAFKA.x) / 2, 88, ["produce"])
    _arrow(axes, (KAFKA.right, 81), (WORKER.x, 81), INK)
    _label(axes, (KAFKA.right + WORKER.x) / 2, 83.3, ["fetch"])
    _arrow(axes, (POSTGRES.x, 81), (WORKER.right, 81), PURPLE[0])
    _label(axes, (WORKER.right + POSTGRES.x) / 2, 87.9, ["claim:", "where to", "go on?"], colour=PURPLE[0])
    _arrow(axes, (WORKER.right, 52), (POSTGRES.x, 52), INK)
    _label(axes, (WORKER.right + POSTGRES.x) / 2, 56.6, ["one batch,", "COMMIT"])
    _arrow(axes, (WORKER.x, 59), (KAFKA.right, 59), FAINT, dashed=True)
    _label(axes, (KAFKA.right + WORKER.x) / 2, 65.9, ["offsets,", "for lag", "tools only"])
    axes.plot([KAFKA.centre] * 2, [KAFKA.y, AGGREGATE.middle], color=INK, linewidth=2)
    _arrow(axes, (KAFKA.centre - 0.2, AGGREGATE.middle), (AGGREGATE.x, AGGREGATE.middle), INK)
    _label(axes, (KAFKA.right + AGGREGATE.x) / 2, AGGREGATE.middle + 2.3, ["fetch"])
    _arrow(axes, (AGGREGATE.right, AGGREGATE.middle), (POSTGRES.x, AGGREGATE.middle), INK)
    _label(axes, (WORKER.right + POSTGRES.x) / 2, AGGREGATE.middle + 4.6, ["whole", "windows"])
    _arrow(axes, (POSTGRES.x, PEOPLE.middle), (PEOPLE.right, PEOPLE.middle), INK)
    _label(axes, (PEOPLE.right + POSTGRES.x) / 2, PEOPLE.middle + 2.3, ["read"])


# How it is drawn


def _box(axes: Axes, box: Box, colours: Colours, *, line: float = 1.6, rounding: float = 1.0) -> None:
    edge, face = colours
    axes.add_patch(
        FancyBboxPatch(
            (box.x, box.y),
            box.width,
            box.height,
            boxstyle=f"round,pad=0,rounding_size={rounding}",
            facecolor=face,
            edgecolor=edge,
            linewidth=line,
        )
    )


def _title(axes: Axes, box: Box, text: str, *, lines: int = 1) -> None:
    axes.text(
        box.centre,
        box.top - 1.3 - 1.4 * lines,
        text,
        ha="center",
        va="center",
        fontsize=11,
        fontweight="bold",
        color=INK,
        linespacing=1.25,
    )


def _text(axes: Axes, box: Box, top: float, lines: Sequence[str], *, size: float = 9) -> None:
    for number, line in enumerate(lines):
        y = top - number * 2.6
        axes.text(box.centre, y, line, ha="center", va="center", fontsize=size, color=SOFT)


def _label(axes: Axes, x: float, top: float, lines: Sequence[str], *, colour: str = SOFT) -> None:
    for number, line in enumerate(lines):
        axes.text(x, top - number * 2.3, line, ha="center", va="center", fontsize=9, color=colour)


def _arrow(
    axes: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    colour: str,
    *,
    width: float = 2.0,
    head: float = 16,
    dashed: bool = False,
) -> None:
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=head,
            linewidth=width,
            color=colour,
            linestyle=(0, (3, 2)) if dashed else "-",
            shrinkA=2,
            shrinkB=2,
        )
    )


if __name__ == "__main__":
    main()
