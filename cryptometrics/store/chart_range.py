"""Find the sessions and the time range of a market, a pair at its venue, that a chart shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from cryptometrics.errors import UserError
from cryptometrics.market.venues import Market
from cryptometrics.store.stored_sessions import SessionRow, no_ticks, pair_sessions, place, sessions
from cryptometrics.text import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import psycopg

T = TypeVar("T")


class SilentPairsError(UserError):
    """Pairs have ticks, but none in the range."""

    def __init__(self, pairs: Sequence[str], within: str, first_at: datetime, last_at: datetime) -> None:
        """Explain it; within: a session, group and venue; first_at, last_at: of the ticks stored there."""
        super().__init__(
            f"no ticks of {listed(pairs)} in {within} in that range; "
            f"stored ticks go from {first_at:%Y-%m-%d %H:%M:%S} to {last_at:%Y-%m-%d %H:%M:%S} UTC"
        )
        self.pairs, self.within, self.first_at, self.last_at = tuple(pairs), within, first_at, last_at

    @classmethod
    def of_all(cls, errors: Sequence[SilentPairsError]) -> SilentPairsError:
        """Return one error for the pairs of several."""
        return cls(
            [pair for error in errors for pair in error.pairs],
            errors[0].within,
            min(error.first_at for error in errors),
            max(error.last_at for error in errors),
        )


class ChartRange(NamedTuple):
    """What a chart of a market shows."""

    market: Market
    sessions: list[SessionRow]
    """The sessions that overlap the range, newest first."""
    all_sessions: list[SessionRow]
    """All sessions of the market, newest first."""
    start: datetime
    end: datetime
    silence: SilentPairsError
    """To be raised if the range has no ticks."""


def chart_range(
    connection: psycopg.Connection,
    group: str,
    market: Market,
    *,
    session: str | None,
    since: datetime | None,
    until: datetime | None,
) -> ChartRange:
    """Return what a chart shows: by default the newest session, else a range.

    The range includes both ends and is cut to the stored data. Raises UserError if the pair has no ticks
    at the venue, or none in `session`, and SilentPairsError if no session overlaps the range.
    """
    venue, pair = market
    every = pair_sessions(connection, group, venue=venue, pairs=[pair])
    allowed = [row for row in every if session in (None, row.session)]
    if not allowed:
        raise no_ticks(connection, group, [pair], session, venue=venue)
    silence = SilentPairsError(
        [pair],
        f"session {session} of {place(group, venue)}" if session else place(group, venue),
        min(row.first_at for row in allowed),
        max(row.last_at for row in allowed),
    )
    if since is None and until is None:
        allowed = allowed[:1]
    chosen = [
        row
        for row in allowed
        if (until is None or row.first_at <= until) and (since is None or row.last_at >= since)
    ]
    if not chosen:
        raise silence
    start = max(filter(None, (since, min(row.first_at for row in chosen))))
    end = min(filter(None, (until, max(row.last_at for row in chosen))))
    return ChartRange(market, chosen, every, start, end, silence)


def pairs_with_sessions(
    connection: psycopg.Connection,
    group: str,
    venue: str,
    pairs: Sequence[str],
    *,
    session: str | None,
    since: datetime | None,
    until: datetime | None,
) -> tuple[list[Market], list[SilentPairsError]]:
    """Return the markets of a venue with a session in the range, and an error for each of the others.

    pairs: by default those of the newest session, and with a range all pairs of the venue. Raises UserError
    if a pair that is named has no ticks at all.
    """
    if not pairs and session is None and (since is not None or until is not None):
        pairs = sorted({row.pair for row in pair_sessions(connection, group, venue=venue)})
    elif not pairs:
        pairs = [row.pair for row in sessions(connection, group, venue=venue, session=session)]
    return _sort_out(
        [Market(venue, pair) for pair in pairs],
        lambda market: (
            chart_range(connection, group, market, session=session, since=since, until=until).market
        ),
    )


def load_each(
    markets: Sequence[Market], silent: Sequence[SilentPairsError], load: Callable[[Market], T]
) -> tuple[list[T], list[str]]:
    """Load each of the markets; return what was loaded, and the pairs that are silent, sorted.

    silent: errors of markets that need no loading. Raises SilentPairsError if nothing was loaded.
    """
    loaded, errors = _sort_out(markets, load)
    errors = [*silent, *errors]
    if not loaded:
        raise SilentPairsError.of_all(errors)
    return loaded, sorted(pair for error in errors for pair in error.pairs)


def _sort_out(
    markets: Sequence[Market], load: Callable[[Market], T]
) -> tuple[list[T], list[SilentPairsError]]:
    """Load each of the markets; return what was loaded, and the errors of those that are silent."""
    loaded: list[T] = []
    silent: list[SilentPairsError] = []
    for market in markets:
        try:
            loaded.append(load(market))
        except SilentPairsError as error:
            silent.append(error)
    return loaded, silent
