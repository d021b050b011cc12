"""The live view: a Textual app that shows pages of frames and obeys keys.

A thread reads the frames, so that no query delays a key.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import App
from textual.binding import Binding
from textual.message import Message
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Footer, Input, Static

from cryptometrics.errors import CryptometricsError
from cryptometrics.watch.pages import last_top, page
from cryptometrics.watch.terminal_driver import TerminalDriver, signals_restored
from cryptometrics.watch.view import WatchView

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType
    from textual.app import ComposeResult
    from textual.binding import BindingType
    from textual.events import Key

    from cryptometrics.watch.screen_data import ScreenData

CHECK_S = 0.05
"""Seconds between two checks whether to end."""
PAGE_STEP = 10
"""Lines, or pairs, of Page Up and Page Down."""
EVERYTHING = 1_000_000
"""More lines than any page has."""
LEAVE_S = 1.0
"""Seconds that the end waits for a query that runs."""

HELP = """\
q, Ctrl-C        quit; the last frame stays on the terminal
Tab, Shift-Tab   next or previous page; also → and ←
↑ ↓              mark another pair, or scroll
PgUp PgDn        ten at a time
Home End         the first, the last
s                sort pairs by the next figure
r                reverse the order
/                filter by pair, venue, rule or portfolio
Esc              remove the filter
p, Space         pause; the market goes on behind it
Ctrl-Z           suspend; `fg` goes on

Any key closes this help."""


class FrameRead(Message):
    """A new frame was read."""

    def __init__(self, frame: ScreenData) -> None:
        super().__init__()
        self.frame = frame


class PageView(Widget, can_focus=True):
    """The page that is shown, as large as the terminal has room for."""

    def __init__(self, page: Callable[[int, int], RenderableType]) -> None:
        """page: returns what is shown in a number of columns and lines."""
        super().__init__()
        self._page = page

    def render(self) -> RenderableType:
        """Return the page for the present size."""
        return self._page(self.size.width, self.size.height)


class FilterInput(Input):
    """The line in which a person types the filter."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "keep the filter"),
        Binding("escape", "app.cancel_filter", "remove it"),
    ]


class HelpScreen(ModalScreen[None]):
    """What each key does."""

    CSS = """
    HelpScreen { align: center middle; }
    HelpScreen Static {
        width: auto; max-width: 100%; height: auto; max-height: 100%; border: round; padding: 0 1;
    }
    """

    def compose(self) -> ComposeResult:
        """Return the text."""
        yield Static(HELP, markup=False)

    def on_key(self, event: Key) -> None:
        """Close it, and do nothing else."""
        event.stop()
        event.prevent_default()
        self.dismiss()


