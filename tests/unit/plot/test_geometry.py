"""Nothing in a chart covers anything else, every entry of a legend is drawn, and no line crosses a gap."""

from __future__ import annotations

import math
from datetime import timedelta
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cryptometrics.plot import candles as candle_chart
from cryptometrics.plot.figure import draw
from cryptometrics.plot.panels import panels_of
from cryptometrics.plot.points import day_number
from tests.charts import PAIRS, START, candles, series

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.text import Text
    from matplotlib.transforms import BboxBase

    from cryptometrics.store.tick_series import Series

DAY = timedelta(days=1)
THREE_DAYS = ((START, 120), (START + DAY, 120), (START + 2 * DAY, 120))
COUNTS = (1, 2, 3, 4, 5, 6)


def drawn(charts: list[Any], *, metrics: tuple[str, ...] = ()) -> Figure:
    figure = Figure()
    if hasattr(charts[0], "candles"):
        candle_chart.draw(figure, charts)
    else:
        draw(figure, charts, panels_of(metrics))
    return figure


def texts(axes: Axes) -> Iterator[Text]:
    """Yield the texts of a panel that are visible."""
    yield from (axes.title, axes._left_title, axes._right_title, *axes.texts)  # type: ignore[attr-defined]
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        yield axis.label
        yield from (tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high)
    legend = axes.get_legend()
    if legend is not None:
        yield from legend.get_texts()


def overlap(one: BboxBase, other: BboxBase) -> bool:
    """Return whether two boxes have more than a pixel in common."""
    return (
        min(one.x1, other.x1) - max(one.x0, other.x0) > 1
        and min(one.y1, other.y1) - max(one.y0, other.y0) > 1
    )


def contains(one: BboxBase, other: BboxBase) -> bool:
    """Return whether a box has another one inside."""
    return one.x0 <= other.x0 and other.x1 <= one.x1 + 1 and one.y0 <= other.y0 and other.y1 <= one.y1 + 1


def check_boxes(figure: Figure) -> None:
    """Check that no two texts and axes of a figure overlap, and that all of them are in it."""
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    panels = {f"panel {number}": axes.get_window_extent(renderer) for number, axes in enumerate(figure.axes)}
    words = [
        (f"{text.get_text()!r} of panel {number}", text.get_window_extent(renderer))
        for number, axes in enumerate(figure.axes)
        for text in texts(axes)
        if text.get_visible() and text.get_text().strip()
    ]
    boxes = [*panels.items(), *words]
    assert [
        f"{one} and {other}"
        for (one, a), (other, b) in combinations(boxes, 2)
        if overlap(a, b) and not (one.startswith("panel ") and contains(a, b))
    ] == []
    page = figure.bbox
    outside = [
        name for name, box in boxes
        if box.x0 < page.x0 - 1 or box.y0 < page.y0 - 1 or box.x1 > page.x1 + 1 or box.y1 > page.y1 + 1
    ]  # fmt: skip
    assert outside == []
    for box in panels.values():  # no panel is squeezed
        assert box.width > 0.65 * 8 * figure.dpi
        assert box.height > 0.8 * figure.dpi


def check_share(figure: Figure) -> None:
    """Check that the axes fill most of each pair's block; prices of thirteen digits leave them less."""
    for block in figure.subfigs:
        boxes = [axes.get_window_extent() for axes in block.axes]
        if boxes:
            is_long = "SHIB" in block.axes[0].get_title(loc="left")
            area = sum(box.width * box.height for box in boxes)
            assert area >= (0.59 if is_long else 0.65) * block.bbox.width * block.bbox.height
            assert min(box.width for box in boxes) >= 0.7 * block.bbox.width


@pytest.mark.parametrize("count", COUNTS)
def test_nothing_overlaps_in_charts_of_lines(count: int) -> None:
    figure = drawn([series(pair, THREE_DAYS) for pair in list(PAIRS)[:count]])
    check_boxes(figure)
    check_share(figure)


@pytest.mark.parametrize("count", COUNTS)
def test_nothing_overlaps_in_charts_of_candles(count: int) -> None:
    figure = drawn([candles(pair) for pair in list(PAIRS)[:count]])
    check_boxes(figure)
    check_share(figure)


@pytest.mark.parametrize("microseconds", [1, 50_000, 10_000_000, 3_600_000_000])
def test_times_do_not_overlap_however_short_the_range_is(microseconds: int) -> None:
    every = timedelta(microseconds=microseconds)
    check_boxes(
        drawn([series(pair, every=every, holes=()) for pair in ("BTC-USD", "SHIB-USD")], metrics=("bid",))
    )


def test_a_long_name_is_shortened_to_the_width_of_its_block() -> None:
    charts = [series(pair, THREE_DAYS) for pair in ("BTC-USD", "SHIB-USD")]
    for chart in charts:
        for row in chart.sessions:
            object.__setattr__(row, "session", "W" * 100)
        object.__setattr__(chart, "group", "W" * 100)
    check_boxes(drawn(charts))


