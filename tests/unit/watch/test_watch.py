"""The live view: it fits any terminal, nothing stored can control it, and rates and sparklines are right."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cryptometrics.kafka.open_transactions import OpenTransaction
from cryptometrics.market.venues import Market
from cryptometrics.market.windows import MINUTE
from cryptometrics.store.latest_portfolios import LatestPortfolio
from cryptometrics.store.live_snapshot import FiringAlert, RecentMinute, Snapshot
from cryptometrics.watch.history import History
from cryptometrics.watch.price_bars import PLAIN_BARS, sparkline
from cryptometrics.watch.quotes import WIDE
from cryptometrics.watch.screen import render
from cryptometrics.watch.screen_data import ScreenData
from cryptometrics.watch.terminal_text import age
from tests.live_frames import BTC, FIRING, NOW, TREASURY, frame, row, with_portfolios


def drawn(frame: ScreenData, width: int, height: int, *, ascii_only: bool = False) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, highlight=False, force_terminal=False)
    with console.capture() as capture:
        console.print(render(frame, width, height, ascii_only=ascii_only))
    return capture.get().splitlines()


@given(
    pairs=st.integers(0, 60),
    partitions=st.integers(0, 30),
    alerts=st.integers(0, 12),
    width=st.integers(80, 240),
    height=st.integers(24, 80),
    trouble=st.none() | st.just("PostgreSQL: " + "it is away " * 40),
    parts=st.integers(0, 2),
)
def test_it_fits_the_terminal(
    pairs: int, partitions: int, alerts: int, width: int, height: int, trouble: str | None, parts: int
) -> None:
    rows = [row(f"P{n:02}-USD") for n in range(pairs)]
    data = frame(rows, partitions=partitions, alerts=[FIRING] * alerts, trouble=trouble)
    lines = drawn(data._replace(parts=[("part", "works " * 40)] * parts), width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert sum(f"P{n:02}-USD" in text for n in range(pairs)) + _left(text) == pairs
    assert ("CRITICAL" in text) == (alerts > 0)
    assert ("PostgreSQL" in text) == (trouble is not None)


def _left(text: str) -> int:
    return next((int(line.split()[0]) for line in text.splitlines() if " more pairs" in line), 0)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50), (WIDE, 30), (WIDE - 1, 30)])
def test_six_pairs_are_shown_whole(width: int, height: int) -> None:
    rows = [row(f"{name}-USD", bid="64441.11") for name in ("ADA", "BTC", "DOGE", "ETH", "SOL", "XRP")]
    text = "\n".join(drawn(frame(rows, alerts=[FIRING]), width, height))
    prices = "64,441.11", "64,441.13", "64,441.120", "101.00", "99.00", "0.50"
    for expected in (*prices, "1.0s", "lag 111,111"):
        assert expected in text
    assert "…" not in text
    assert "critical".upper() in text
    assert "spread 12.3 bps above 10" in text


@pytest.mark.parametrize("height", [12, 24])
@pytest.mark.parametrize("width", [60, 72, 80, 100, 148, 149])
@pytest.mark.parametrize("venues", [("coinbase",), ("coinbase", "simulated")])
def test_no_price_is_cut_at_60_or_more_columns(width: int, height: int, venues: tuple[str, ...]) -> None:
    rows = [
        row(pair, bid=bid, venue=venue)
        for venue in venues
        for pair, bid in (("BTC-USD", "64441.11"), ("DOGE-USD", "0.123456"))
    ]
    lines = drawn(frame(rows), width, height)
    assert max(map(len, lines)) <= width
    prices = " ".join("\n".join(lines[1:]).split())
    assert prices.count("64,441.120") == prices.count("0.1334560") == len(venues)
    if height == 24:
        assert prices.count("64,441.11 64,441.13") == prices.count("0.123456 0.143456") == len(venues)
        assert prices.count("101.00") == prices.count(" 99.00") == 2 * len(venues)


@pytest.mark.parametrize(("seconds", "label"), [(0, " mid "), (45, "mid, 45 s "), (720, "mid, 12 min")])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (110, 5), (200, 50)])
def test_the_label_of_a_sparkline_says_the_time_it_shows(
    seconds: int, label: str, width: int, height: int
) -> None:
    history = History()
    for second in range(seconds + 1):
        at = NOW + timedelta(seconds=second)
        rows = [row(), row("ETH-USD")] if second > seconds // 2 else [row()]
        history.add(Snapshot("g", at, rows, [], []))
    shown = Snapshot("g", NOW, [row(), row("ETH-USD")], [], [])
    assert label in drawn(ScreenData(shown, history, {}), width, height)[1]
    late = history.mids(Market("coinbase", "ETH-USD"), 10)
    if seconds:
        assert late[:5] == [None] * 5  # on the same axis as BTC-USD
        assert late[-1] == Decimal("100.01")


def test_an_alert_says_who_looks_after_it_before_its_message_is_cut() -> None:
    seen = replace(FIRING, message="m" * 200, acknowledged_by="alice")
    silenced = replace(FIRING, silenced=True)
    text = drawn(frame([row("BTC-USD")], alerts=[seen, silenced]), 80, 24)
    assert sum("acknowledged by alice BTC-USD wide: mmm" in line for line in text) == 1
    assert sum("silenced BTC-USD wide: spread 12.3 bps" in line for line in text) == 1


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 14), (120, 30), (200, 50)])
def test_venues_stand_side_by_side(width: int, height: int) -> None:
    names = ("coinbase", "simulated-replay")
    rows = [row(pair, venue=venue) for pair in ("BTC-USD", "ETH-USD", "SOL-USD") for venue in names]
    head, *lines = drawn(frame(rows), width, height)
    assert "coinbase, SIMULATED-replay" in head
    assert sum("coinbase" in line for line in lines) == 3
    assert sum("SIMULATED-replay" in line for line in lines) == 3
    assert sum(line.startswith("BTC-USD") for line in lines) == 2
    old = drawn(frame([row(venue=venue, seconds_old=7200) for venue in names]), width, height)
    assert "old quotes: BTC-USD coinbase 2h, BTC-USD SIMULATED-replay 2h" in old


def test_the_head_names_the_venue() -> None:
    assert "  SIMULATED  group g" in drawn(frame([row(venue="simulated")]), 80, 24)[0]
    assert "  coinbase  group g" in drawn(frame([row()]), 80, 24)[0]


def test_venues_of_a_pair_have_a_history_each() -> None:
    history = History()
    for second in range(3):
        at = NOW + timedelta(seconds=second)
        rows = [row(ticks=100 * second), row(venue="simulated", ticks=7 * second, bid="5.00")]
        history.add(Snapshot("g", at, rows, [], []))
    assert history.rate(BTC) == 100
    assert history.rate(Market("simulated", "BTC-USD")) == 7
    assert history.mids(Market("simulated", "BTC-USD"), 3) == [Decimal("5.01")] * 3


def test_old_quotes_are_named_with_their_age() -> None:
    rows = [row("BTC-USD", seconds_old=7200), row("ETH-USD", seconds_old=20), row("SOL-USD")]
    now = frame(rows)
    assert "old quotes: BTC-USD 2h" in drawn(now, 80, 24)
    beside = now._replace(since=NOW - timedelta(seconds=10), parts=[("ingest", "connecting for 10s")])
    lines = drawn(beside, 80, 24)
    assert "old quotes: BTC-USD 2h, ETH-USD 20.0s" in lines
    assert "ingest connecting for 10s" in lines
    assert not any("old" in line for line in drawn(frame([row()]), 80, 24))


def test_what_is_stored_cannot_control_the_terminal() -> None:
    evil = "\x1b]0;owned\x07\x9b2J\u202e"
    lines = drawn(
        frame(
            [row(session=evil)],
            group=evil,
            alerts=[FiringAlert(evil, evil, evil, evil, evil, NOW)],
            trouble=evil,
        ),
        200,
        50,
    )
    text = "".join(lines)
    assert all(character.isprintable() for character in text)
    assert r"\x1b]0;owned\x07" in text


def test_a_terminal_without_unicode_gets_plain_bars() -> None:
    history = History()
    for second, bid in enumerate(("100", "105", "110")):
        history.add(Snapshot("g", NOW + timedelta(seconds=2 * second), [row(bid=bid)], [], []))
    shown = ScreenData(Snapshot("g", NOW, [row()], [], []), history, {})
    text = "".join(drawn(shown, 80, 24, ascii_only=True))
    assert text.isascii()
    assert sparkline(history.mids(BTC, 12), PLAIN_BARS) in text


@given(st.lists(st.none() | st.decimals("0.0001", "99999", places=4), min_size=1, max_size=40))
def test_a_sparkline_has_a_character_a_value_and_reaches_both_ends(values: list[Decimal | None]) -> None:
    line = sparkline(values)
    known = {value for value in values if value is not None}
    if not known:
        assert line == ""
        return
    assert len(line) == len(values)
    if len(known) > 1:
        assert line[values.index(min(known))] == "▁"
        assert line[values.index(max(known))] == "█"


def seen(*counts: tuple[float, str, int]) -> History:
    history = History()
    for seconds, session, ticks in counts:
        at = NOW + timedelta(seconds=seconds)
        history.add(Snapshot("g", at, [row(session=session, ticks=ticks)], [], []))
    return history


def test_ticks_a_second_are_those_of_the_last_seconds() -> None:
    assert seen((0, "a", 100)).rate(BTC) is None
    assert seen((0, "a", 100), (2, "a", 300)).rate(BTC) == pytest.approx(100)
    old = [(n / 2, "a", 1000 * n) for n in range(20)]
    recent = [(10 + n / 2, "a", 20_000 + 5 * n) for n in range(1, 20)]
    assert seen(*old, *recent).rate(BTC) == pytest.approx(10)
    assert seen((0, "a", 100)).rate(Market("coinbase", "ETH-USD")) is None


def test_a_new_session_counts_anew() -> None:
    history = seen((0, "a", 1000), (1, "a", 2000), (2, "b", 5))
    assert history.rate(BTC) is None


def begun(ticks: int, *minutes: tuple[int, int], seconds: float = 30) -> History:
    """Return a history of one snapshot, `seconds` after a full minute, and of minutes (number, ticks).

    Number 0 is the minute of the snapshot, 1 the one before.
    """
    full = NOW.replace(second=0, microsecond=0)
    at = full + timedelta(seconds=seconds)
    snapshot = Snapshot("g", at, [row(session="a", ticks=ticks)], [], [])
    recent = [
        RecentMinute(start := full - n * MINUTE, start + MINUTE, count, Decimal(n + 1))
        for n, count in minutes
    ]
    history = History()
    history.begin(snapshot, {BTC: recent})
    history.add(snapshot)
    return history


def test_the_minutes_before_come_before_the_first_snapshot() -> None:
    history = begun(1000, (3, 5), (2, 5), (1, 5), (0, 5))
    mids = [mid for mid in history.mids(BTC, 200) if mid is not None]
    assert list(dict.fromkeys(mids)) == [4, 3, 2, Decimal("100.01")]  # not that of the open minute


def test_the_first_rate_is_that_of_the_open_minute_and_the_one_before() -> None:
    assert begun(1000, (2, 500), (1, 120), (0, 60)).rate(BTC) == pytest.approx(2)
    assert begun(1000, (0, 60), seconds=0.5).rate(BTC) == pytest.approx(60 / 60.5)


def test_minutes_give_no_rate_for_a_backlog_or_a_session_that_has_just_begun() -> None:
    assert begun(1000, (9, 500)).rate(BTC) is None
    assert begun(100, (1, 120), (0, 60)).rate(BTC) is None


def test_the_history_is_bounded() -> None:
    history = seen(*((float(n), "a", n) for n in range(2000)))
    assert len(history._mids[BTC]) <= 902


@pytest.mark.parametrize(
    ("seconds", "text", "style"),
    [(0.04, "0.0s", "green"), (-3, "0.0s", "green"), (7, "7.0s", "yellow"), (45, "45.0s", "red"),
     (600, "10m", "red"), (7200, "2h", "red"), (864_000, "10d", "red")],
)  # fmt: skip
def test_ages(seconds: float, text: str, style: str) -> None:
    found = age(seconds)
    assert (found.plain, str(found.style)) == (text, style)


def test_open_transactions_are_named_with_what_they_hold_back() -> None:
    since = datetime(2026, 1, 31, 12, 0, 3, tzinfo=UTC)
    first, second = OpenTransaction(10, 400, since), OpenTransaction(7, 80, since)
    held = {("t", 1): first, ("t", 2): None, ("t", 4): second}
    lines = drawn(frame([row()])._replace(open_transactions=held), 100, 20)
    assert "held back by open transactions 480 messages since 12:00:03 UTC in p1 p4" in map(str.strip, lines)
    assert not any("transaction" in line for line in drawn(frame([row()]), 100, 20))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50)])
def test_a_portfolio_is_shown_with_its_limits_and_all_prices(width: int, height: int) -> None:
    rows = [row(f"{name}-USD", bid="64441.11") for name in ("ADA", "BTC", "DOGE", "ETH", "SOL", "XRP")]
    lines = drawn(with_portfolios(frame(rows), TREASURY), width, height)
    text = "\n".join(lines)
    assert "treasury  1,234,567.89 USD  P&L -1,234.50  VaR 23,456.78 2.5 %  20s  breach" in text
    assert "  limits  drawdown_pct 120 % breach  gross 50 %" in text
    assert text.count("64,441.13") == 6
    assert "…" not in text
    assert len(lines) <= height


@given(pairs=st.integers(0, 30), portfolios=st.integers(1, 30), width=st.sampled_from([80, 120, 200]))
def test_portfolios_take_only_the_lines_that_no_pair_needs(pairs: int, portfolios: int, width: int) -> None:
    data = frame([row(f"P{n:02}-USD") for n in range(pairs)])
    without = "\n".join(drawn(data, width, 24))
    lines = drawn(with_portfolios(data, *[TREASURY] * portfolios), width, 24)
    text = "\n".join(lines)
    assert len(lines) <= 24
    assert max(map(len, lines)) <= width
    assert _left(text) == _left(without)
    assert text.count("100.02") == without.count("100.02")


def test_a_portfolio_without_figures_says_how_to_get_them() -> None:
    new = LatestPortfolio("new", "USD", None, None, None, None, None, ())
    text = "\n".join(drawn(with_portfolios(frame([row()]), new), 80, 24))
    assert "new  no figures stored: run `cryptometrics risk --follow`" in text
