"""What a person has chosen with the keys: a page, an order of the pairs, a filter and a place. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptometrics.market.venues import Market
    from cryptometrics.store.stored_sessions import SessionRow
    from cryptometrics.watch.screen_data import ScreenData

PAGES = ("market", "portfolio", "alerts", "pipeline")
ORDERS = ("pair", "spread", "volatility", "drawdown", "age", "ticks/s")
"""What pairs can be sorted by: the name, or a figure with the largest one first."""


class WatchView(NamedTuple):
    """What is shown of each frame."""

    page: str = PAGES[0]
    order: str = ORDERS[0]
    is_reversed: bool = False
    filter: str = ""
    """Show only what contains it: upper and lower case are the same."""
    selected: Market | None = None
    """The marked pair; None is the first one."""
    top: int = 0
    """The first line that is shown of a page other than the market."""
    is_paused: bool = False

    def turn(self, step: int) -> WatchView:
        """Return the view of the page `step` pages further on."""
        return self._replace(page=PAGES[(PAGES.index(self.page) + step) % len(PAGES)], top=0)

    def sort_by_next(self) -> WatchView:
        """Return the view with the next order."""
        return self._replace(order=ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)], is_reversed=False)

    def select(self, step: int, data: ScreenData) -> WatchView:
        """Return the view with the pair `step` places below the marked one; negative: above."""
        markets = [row.market for row in chosen(data, self).snapshot.rows]
        if not markets:
            return self
        place = markets.index(self.selected) if self.selected in markets else 0
        return self._replace(selected=markets[min(max(place + step, 0), len(markets) - 1)])

    def wants(self, *texts: str | None) -> bool:
        """Return whether the filter lets something pass that is known by these texts."""
        return self.filter.casefold() in " ".join(text for text in texts if text).casefold()


def chosen(data: ScreenData, view: WatchView) -> ScreenData:
    """Return the data with only what passes the filter, and the pairs in the order of the view."""
    snapshot = data.snapshot
    rows = [row for row in snapshot.rows if view.wants(row.venue, row.pair)]
    if view.order != ORDERS[0]:
        figure = _figure(data, view.order)
        known = [row for row in rows if figure(row) is not None]
        known.sort(key=lambda row: figure(row) or 0.0, reverse=not view.is_reversed)
        rows = known + [row for row in rows if figure(row) is None]
    elif view.is_reversed:
        rows.reverse()
    alerts = [each for each in snapshot.alerts if view.wants(each.venue, each.pair, each.rule)]
    portfolios = [each for each in snapshot.portfolios if view.wants(each.name)]
    return data._replace(snapshot=replace(snapshot, rows=rows, alerts=alerts, portfolios=portfolios))


def _figure(data: ScreenData, order: str) -> Callable[[SessionRow], float | None]:
    """Return a function that returns the figure to sort by; pairs without one come last."""

    def figure(row: SessionRow) -> float | None:
        risk = data.snapshot.risk.get(row.market)
        return {
            "spread": float(row.spread / row.mid_price),
            "volatility": risk.volatility if risk else None,
            "drawdown": risk.drawdown if risk else None,
            "age": data.quote_age(row),
            "ticks/s": data.history.rate(row.market),
        }[order]

    return figure
