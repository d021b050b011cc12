"""The keys of the live view, pressed by Textual's pilot on frames that are made here."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from textual.events import Key

from cryptometrics.errors import UserError
from cryptometrics.watch.app import FilterInput, HelpScreen, PageView, WatchApp
from tests.live_frames import FIRING, TREASURY, frame, row, with_portfolios
from tests.waiting import deadline

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from textual.pilot import Pilot

    from cryptometrics.watch.screen_data import ScreenData

PAIRS = [
    row(f"{name}-USD", bid=bid) for name, bid in (("ADA", "1.00"), ("BTC", "64441.11"), ("ETH", "3000.00"))
]
SIZES = [(80, 24), (200, 50)]


def full() -> ScreenData:
    return with_portfolios(frame(PAIRS, alerts=[FIRING]), TREASURY)


def drive(
    steps: Callable[[WatchApp, Pilot[None]], Awaitable[None]],
    poll: Callable[[], ScreenData] = full,
    *,
    size: tuple[int, int] = (80, 24),
    stop: Callable[[], bool] = lambda: False,
) -> WatchApp:
    """Run the app without a terminal, until the steps are done or it ends."""
    app = WatchApp(poll, 0.05, stop)

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: app.frame is not None or app.error is not None)
            await steps(app, pilot)

    asyncio.run(run())
    return app


async def until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    is_over = deadline()
    while not condition():
        assert not is_over(), "the condition did not become true"
        await pilot.pause(0.02)


def text(app: WatchApp) -> str:
    """Return what the page shows."""
    view = app.query_one(PageView)
    return "\n".join(view.render_line(y).text.rstrip() for y in range(view.size.height))


@pytest.mark.parametrize("size", SIZES)
def test_tab_and_arrows_turn_the_pages(size: tuple[int, int]) -> None:
    async def steps(app: WatchApp, pilot: Pilot[None]) -> None:
        await pilot.pause()
        assert "64,441.13" in text(app)
        await pilot.press("tab")
        assert "P&L -1,234.50" in text(app)
        assert "drawdown_pct" in text(app)
        await pilot.press("right")
        assert "not acknowledged  spread 12.3 bps above 10" in text(app)
        await pilot.press("tab")
        assert "next offset" in text(app)
        await pilot.press("tab")
        assert app.view.page == "market"
        await pilot.press("shift+tab")
        assert app.view.page == "pipeline"
        await pilot.press("left")
        assert app.view.page == "alerts"

    drive(steps, size=size)


def test_arrows_mark_a_pair_and_its_details_follow() -> None:
    async def steps(app: WatchApp, pilot: Pilot[None]) -> None:
        def details() -> str:
            return next(line for line in text(app).splitlines() if "  session " in line and "ticks " in line)

        await pilot.pause()
        assert "ADA-USD" in details()
        await pilot.press("down")
        assert "BTC-USD" in details()
        await pilot.press("end")
        assert "ETH-USD" in details()
        await pilot.press("down", "up")
        assert "BTC-USD" in details()
        await pilot.press("home")
        assert "ADA-USD" in details()

    drive(steps, size=(200, 50))


def test_s_sorts_and_r_reverses() -> None:
    async def steps(app: WatchApp, pilot: Pilot[None]) -> None:
        def order() -> list[str]:
            lines = text(app).splitlines()[2:]
            return [
                name for line in lines for name in ("ADA", "BTC", "ETH") if line.startswith(f"{name}-USD")
            ][:3]

        await pilot.pause()
        assert order() == ["ADA", "BTC", "ETH"]
        await pilot.press("r")
        assert order() == ["ETH", "BTC", "ADA"]
        await pilot.press("s")
        assert "by spread, descending" in text(app)
        assert order() == ["ADA", "ETH", "BTC"]
        await pilot.press("r")
        assert "by spread, ascending" in text(app)
        assert order() == ["BTC", "ETH", "ADA"]
        kept = app.view
        await pilot.press("tab", "s", "r", "shift+tab")  # they have no effect on other pages
        assert app.view == kept

    drive(steps)


def test_a_filter_is_typed_kept_and_removed() -> None:
    async def steps(app: WatchApp, pilot: Pilot[None]) -> None:
        await pilot.press("slash", *"btq")
        assert "no pair matches btq" in text(app)
        assert app.is_running  # q was text
        await pilot.press("backspace", "c", "enter")
        assert "BTC-USD" in text(app)
        assert "ETH-USD" not in text(app)
        assert not app.query_one(FilterInput).display
        await pilot.press("tab")  # the keys are those of the page again
        assert "nothing matches btc" in text(app)
        await pilot.press("escape")
        assert "treasury" in text(app)

    drive(steps)


def test_a_filter_may_be_pasted_and_contain_its_own_key() -> None:
    async def steps(app: WatchApp, pilot: Pilot[None]) -> None:
        for key, character in (("tab", None), ("slash", "/"), ("b", "b"), ("slash", "/"), ("c", "c")):
            app.post_message(Key(key, character))
        await until(pilot, lambda: app.view.filter == "b/c")
        assert app.view.page == "portfolio"
        await pilot.press("escape", "question_mark", "slash")  # of the help it is any key
        assert len(app.screen_stack) == 1
        assert not app.query_one(FilterInput).display

    drive(steps)


def test_pause_keeps_the_frame_until_it_ends() -> None:
    polls = iter(range(1_000_000))

    def poll() -> ScreenData:
        return frame([row(bid=f"{100 + next(polls)}.00")])

    async def steps(app: WatchApp, pilot: Pilot[None]) -> None:
        await pilot.press("p")
        kept, newest = app.frame, app._newest
        assert "PAUSED" in text(app)
        await until(pilot, lambda: app._newest is not newest)
        await pilot.press("tab", "tab", "tab", "tab")
        assert app.frame is kept
        await pilot.press("space")
        assert app.frame is not kept
        assert "PAUSED" not in text(app)

    drive(steps, poll)


def test_help_names_the_keys_and_any_key_closes_it() -> None:
    async def steps(app: WatchApp, pilot: Pilot[None]) -> None:
        def screens() -> list[str]:
            return [type(screen).__name__ for screen in app.screen_stack[1:]]

        await pilot.press("question_mark")
        assert screens() == [HelpScreen.__name__]
        await pilot.press("q")
        assert screens() == []
        assert app.is_running

    drive(steps)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_it_ends(key: str) -> None:
    async def steps(app: WatchApp, pilot: Pilot[None]) -> None:
        await pilot.press(key)
        await until(pilot, lambda: not app.is_running)

    app = drive(steps)
    assert app.frame is not None
    assert app.error is None


def test_ctrl_c_ends_it_while_a_filter_is_typed_and_while_help_is_shown() -> None:
    for keys in (("slash", "b", "ctrl+c"), ("question_mark", "ctrl+c")):

        async def steps(app: WatchApp, pilot: Pilot[None], keys: tuple[str, ...] = keys) -> None:
            await pilot.press(*keys)
            await until(pilot, lambda: not app.is_running)

        drive(steps)


def test_a_slow_query_delays_no_key() -> None:
    may_go_on = threading.Event()
    first = iter([full()])

    def poll() -> ScreenData:
        if (found := next(first, None)) is not None:
            return found
        may_go_on.wait(60)
        return full()

    async def steps(app: WatchApp, pilot: Pilot[None]) -> None:
        await pilot.press("tab")
        assert "treasury" in text(app)
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running)

    try:
        drive(steps, poll)
    finally:
        may_go_on.set()


def test_an_error_of_a_query_or_of_what_runs_beside_ends_it() -> None:
    def poll() -> ScreenData:
        raise UserError("no ticks of X")

    def stop() -> bool:
        raise UserError("process ended")

    async def steps(app: WatchApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: not app.is_running)

    assert str(drive(steps, poll).error) == "no ticks of X"
    assert str(drive(steps, stop=stop).error) == "process ended"


def test_it_ends_when_it_is_told_to_stop() -> None:
    asked = threading.Event()

    async def steps(app: WatchApp, pilot: Pilot[None]) -> None:
        asked.set()
        await until(pilot, lambda: not app.is_running)

    assert drive(steps, stop=asked.is_set).error is None


def test_one_frame_does_not_wait_for_the_import_of_textual() -> None:
    modules = "cryptometrics.cli.watch, cryptometrics.watch.poller, cryptometrics.watch.screen"
    code = f"import sys, {modules}; sys.exit('textual' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