class WatchApp(App[None]):
    """Shows frames until a person quits, or until `stop` returns True."""

    CSS = """
    PageView { height: 1fr; }
    FilterInput { display: none; }
    """
    ENABLE_COMMAND_PALETTE = False
    # Obeyed in the order in which they come: the widget that has the focus gets only what is left.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "leave", "quit", priority=True),
        Binding("question_mark", "help", "keys", key_display="?", priority=True),
        Binding("tab,right", "turn(1)", "page", key_display="Tab", priority=True),
        Binding("shift+tab,left", "turn(-1)", show=False, priority=True),
        Binding("slash", "filter", "filter", key_display="/", priority=True),
        Binding("s", "sort", "sort", priority=True),
        Binding("r", "reverse", "reverse", priority=True),
        Binding("p,space", "pause", "pause", priority=True),
        Binding("up", "move(-1)", show=False, priority=True),
        Binding("down", "move(1)", show=False, priority=True),
        Binding("pageup", f"move({-PAGE_STEP})", show=False, priority=True),
        Binding("pagedown", f"move({PAGE_STEP})", show=False, priority=True),
        Binding("home", f"move({-EVERYTHING})", show=False, priority=True),
        Binding("end", f"move({EVERYTHING})", show=False, priority=True),
        Binding("escape", "clear_filter", show=False, priority=True),
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", show=False, priority=True),
    ]

    def __init__(
        self,
        poll: Callable[[], ScreenData],
        every: float,
        stop: Callable[[], bool],
        *,
        ascii_only: bool = False,
    ) -> None:
        """Show what `poll` returns, at most every `every` seconds.

        poll: called in a thread of its own. stop: called often. An error of either ends the app; see `error`.
        """
        super().__init__(driver_class=TerminalDriver, ansi_color=True)
        self._poll = poll
        self._every = every
        self._stop = stop
        self._ascii_only = ascii_only
        self._newest: ScreenData | None = None
        self._has_ended = threading.Event()
        self._reader = threading.Thread(target=self._read, name="watch-reader", daemon=True)
        self.frame: ScreenData | None = None
        """The frame that is shown; None before the first one."""
        self.view = WatchView()
        self._page_view = PageView(self.page)
        self._filter = FilterInput(placeholder="pair, venue, rule or portfolio", compact=True)
        self.error: Exception | None = None
        """What `poll` or `stop` raised."""

    def page(self, width: int, height: int) -> RenderableType:
        """Return what is shown, for a terminal of this size."""
        if self.frame is None:
            return "reading…"
        return page(self.frame, self.view, width, height, ascii_only=self._ascii_only)

    def compose(self) -> ComposeResult:
        """Return the widgets."""
        yield self._page_view
        yield self._filter
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Use the colours of the terminal, and begin to read."""
        self.theme = "ansi-dark"
        self._page_view.focus()
        # After Ctrl-Z and `fg` the screen is empty.
        self.app_resume_signal.subscribe(self, lambda _: self.refresh(layout=True))
        self._reader.start()
        self.set_interval(CHECK_S, self._check_stop)

    def on_unmount(self) -> None:
        """End the thread, unless its query takes too long: the process ends without it."""
        self._has_ended.set()
        if self._reader.is_alive():
            self._reader.join(LEAVE_S)

    def _read(self) -> None:
        try:
            while not self._has_ended.is_set():
                begun = time.monotonic()
                self.post_message(FrameRead(self._poll()))
                # Subtract the time that the frame took, but always pause.
                self._has_ended.wait(max(begun + self._every - time.monotonic(), CHECK_S))
        except Exception as error:  # noqa: BLE001  (the command raises it once the terminal is restored)
            self.error = error

    def _check_stop(self) -> None:
        try:
            if self._stop() or self.error:
                self.exit()
        except Exception as error:  # noqa: BLE001  (as above)
            self.error = error
            self.exit()

    @on(FrameRead)
    def _show(self, message: FrameRead) -> None:
        self._newest = message.frame
        if not self.view.is_paused:
            self._change(self.view)

    def _change(self, view: WatchView) -> None:
        """Show a view, of the newest frame unless it is paused."""
        self.view = view
        if not view.is_paused:
            self.frame = self._newest
        self._page_view.refresh()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool:  # noqa: ARG002
        """Return whether a key has this effect now: not as text of the filter, and not in the help."""
        if action in {"quit", "suspend_process", "cancel_filter"}:
            return True
        is_typed = len(self.screen_stack) > 1 or self._filter.display
        return not is_typed and (action not in {"sort", "reverse"} or self.view.page == "market")

    def action_leave(self) -> None:
        """End the app."""
        self.exit()

    def action_help(self) -> None:
        """Show what each key does."""
        self.push_screen(HelpScreen())

    def action_turn(self, step: int) -> None:
        """Show another page."""
        self._change(self.view.turn(step))
        self.refresh_bindings()

    def action_sort(self) -> None:
        """Sort pairs by the next figure."""
        self._change(self.view.sort_by_next())

    def action_reverse(self) -> None:
        """Reverse the order of the pairs."""
        self._change(self.view._replace(is_reversed=not self.view.is_reversed))

    def action_pause(self) -> None:
        """Keep the frame, or go on with the newest one."""
        self._change(self.view._replace(is_paused=not self.view.is_paused))

    def action_move(self, step: int) -> None:
        """Mark another pair, or scroll the page."""
        if self.frame is None:
            return
        if self.view.page == "market":
            self._change(self.view.select(step, self.frame))
            return
        size = self._page_view.size
        last = last_top(self.frame, self.view, size.width, size.height)
        self._change(self.view._replace(top=min(max(self.view.top + step, 0), last)))

    def action_filter(self) -> None:
        """Open the line of the filter."""
        self._filter.display = True
        self.screen.set_focus(self._filter)

    def action_clear_filter(self) -> None:
        """Show everything again."""
        self.action_cancel_filter()

    def action_cancel_filter(self) -> None:
        """Close the line of the filter, and show everything again."""
        self._filter.value = ""
        self._close_filter()

    @on(Input.Changed)
    def _filter_by(self, event: Input.Changed) -> None:
        """Filter while a person types."""
        self._change(self.view._replace(filter=event.value.strip(), top=0))

    @on(Input.Submitted)
    @on(Input.Blurred)
    def _close_filter(self) -> None:
        """Close the line of the filter, and keep the filter."""
        self._filter.display = False
        self.screen.set_focus(self._page_view)


def show(app: WatchApp) -> None:
    """Run the app on the terminal until it ends; raise its error once the terminal is restored.

    The mouse stays with the terminal, which marks and copies text as everywhere.
    """
    with signals_restored():
        asyncio.run(app.run_async(mouse=False))
    if app.error is not None:
        raise app.error
    if app.return_code:
        raise CryptometricsError("the screen failed: its traceback is above; please report it")
