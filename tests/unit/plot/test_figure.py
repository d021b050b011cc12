"""What a chart shows, looked up in the figure itself."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import FillBetweenPolyCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from cryptometrics.plot.axes import PlainFormatter, TimeFormatter
from cryptometrics.plot.candles import BODY, content, widths
from cryptometrics.plot.candles import draw as draw_candles
from cryptometrics.plot.figure import FORMATS, draw, render
from cryptometrics.plot.layout import DOUBT
from cryptometrics.plot.panels import METRICS, PANELS, panels_of
from cryptometrics.plot.points import DAY, MAX_BARS, band, day_number, gaps, quote_band, steps, tick_rates
from cryptometrics.plot.theme import DARK
from cryptometrics.store.minute_series import VolumeBars
from cryptometrics.store.stored_sessions import SessionRow
from cryptometrics.store.tick_series import EXPRESSIONS, VOLUME, BucketValues, Series, bucket_width
from tests.charts import candles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

START = datetime(2024, 1, 5, 10, 0, tzinfo=UTC)


def series(
    quotes: list[tuple[float, str, str]],
    *,
    pair: str = "BTC-USD",
    session: str = "2024-01-05",
    ticks_each: int = 1,
    before: tuple[str, str, str] | None = None,
    venue: str = "coinbase",
) -> Series:
    """Return a series of (seconds, bid, ask); `before` are the extremes of the session before it began."""
    times = [START + timedelta(seconds=seconds) for seconds, _, _ in quotes]
    bids = [Decimal(bid) for _, bid, _ in quotes]
    asks = [Decimal(ask) for _, _, ask in quotes]
    spreads = [ask - bid for bid, ask in zip(bids, asks, strict=True)]
    high, low, wide = (Decimal(each) for each in before) if before else (bids[0], asks[0], spreads[0])
    running: dict[str, list[Decimal]] = {"highest_bid": [], "lowest_ask": [], "max_spread": []}
    for bid, ask, spread in zip(bids, asks, spreads, strict=True):
        high, low, wide = max(high, bid), min(low, ask), max(wide, spread)
        for name, value in zip(running, (high, low, wide), strict=True):
            running[name].append(value)
    metrics = running | {
        "bid": bids,
        "ask": asks,
        "mid_price": [(bid + ask) / 2 for bid, ask in zip(bids, asks, strict=True)],
        "spread": spreads,
        "spread_bps": [20_000 * (a - b) / (a + b) for b, a in zip(bids, asks, strict=True)],
    }

    def set_at(values: list[Decimal], extreme: Decimal) -> datetime:
        return times[values.index(extreme)] if extreme in values else START - timedelta(hours=1)

    row = SessionRow(
        venue=venue, pair=pair, session=session, consumer_group="g1", ticks=len(quotes), late=0,
        bid=bids[-1], ask=asks[-1], highest_bid=high, highest_bid_at=set_at(bids, high),
        lowest_ask=low, lowest_ask_at=set_at(asks, low), max_spread=wide, max_spread_at=set_at(spreads, wide),
        first_at=times[0], last_at=times[-1],
    )  # fmt: skip
    return Series(
        market=row.market, group="g1", sessions=[row], start=times[0],
        end=times[-1], width=timedelta(seconds=1), first_at=times, last_at=times,
        ticks=[ticks_each] * len(times), locked=[int(s == 0) for s in spreads],
        metrics={name: BucketValues(values, values, values) for name, values in metrics.items()},
    )  # fmt: skip


MINUTE = series([(n, f"{100 + n % 7}.10", f"{100 + n % 7 + n % 3}.10") for n in range(61)])


def drawn(*pairs: Series, metrics: tuple[str, ...] = ()) -> Figure:
    figure = Figure()
    draw(figure, pairs, panels_of(metrics))
    return figure


def legend(figure: Figure, panel: int = 0) -> list[str]:
    found = figure.axes[panel].get_legend()
    assert found is not None
    return [text.get_text() for text in found.get_texts()]


def test_every_metric_can_be_read_and_drawn() -> None:
    assert set(METRICS) == {*EXPRESSIONS, VOLUME}


def test_sizes_that_are_not_known_break_the_line() -> None:
    shares = [Decimal("0.25"), Decimal("NaN"), Decimal("0.75"), Decimal("0.5")]
    values = BucketValues(shares, shares, shares)
    known = replace(series([(n, "1", "2") for n in range(4)]), metrics={"imbalance": values})
    figure = drawn(known, metrics=("imbalance",))
    (line, *_) = figure.axes[0].get_lines()
    assert [str(y) for y in np.asarray(line.get_ydata()).tolist()] == ["0.25", "nan", "0.75", "0.5"]
    assert figure.axes[0].get_ylim()[1] == pytest.approx(1, abs=0.1)
    assert legend(figure) == ["imbalance 0.5"]
    unknown = replace(known, metrics={"imbalance": BucketValues(*[[Decimal("NaN")] * 4] * 3)})
    assert legend(drawn(unknown, metrics=("imbalance",))) == ["imbalance: not known"]


def bars_of(axes: Axes) -> list[Bbox]:
    """Return the extent of each bar of a panel."""
    [bars] = [each for each in axes.collections if type(each) is PolyCollection]
    return [path.get_extents() for path in bars.get_paths()]


def test_volume_is_drawn_in_bars_and_is_not_zero_where_it_is_not_known() -> None:
    starts = [START + timedelta(minutes=n) for n in range(3)]
    bars = VolumeBars(timedelta(minutes=1), starts, [Decimal("1.5"), Decimal("NaN"), Decimal(2)])
    figure = drawn(replace(MINUTE, volume=bars), metrics=("volume",))
    (axes,) = figure.axes
    assert axes.get_ylabel() == "volume (BTC)"
    heights = {box.x0: box.y1 for box in bars_of(axes)}
    assert heights == {day_number(starts[0]): 1.5, day_number(starts[2]): 2}
    assert legend(figure) == ["volume 3.5 in bars of 1 min, not known in 1 of 3"]


def test_panels_have_units_and_one_time_axis_in_utc() -> None:
    figure = drawn(MINUTE)
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "price (USD)",
        "spread (bps)",
        "ticks per second",
    ]
    assert figure.axes[-1].get_xlabel() == "time (UTC), 2024-01-05"
    assert {axes.get_xlim() for axes in figure.axes} == {figure.axes[0].get_xlim()}


def test_title_has_pair_session_range_and_ticks() -> None:
    top = drawn(MINUTE).axes[0]
    assert top.get_title(loc="left") == "BTC-USD · coinbase · session 2024-01-05"
    assert "2024-01-05 10:00:00 to 10:01:00 UTC · 61 ticks · group g1" in written(top)


def written(axes: Axes) -> list[str]:
    """Return the texts in and beside a panel."""
    return [text.get_text() for text in axes.texts]


def test_legend_and_right_axis_have_the_last_values_and_extremes_are_on_their_lines() -> None:
    figure = drawn(MINUTE)
    price, spread, rate = figure.axes
    assert legend(figure, 0) == ["bid 104.10 to ask 104.10", "mid 104.10"]
    assert {"session high bid 106.10", "session low ask 100.10", "104.10"} <= set(written(price))
    assert legend(figure, 1) == ["spread 0 bps", "locked (bid = ask): 21"]
    assert {"session max spread 2.00", "0"} <= set(written(spread))
    assert legend(figure, 2) == ["ticks/s, largest 1, in bars of 1 s"]
    assert len(bars_of(rate)) == 61


def test_an_extreme_is_written_at_the_height_of_its_line() -> None:
    price, spread, _ = drawn(MINUTE).axes
    heights = {text.get_text(): text.xy[1] for text in (*price.texts, *spread.texts)}  # type: ignore[attr-defined]
    assert heights["session high bid 106.10"] == 106.1
    assert heights["session low ask 100.10"] == 100.1
    # It was set at a mid price of 103.10; the line stays there, whatever the mid does then.
    assert heights["session max spread 2.00"] == pytest.approx(10_000 * 2 / 103.1)
    [line] = [line for line in spread.lines if line.get_label() == "max spread"]
    assert np.asarray(line.get_ydata())[-1] == pytest.approx(10_000 * 2 / 103.1)


def test_quotes_are_a_band_with_a_thin_mid() -> None:
    price = drawn(MINUTE).axes[0]
    lines = {line.get_label(): line for line in price.lines}
    assert "bid" not in lines
    assert lines["mid"].get_linewidth() < 1
    assert lines["mid"].get_drawstyle() == "steps-post"
    [band_of_quotes] = [each for each in price.collections if isinstance(each, FillBetweenPolyCollection)]
    heights = np.asarray(band_of_quotes.get_paths()[0].vertices)[:, 1]
    assert (heights.min(), heights.max()) == (100.1, 108.1)
    times, low, high = quote_band(MINUTE)
    assert times[:2] == [day_number(START)] * 2
    assert (low[:4], high[:4]) == ([100.1, 100.1, 101.1, 101.1], [100.1, 100.1, 102.1, 102.1])


def test_bid_and_ask_alone_are_step_lines_in_okabe_and_itos_colours() -> None:
    price = drawn(MINUTE, metrics=("bid", "ask")).axes[0]
    lines = {line.get_label(): line for line in price.lines}
    assert {lines[name].get_drawstyle() for name in ("bid", "ask")} == {"steps-post"}
    assert to_hex(lines["bid"].get_color()) == "#0072b2"
    assert to_hex(lines["ask"].get_color()) == "#d55e00"
    assert [*np.asarray(lines["bid"].get_ydata())] == [float(bid) for bid in MINUTE.metrics["bid"].last]


def test_a_dark_chart_is_dark_and_has_lighter_lines() -> None:
    figure = Figure()
    draw(figure, [MINUTE], PANELS, DARK)
    assert to_hex(figure.get_facecolor()) == "#14171c"
    for axes in figure.axes:
        assert to_hex(axes.get_facecolor()) == "#14171c"
        assert to_hex(axes.yaxis.label.get_color()) == "#e8eaed"
        assert all(to_hex(line.get_color()) not in ("#000000", "#0072b2") for line in axes.lines)


@pytest.mark.parametrize("size", [(1600, 900), (640, 480), (3000, 400)])
def test_a_size_is_that_of_the_file(size: tuple[int, int]) -> None:
    figure = Figure()
    draw(figure, [MINUTE], panels_of(("mid_price",)), size=size)
    png = render(figure, "png")
    assert tuple(int.from_bytes(png[at : at + 4]) for at in (16, 20)) == size


def test_rates_are_of_whole_buckets_and_of_at_most_so_many_bars() -> None:
    long = series([(float(n), "10", "11") for n in range(1000)], ticks_each=3)
    rates = tick_rates(long)
    assert rates.width == timedelta(seconds=10)
    assert len(rates.rates) == 100 <= MAX_BARS
    assert set(rates.rates) == {3.0}
    assert tick_rates(series([(0, "10", "11")])).rates == [1.0]


def test_the_spread_in_the_quote_currency_is_drawn_on_request_with_its_extreme() -> None:
    figure = drawn(MINUTE, metrics=("spread", "max_spread", "mid_price"))
    assert [axes.get_ylabel() for axes in figure.axes] == ["price (USD)", "spread (USD)"]
    assert "session max spread 2.00" in written(figure.axes[1])


def test_a_single_candle_does_not_fill_the_panel() -> None:
    figure = Figure()
    draw_candles(figure, [candles("BTC-USD", 1, holes=())])
    price, volume, _ = figure.axes
    left, right = price.get_xlim()
    for axes in (price, volume):
        [bar] = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
        assert bar.get_width() < 0.1 * (right - left)
        assert left < bar.get_x() < right


def test_bodies_of_windows_that_overlap_stand_apart() -> None:
    shown = candles("BTC-USD", 12, holes=(range(4, 9),))  # before a hole, too
    sliding = [replace(each, end=each.start + 3 * shown.size) for each in shown.candles]
    found = shown._replace(candles=sliding, kind="windows")
    assert set(widths(found).values()) == {BODY * (shown.size / DAY)}
    assert content(found) == f"{len(sliding)} windows"


def test_windows_of_different_lengths_are_as_wide_as_they_are_long() -> None:
    shown = candles("BTC-USD", 6, holes=())
    first, _, third, *_, last = shown.candles
    sessions = [first, replace(third, end=third.start + 1.5 * shown.size), last]
    found = shown._replace(name="gap-30s", candles=sessions, kind="windows")
    assert list(widths(found).values()) == [BODY * (each.length / DAY) for each in sessions]
    assert content(found) == "900 ticks"
    figure = Figure()
    draw_candles(figure, [found])
    assert any("gap-30s windows" in text.get_text() for text in figure.findobj(Text))


def test_volume_is_below_the_candles_and_not_zero_where_it_is_not_known() -> None:
    shown = candles("BTC-USD", 5, holes=())
    unknown = [replace(shown.candles[0], volume=None), *shown.candles[1:]]
    figure = Figure()
    draw_candles(figure, [shown._replace(candles=unknown)])
    assert figure.axes[1].get_ylabel() == "volume (BTC)"
    bars = [patch for patch in figure.axes[1].patches if isinstance(patch, Rectangle)]
    assert sorted(bar.get_height() for bar in bars) == sorted(float(c.volume or 0) for c in unknown[1:])
    assert legend(figure, 1) == ["volume of the trades, not known in 1 of 5"]


def test_only_the_metrics_asked_for_are_drawn() -> None:
    figure = drawn(MINUTE, metrics=("spread_bps", "bid"))
    assert [axes.get_ylabel() for axes in figure.axes] == ["price (USD)", "spread (bps)"]
    assert [line.get_label() for line in figure.axes[0].lines] == ["bid"]
    assert panels_of(()) == PANELS


def test_several_pairs_share_a_figure_and_keep_their_units() -> None:
    figure = drawn(MINUTE, series([(0, "1.1", "1.2")], pair="ADA-EUR"))
    assert [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")] == [
        "BTC-USD · coinbase · session 2024-01-05", "ADA-EUR · coinbase · session 2024-01-05",
    ]  # fmt: skip
    assert figure.axes[3].get_ylabel() == "price (EUR)"
    assert all(isinstance(block, SubFigure) for block in figure.subfigs)


def test_an_extreme_set_long_before_does_not_press_the_quotes_flat() -> None:
    figure = drawn(series([(n, "100", "101") for n in range(5)], before=("150", "60", "20")))
    low, high = figure.axes[0].get_ylim()
    assert 99 < low < 100
    assert 101 < high < 102
    texts = written(figure.axes[0])
    assert "session high bid 150, above this chart" in texts
    assert "session low ask 60, below this chart" in texts


def test_one_tick_is_a_dot_on_an_axis_with_room() -> None:
    figure = drawn(series([(0, "100.10", "100.12")]))
    left, right = figure.axes[0].get_xlim()
    assert right - left == pytest.approx(1 / 86_400)
    assert figure.axes[0].lines[0].get_marker() == "."
    assert "2024-01-05 10:00:00 UTC · 1 tick · group g1" in written(figure.axes[0])


def test_locked_quotes_alone_stand_on_zero() -> None:
    low, high = drawn(series([(n, "1.5", "1.5") for n in range(9)])).axes[1].get_ylim()
    assert -0.1 < low < 0 < high


def test_a_long_silence_breaks_the_line_and_is_said() -> None:
    late = series([(float(n), "10", "11") for n in range(60)] + [(1860.0 + n, "10", "11") for n in range(60)])
    assert gaps(late) == [(START + timedelta(seconds=59), START + timedelta(seconds=1860))]
    times, values = steps(late, late.metrics["bid"])
    broken = [time for time, value in zip(times, values, strict=True) if math.isnan(value)]
    assert broken == [day_number(START + timedelta(seconds=60))]
    assert legend(drawn(late))[-1] == "no ticks"


def test_pauses_of_a_quiet_pair_are_no_gaps() -> None:
    assert gaps(series([(300.0 * n, "10", "11") for n in range(12)])) == []


def test_the_band_spans_a_bucket_and_nothing_after_it() -> None:
    one = series([(0, "10", "11"), (5, "10", "11")])
    times, low, high = band(
        one, BucketValues([Decimal(8), Decimal(9)], [Decimal(12), Decimal(13)], [Decimal(10)] * 2)
    )
    assert times == [
        day_number(at) for at in (one.first_at[0], one.last_at[0], one.first_at[1], one.last_at[1])
    ]
    assert (low, high) == ([8, 10, 9, 10], [12, 10, 13, 10])


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_same_data_make_the_same_file(suffix: str) -> None:
    files = {render(drawn(MINUTE), suffix) for _ in range(2)}
    assert len(files) == 1
    assert files.pop().startswith({"png": b"\x89PNG\r\n", "svg": b"<?xml", "pdf": b"%PDF-"}[suffix])


def test_names_are_no_formulas_and_never_squeeze_the_chart() -> None:
    figure = drawn(series([(0, "1", "2")], session="$x^2$" + "y" * 200))
    assert len(figure.axes[0].get_title(loc="left")) < 80
    render(figure, "png")


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [
        ([67_200, 67_300], ["67,200", "67,300"]),
        ([0.0000128, 0.000013], ["0.0000128", "0.0000130"]),
        ([0.0, 0.00000002], ["0.00000000", "0.00000002"]),
        ([67_254.2, 67_254.4], ["67,254.2", "67,254.4"]),
        ([-0.0, 1.0], ["0", "1"]),
        ([12_345_678_901_234.0], ["12,345,678,901,234"]),
    ],
)
def test_values_are_plain_decimals(ticks: list[float], labels: list[str]) -> None:
    assert PlainFormatter().format_ticks(ticks) == labels


@given(st.floats(1e-12, 1e12), st.sampled_from([1, 2, 5]), st.integers(-12, 6))
def test_labels_differ_and_have_no_exponent(start: float, digit: int, power: int) -> None:
    step = digit * 10.0**power
    first = round(start / step)
    if first > 10**12:  # finer than a float: no locator puts ticks there
        return
    labels = PlainFormatter().format_ticks([(first + n) * step for n in range(5)])
    assert len(set(labels)) == 5
    assert not any("e" in label for label in labels)


@pytest.mark.parametrize(
    ("apart", "labels"),
    [
        (timedelta(milliseconds=200), ["10:00:00.0", "10:00:00.2", "10:00:00.4"]),
        (timedelta(seconds=10), ["10:00:00", "10:00:10", "10:00:20"]),
        (timedelta(minutes=5), ["10:00", "10:05", "10:10"]),
        (timedelta(hours=7), ["10:00", "17:00", "00:00\n6 Jan"]),
        (timedelta(days=1), ["5 Jan", "6 Jan", "7 Jan"]),
        (timedelta(days=31), ["Jan 2024", "Feb 2024", "Mar 2024"]),
    ],
)
def test_times_are_as_fine_as_the_ticks(apart: timedelta, labels: list[str]) -> None:
    assert TimeFormatter().format_ticks([day_number(START + n * apart) for n in range(3)]) == labels


@given(st.timedeltas(timedelta(0), timedelta(days=36_500)), st.integers(1, 5000))
def test_buckets_cover_the_range_within_the_bound(span: timedelta, buckets: int) -> None:
    width = bucket_width(span, buckets)
    assert width > timedelta(0)
    assert width * buckets >= span - timedelta(microseconds=buckets)


def test_time_that_is_not_verified_is_hatched_in_every_panel() -> None:
    span = START + timedelta(seconds=10), START + timedelta(seconds=40)
    figure = drawn(replace(MINUTE, doubtful=[span]))
    for panel, axes in enumerate(figure.axes):
        assert "not verified" in legend(figure, panel)
        (patch,) = [patch for patch in axes.patches if patch.get_hatch() == DOUBT["hatch"]]
        edges = patch.get_extents().transformed(axes.transData.inverted())
        assert [edges.x0, edges.x1] == pytest.approx([day_number(time) for time in span])
    assert "not verified" not in legend(drawn(MINUTE))


def test_candles_that_are_not_verified_are_hatched() -> None:
    shown = candles("BTC-USD", holes=())
    span = shown.candles[0].start, shown.candles[3].start
    figure = Figure()
    draw_candles(figure, [shown._replace(doubtful=[span])])
    for panel, axes in enumerate(figure.axes):
        assert [patch.get_hatch() for patch in axes.patches].count(DOUBT["hatch"]) == 1
        assert "not verified" in legend(figure, panel)