@pytest.mark.parametrize(
    "metrics",
    [(), ("max_spread",), ("mid_price", "highest_bid", "lowest_ask"), ("bid", "lowest_ask"), ("spread_bps",)],
)
@pytest.mark.parametrize("since", [None, START + 2 * DAY + timedelta(minutes=15)])
def test_every_entry_of_a_legend_is_in_the_chart(metrics: tuple[str, ...], since: Any) -> None:
    chart = series("BTC-USD", THREE_DAYS)
    figure = drawn([chart if since is None else cut(chart, since)], metrics=metrics)
    for axes in figure.axes:
        legend = axes.get_legend()
        if legend is None:  # only extremes, which are named on their lines
            assert {line.get_linestyle() for line in axes.lines} <= {"--", "None"}
            continue
        for handle in legend.legend_handles:
            assert handle is not None
            if isinstance(handle, Line2D):
                assert any(shows(line, handle, axes) for line in axes.lines), handle.get_label()
            elif handle.get_label() == "no ticks":
                assert any(patch.get_hatch() for patch in axes.patches)
            else:
                assert axes.collections or axes.patches, handle.get_label()


def cut(chart: Series, since: Any) -> Series:
    """Return what a chart shows from a time on, of its newest session."""
    from dataclasses import replace

    from cryptometrics.store.tick_series import BucketValues

    first = next(number for number, at in enumerate(chart.first_at) if at >= since)
    return replace(
        chart,
        start=chart.first_at[first],
        sessions=chart.sessions[:1],
        session_starts=(),
        **{name: getattr(chart, name)[first:] for name in ("first_at", "last_at", "ticks", "locked")},
        metrics={
            name: BucketValues(*(each[first:] for each in values)) for name, values in chart.metrics.items()
        },
    )


def shows(line: Line2D, handle: Line2D, axes: Axes) -> bool:
    """Return whether a line has the colour, and the marker of a legend's handle, with a point in the axes."""
    if handle.get_marker() not in ("None", "", None) and line.get_marker() != handle.get_marker():
        return False
    left, right = axes.get_xlim()
    points = zip(np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), strict=True)
    return line.get_color() == handle.get_color() and any(left <= x <= right for x, _ in points)


def test_no_line_and_no_band_crosses_a_gap() -> None:
    # Few buckets, far apart: the mean pause between them is hours.
    chart = series("BTC-USD", ((START, 3), (START + DAY, 3), (START + 2 * DAY, 3)), holes=())
    hour = 1 / 24
    for axes in drawn([chart]).axes:
        for line in axes.lines:
            if line.get_linestyle() == "None":
                continue
            points = [*zip(np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), strict=True)]
            assert sum(math.isnan(y) for _, y in points) == 2, line.get_label()
            for (x, y), (next_x, next_y) in pairwise(points):
                assert math.isnan(y) or math.isnan(next_y) or next_x - x < hour
        bands = [each for each in axes.collections if isinstance(each, FillBetweenPolyCollection)]
        for band in bands:
            for path in band.get_paths():
                assert np.ptp(np.asarray(path.vertices)[:, 0]) < hour
        assert "no ticks" in [text.get_text() for text in axes.get_legend().get_texts()]  # type: ignore[union-attr]


def test_an_extreme_of_a_session_is_no_line_into_the_next() -> None:
    chart = series("BTC-USD", ((START, 30), (START + timedelta(minutes=5), 30)), holes=())
    assert chart.session_starts
    price = drawn([chart]).axes[0]
    lines = {str(line.get_label()): np.asarray(line.get_ydata()) for line in price.lines}
    assert np.isnan(lines["high bid"]).sum() == 1
    assert np.isnan(lines["mid"]).sum() == 0


def test_gaps_of_candles_are_shaded_and_named() -> None:
    figure = drawn([candles("BTC-USD")])
    size = timedelta(minutes=5)
    holes = [(START + 30 * size, START + 45 * size), (START + 70 * size, START + 72 * size)]
    assert candle_chart.silences(candles("BTC-USD")) == holes
    for axes in figure.axes:
        assert [text.get_text() for text in axes.get_legend().get_texts()][-1] == "no ticks"  # type: ignore[union-attr]
        shaded = [patch for patch in axes.patches if patch.get_hatch()]
        assert [patch.get_x() for patch in shaded] == [day_number(start) for start, _ in holes]  # type: ignore[attr-defined]


def test_empty_windows_of_a_quiet_pair_are_no_gaps() -> None:
    """A pair with a tick every quarter of an hour has no tick in most of its minutes."""
    quiet = candles("BTC-USD", 120, name="1m", holes=tuple(range(n * 15 + 1, n * 15 + 15) for n in range(8)))
    quiet = quiet._replace(candles=[_of_one_tick(candle) for candle in quiet.candles])
    assert candle_chart.silences(quiet) == []


def _of_one_tick(candle: Any) -> Any:
    from dataclasses import replace

    return replace(candle, ticks=1, close_at=candle.open_at)
