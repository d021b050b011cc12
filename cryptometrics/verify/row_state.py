"""What the rows of a group amount to, as a mark keeps it: later rows are checked from there."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import Any

from cryptometrics.verify.pair_rows import MarketKey, MarketState
from cryptometrics.verify.row_check import RunningExtreme, SessionTotals

_EXTREMES = ("highest_bid", "lowest_ask", "max_spread")


@dataclass(slots=True)
class RowState:
    """The state that each row of the topic changes."""

    sessions: dict[tuple[str, str, str], SessionTotals] = field(default_factory=dict)
    """By venue, pair and session."""
    markets: dict[MarketKey, MarketState] = field(default_factory=dict)
    partitions: dict[tuple[int, str], set[int]] = field(default_factory=lambda: defaultdict(set))
    """The partitions with rows of a pair, by era and pair."""

    def dump(self) -> dict[str, Any]:
        """Return the state in the types of JSON."""
        return {
            "sessions": [[*key, asdict(totals)] for key, totals in self.sessions.items()],
            "markets": [[*market, asdict(state)] for market, state in self.markets.items()],
            "partitions": [[*key, sorted(partitions)] for key, partitions in self.partitions.items()],
        }

    @classmethod
    def load(cls, dumped: dict[str, Any]) -> RowState:
        """Return the state that `dump` returned."""
        state = cls()
        for venue, pair, session, totals in dumped["sessions"]:
            extremes = {
                name: None if totals[name] is None else RunningExtreme(**totals[name]) for name in _EXTREMES
            }
            state.sessions[venue, pair, session] = SessionTotals(**totals | extremes)
        for venue, pair, market in dumped["markets"]:
            state.markets[MarketKey(venue, pair)] = MarketState(**market)
        for era, pair, partitions in dumped["partitions"]:
            state.partitions[era, pair] = set(partitions)
        return state

    def notes(self) -> list[str]:
        """Return a line for each pair in several partitions, which is right if the topic has grown."""
        return [
            f"{pair} is in partitions {', '.join(map(str, sorted(partitions)))}: right if the topic got more "
            "partitions, otherwise its producers use different partitioners"
            for (_, pair), partitions in sorted(self.partitions.items())
            if len(partitions) > 1
        ]
