"""Merge the parts of each window in keyed state; write its row while it is open, at its end and when late.

Beam's own trigger over a GroupByKey would do the same, but Beam's runner for Flink keeps every part of an
open window, and sends all of them again for each pane. Here a window is one aggregate, however many parts it
has.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import msgspec
from apache_beam.coders import BytesCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Timestamp

from cryptometrics.beam.postgres_sink import Row
from cryptometrics.market.venues import Market
from cryptometrics.market.windows import Aggregate, merge

if TYPE_CHECKING:
    from collections.abc import Iterator

EARLY_S = 5
"""Seconds between two writes of an open window."""
MAX_LATE_WINDOWS = 1_000
"""How many windows of a market have a count of late ticks; the oldest are dropped first."""


class WindowState(msgspec.Struct, frozen=True):
    """A window of a market."""

    aggregate: Aggregate
    complete: bool
    """Whether the watermark has passed its end."""
    early_set: bool
    """Whether the timer of the next early write is set."""


_encode = msgspec.msgpack.Encoder(decimal_format="string").encode


class MergeWindows(beam.DoFn):  # type: ignore[misc]  # Beam has no types
    """(market, Aggregate) in its window to Row, whenever one is to be written."""

    MERGED = ReadModifyWriteStateSpec("merged", BytesCoder())
    END = TimerSpec("end", TimeDomain.WATERMARK)
    EARLY = TimerSpec("early", TimeDomain.REAL_TIME)

    def process(
        self,
        element: tuple[str, Aggregate],
        window: Any = beam.DoFn.WindowParam,
        merged: Any = beam.DoFn.StateParam(MERGED),  # noqa: B008  (Beam's way)
        end: Any = beam.DoFn.TimerParam(END),  # noqa: B008
        early: Any = beam.DoFn.TimerParam(EARLY),  # noqa: B008
    ) -> Iterator[Row]:
        """Add a part; a window that was complete is written again at once."""
        market, part = element
        known = _decoded(merged)
        if known is None:
            end.set(window.max_timestamp())
        whole = part if known is None else merge(known.aggregate, part)
        complete = known is not None and known.complete
        if complete:
            yield _row(market, window, whole, complete=True)
        elif known is None or not known.early_set:
            early.set(Timestamp.now() + EARLY_S)
        merged.write(_encode(WindowState(whole, complete, early_set=not complete)))

    @on_timer(EARLY)  # type: ignore[untyped-decorator]
    def write_early(
        self,
        market: str = beam.DoFn.KeyParam,
        window: Any = beam.DoFn.WindowParam,
        merged: Any = beam.DoFn.StateParam(MERGED),  # noqa: B008
    ) -> Iterator[Row]:
        """Write what an open window holds so far."""
        yield from _rewritten(market, window, merged, complete=False)

    @on_timer(END)  # type: ignore[untyped-decorator]
    def write_complete(
        self,
        market: str = beam.DoFn.KeyParam,
        window: Any = beam.DoFn.WindowParam,
        merged: Any = beam.DoFn.StateParam(MERGED),  # noqa: B008
    ) -> Iterator[Row]:
        """Write the window, whose end has passed."""
        yield from _rewritten(market, window, merged, complete=True)


class CountTooLate(beam.DoFn):  # type: ignore[misc]
    """(market, (start of a window, ticks)) to ("MARKET START", ticks so far), for the newest windows."""

    COUNTS = ReadModifyWriteStateSpec("counts", BytesCoder())

    def process(
        self,
        element: tuple[str, tuple[str, int]],
        counts: Any = beam.DoFn.StateParam(COUNTS),  # noqa: B008
    ) -> Iterator[tuple[str, int]]:
        """Add the ticks to those of their window."""
        market, (start, ticks) = element
        content = counts.read()
        known = {} if content is None else msgspec.msgpack.decode(content, type=dict[str, int])
        known[start] = known.get(start, 0) + ticks
        yield f"{market} {start}", known[start]
        for oldest in sorted(known)[:-MAX_LATE_WINDOWS]:
            del known[oldest]
        counts.write(msgspec.msgpack.encode(known))


def moment(timestamp: Timestamp) -> datetime:
    """Return a time of Beam's as a datetime in UTC."""
    found: datetime = timestamp.to_utc_datetime()
    return found.replace(tzinfo=UTC)


def _decoded(merged: Any) -> WindowState | None:
    content = merged.read()
    return None if content is None else msgspec.msgpack.decode(content, type=WindowState)


def _rewritten(market: str, window: Any, merged: Any, *, complete: bool) -> Iterator[Row]:
    """Yield the row of a window, unless it was already written as complete."""
    known = _decoded(merged)
    if known is not None and not known.complete:
        merged.write(_encode(WindowState(known.aggregate, complete, early_set=False)))
        yield _row(market, window, known.aggregate, complete=complete)


def _row(market: str, window: Any, aggregate: Aggregate, *, complete: bool) -> Row:
    return Row(*Market.parse(market), moment(window.start), moment(window.end), aggregate, complete)
