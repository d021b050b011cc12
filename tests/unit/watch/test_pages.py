"""The pages of the live view: each fits any terminal, and shows what its keys chose."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cryptometrics.kafka.open_transactions import OpenTransaction
from cryptometrics.market.venues import Market
from cryptometrics.store.latest_risk import LatestRisk
from cryptometrics.store.live_snapshot import Snapshot
from cryptometrics.watch.fitted_table import window
from cryptometrics.watch.history import History
from cryptometrics.watch.pages import last_top, page
from cryptometrics.watch.price_bars import chart
from cryptometrics.watch.screen_data import ScreenData
from cryptometrics.watch.view import PAGES, WatchView, chosen
from tests.live_frames import BTC, FIRING, NOW, TREASURY, frame, row, with_portfolios

if TYPE_CHECKING:
    from decimal import Decimal


def drawn(data: ScreenData, view: WatchView, width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, highlight=False, force_terminal=False)
    with console.capture() as capture:
        console.print(page(data, view, width, height))
    return capture.get().splitlines()


def on(name: str) -> WatchView:
    return WatchView(page=name)


@given(
    name=st.sampled_from(PAGES),
    pairs=st.integers(0, 60),
    partitions=st.integers(0, 30),
    alerts=st.integers(0, 50),
    portfolios=st.integers(0, 9),
    width=st.integers(40, 240),
    height=st.integers(9, 80),
    top=st.integers(0, 200),
    trouble=st.none() | st.just("PostgreSQL: " + "it is away " * 40),
)
def test_each_page_fits_the_terminal(
    name: str,
    pairs: int,
    partitions: int,
    alerts: int,
    portfolios: int,
    width: int,
    height: int,
    top: int,
    trouble: str | None,
) -> None:
    rows = [row(f"P{n:02}-USD") for n in range(pairs)]
    data = frame(rows, partitions=partitions, alerts=[FIRING] * alerts, trouble=trouble)
    data = with_portfolios(data, *[TREASURY] * portfolios)
    lines = drawn(data, WatchView(page=name, top=top), width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert (trouble is not None) == any("PostgreSQL" in line for line in lines)


@given(count=st.integers(0, 90), place=st.integers(0, 89), room=st.integers(1, 50))
def test_a_window_is_full_and_contains_its_place(count: int, place: int, room: int) -> None:
    shown = window(count, place, room)
    assert len(shown) == min(count, room)
    assert place in shown or place >= count
    assert shown.stop <= count


@pytest.mark.parametrize("width", [60, 80, 148, 200])
def test_no_price_is_cut_whichever_pair_is_marked(width: int) -> None:
    rows = [row(f"P{n:02}-USD", bid="64441.11") for n in range(30)]
    for number in (0, 15, 29):
        view = WatchView(selected=Market("coinbase", f"P{number:02}-USD"))
        lines = drawn(frame(rows), view, width, 24)
        [marked] = [line for line in lines if line.startswith(f"P{number:02}-USD ")]
        assert " 64,441.120 " in marked
        shown = sum("64,441.120" in line for line in lines)
        assert any(line.startswith(f"{30 - shown} more pairs: ") for line in lines)


def test_the_details_of_the_marked_pair_take_the_lines_that_are_left() -> None:
    history = History()
    for second in range(600):
        at = NOW + timedelta(seconds=second)
        rows = [row(bid=f"{100 + second}.00"), row("ETH-USD")]
        history.add(Snapshot("g", at, rows, [], []))
    risk = LatestRisk(NOW, 0.457, 0.0123, 0.0087, 0.998, 2)
    data = ScreenData(Snapshot("g", NOW, rows, [], [], {BTC: risk}), history, {})
    for width, height in ((80, 24), (200, 50)):
        text = "\n".join(drawn(data, WatchView(selected=BTC), width, height))
        assert "BTC-USD  coinbase  chart mid, 10 min" in text
        assert "bid 699.00  ask 699.02  spread 0.02 (0.286 bps)" in text
        assert "highest bid 101.00 12:00:00  lowest ask 99.00 12:00:00" in text
        assert "24 h: volatility 45.7 %  drawdown 1.23 %  VaR 1 h 99 % 0.87 %" in text
        top, *_, bottom = (line for line in text.splitlines() if "█" in line and "USD" not in line)
        assert top.startswith("699.010 ")
        assert top.rstrip().endswith("█")
        assert top.count("█") < bottom.count("█")
        assert len(text.splitlines()) >= min(height - 3, 40)  # of which the chart has at most 30
    other = "\n".join(drawn(data, WatchView(selected=Market("coinbase", "ETH-USD")), 80, 24))
    assert "no risk stored: run `cryptometrics risk --follow`" in other


@given(
    values=st.lists(st.none() | st.decimals("0.0001", "99999", places=4), min_size=1, max_size=40),
    height=st.integers(1, 20),
)
def test_a_chart_reaches_from_the_bottom_to_the_top(values: list[Decimal | None], height: int) -> None:
    lines = chart(values, height)
    assert len(lines) == height
    known = [value for value in values if value is not None]
    if len(set(known)) > 1:
        assert lines[0][values.index(max(known))] == "█"
        assert lines[-1][values.index(min(known))] == "▁"
    for line in lines:
        assert len(line) == (len(values) if known else 0)
    for value, column in zip(values, zip(*lines, strict=True), strict=False):
        assert (set(column) == {" "}) == (value is None)


def test_a_low_terminal_shows_quotes_first() -> None:
    rows = [row(f"P{n:02}-USD") for n in range(6)]
    lines = drawn(frame(rows, alerts=[FIRING] * 5), WatchView(), 40, 9)
    assert sum(line.startswith("P0") for line in lines) == 3
    assert " alerts 5 " in lines[0]


def test_the_alerts_page_says_who_looks_after_what() -> None:
    seen = replace(FIRING, acknowledged_by="alice", fired_at=NOW - timedelta(minutes=7))
    silenced = replace(FIRING, pair="ETH-USD", silenced=True)
    rejects = replace(FIRING, venue="", pair=None, rule="rejects", severity="warning")
    data = frame([row()], alerts=[seen, silenced, rejects])
    text = "\n".join(drawn(data, on("alerts"), 80, 24))
    assert "CRITICAL BTC-USD  wide  coinbase  since 2026-07-01 11:53:00 for 7m" in text
    assert "acknowledged by alice  spread 12.3 bps above 10" in text
    assert "not acknowledged  silenced  spread 12.3" in text
    assert "WARNING  *  rejects  since" in text
    assert "no alert fires" in "\n".join(drawn(frame([row()]), on("alerts"), 80, 24))


@pytest.mark.parametrize("width", [66, 80, 200])
def test_the_portfolio_page_has_a_line_per_position(width: int) -> None:
    lines = drawn(with_portfolios(frame([row()]), TREASURY), on("portfolio"), width, 24)
    assert [line.split() for line in lines if line.startswith(("  BTC", "  ETH"))] == [
        ["BTC", "795,541.50", "+154,916.50", "12.5", "9,689.73", "marked"],
        ["ETH", "-425,706.40", "-", "-140", "-", "stale"],
    ]
    assert any("today -5,267.75  gross 1,404,131.74  net 512,040.14" in line for line in lines)


def test_the_portfolio_page_draws_how_far_each_limit_is_used() -> None:
    data = with_portfolios(frame([row()]), TREASURY)
    lines = drawn(data, on("portfolio"), 80, 24)
    breached, used = (line for line in lines if "breach " in line or " ok " in line)
    assert breached.split()[:3] == ["drawdown_pct", "120", "%"]
    assert breached.count("█") > used.count("█") > 0
    assert used.endswith("|")
    assert "|" not in breached
    nothing = "\n".join(drawn(frame([row()]), on("portfolio"), 80, 24))
    assert "no portfolio: load one with `cryptometrics positions load`" in nothing


def test_the_pipeline_page_has_a_line_per_partition() -> None:
    data = frame([row()])
    data = data._replace(open_transactions={("t", 4): OpenTransaction(7, 80, NOW)}, parts=[("process", "ok")])
    lines = drawn(data, on("pipeline"), 80, 24)
    assert [line.split() for line in lines if line.lstrip().startswith("4 ")] == [
        ["4", "10,000", "80", "40", "36", "4", "0", "0", "0"]
    ]
    assert "process ok" in lines
    assert any(line.startswith("held back by open transactions 80 messages") for line in lines)
    without = [line.split() for line in drawn(data, on("pipeline"), 40, 24) if line.lstrip().startswith("4 ")]
    assert without == [["4", "10,000", "36", "4"]]


@pytest.mark.parametrize("name", PAGES[1:])
def test_a_long_page_scrolls_to_its_end(name: str) -> None:
    alerts = [replace(FIRING, rule=f"rule{n}") for n in range(50)]
    data = with_portfolios(frame([row()], partitions=60, alerts=alerts), *[TREASURY] * 30)
    assert last_top(data, on(name), 80, 500) == 0
    last = last_top(data, on(name), 80, 24)
    assert last > 0
    end = {"portfolio": "gross", "alerts": "spread 12.3 bps above 10", "pipeline": "59 "}[name]
    lines = drawn(data, on(name)._replace(top=last), 80, 24)
    assert not any("more lines" in line for line in lines)
    assert any(end in line for line in lines[-7:])
    beyond = drawn(data, on(name)._replace(top=last + 99), 80, 24)
    assert beyond == lines


def test_what_has_no_figure_comes_last_in_both_directions() -> None:
    rows = [row("A-USD"), row("B-USD"), row("C-USD")]
    risk = {
        Market("coinbase", pair): LatestRisk(NOW, volatility, None, None, 1, 0)
        for pair, volatility in (("A-USD", 0.1), ("C-USD", 0.3))
    }
    data = frame(rows)
    data = data._replace(snapshot=replace(data.snapshot, risk=risk))
    for is_reversed, expected in ((False, "CAB"), (True, "ACB")):
        shown = chosen(data, WatchView(order="volatility", is_reversed=is_reversed))
        assert "".join(each.pair[0] for each in shown.snapshot.rows) == expected


def test_the_filter_counts_on_every_page_and_nothing_typed_controls_the_terminal() -> None:
    data = with_portfolios(frame([row(), row("ETH-USD", venue="kraken")], alerts=[FIRING]), TREASURY)
    only = chosen(data, WatchView(filter="KRAK")).snapshot
    assert ([each.pair for each in only.rows], only.alerts, only.portfolios) == (["ETH-USD"], [], [])
    assert chosen(data, WatchView(filter="wide")).snapshot.alerts == [FIRING]
    assert chosen(data, WatchView(filter="trea")).snapshot.portfolios == [TREASURY]
    lines = drawn(data, WatchView(filter="\x1b[2J"), 80, 24)
    assert all(line.isprintable() for line in lines)
    assert any("no pair matches" in line for line in lines)


def test_a_frame_does_not_change_when_the_history_goes_on() -> None:
    history = History()
    history.add(Snapshot("g", NOW, [row()], [], []))
    kept = history.copy()
    for second in (1, 2, 3):
        history.add(Snapshot("g", NOW + timedelta(seconds=second), [row(ticks=50 * second)], [], []))
    assert kept.span() == 0
    assert len(kept.mids(BTC, 9)) == 1
    assert kept.rate(BTC) is None
    assert history.rate(BTC) is not None
