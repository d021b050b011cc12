"""Turn partial aggregates into rows of `crypto_windows`, on every runner and from every source."""

from __future__ import annotations

from datetime import timedelta
from functools import reduce
from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import FixedWindows, GlobalWindows, SlidingWindows
from apache_beam.utils.timestamp import Duration, Timestamp

from cryptometrics.beam import read_counts
from cryptometrics.beam.folding import ReadCounts
from cryptometrics.beam.merge_windows import CountTooLate, MergeWindows, moment
from cryptometrics.beam.postgres_sink import Row, Write, WriteTooLate
from cryptometrics.market.venues import Market
from cryptometrics.market.windows import Aggregate, merge
from cryptometrics.times import MICROSECOND

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from apache_beam.transforms.window import WindowFn

    from cryptometrics.beam.folding import PartialAggregate
    from cryptometrics.beam.job import Job, Shape

TOO_LATE = "too_late"


class ToRows(beam.PTransform):  # type: ignore[misc]  # Beam has no types
    """(market, PartialAggregate) to Row: assign windows, drop what is too late, merge, make panes."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job
        self.too_late: Any = None
        """When following: ("MARKET START", ticks dropped so far)."""

    def expand(self, parts: Any) -> Any:
        """Return the rows; when following, one whenever a window has changed."""
        job = self._job
        if job.shape.gap is not None:
            sessions = beam.ParDo(MergeSessions(job))
            return parts | "gather" >> beam.GroupByKey() | "sessions" >> sessions
        lateness = job.lateness if job.follow else timedelta()
        taken = parts | "windows" >> beam.WindowInto(
            window_fn(job.shape), allowed_lateness=Duration(lateness.total_seconds())
        )
        if job.since is not None or job.until is not None:
            taken = taken | "uncut" >> beam.ParDo(Uncut(job))
        if not job.follow:
            return (
                taken
                | "all" >> beam.MapTuple(lambda market, part: (market, part.aggregate))
                | "merge" >> beam.CombinePerKey(Merge())
                | "rows" >> beam.ParDo(AsRow(job))
            )
        # With its type, a key is a string for the runner, too, which must find its state again.
        keyed = tuple[str, Any]
        check = beam.ParDo(NotTooLate(job.lateness)).with_output_types(keyed, **{TOO_LATE: keyed})
        decided = taken | "not too late" >> check.with_outputs(TOO_LATE, main="taken")
        self.too_late = (
            decided[TOO_LATE]
            | "for ever" >> beam.WindowInto(GlobalWindows())
            | "count" >> beam.ParDo(CountTooLate())
        )
        return decided.taken | "merge" >> beam.ParDo(MergeWindows())


class Windows(beam.PTransform):  # type: ignore[misc]
    """(market, PartialAggregate) to rows in PostgreSQL."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    def expand(self, parts: Any) -> Any:
        """Aggregate and write."""
        job, to_rows = self._job, ToRows(self._job)
        rows = parts | "aggregate" >> to_rows
        if to_rows.too_late is not None:
            to_rows.too_late | "write too late" >> beam.ParDo(WriteTooLate(job.group, job.name))
        return rows | "write" >> beam.ParDo(Write(job.group, job.name, keep_larger=not job.follow))


def window_fn(shape: Shape) -> WindowFn:
    """Return Beam's windows of a shape with a size."""
    assert shape.size is not None  # noqa: S101
    if shape.slide is None:
        return FixedWindows(_duration(shape.size))
    return SlidingWindows(_duration(shape.size), _duration(shape.slide))


class MergeSessions(beam.DoFn):  # type: ignore[misc]
    """(market, all its parts) to one Row per session; Beam's own sessions take quadratic time."""

    def __init__(self, job: Job) -> None:
        assert job.shape.gap is not None  # noqa: S101
        self._gap = job.shape.gap
        self._job = job

    def process(self, element: tuple[str, Iterable[PartialAggregate]]) -> Iterator[Row]:
        """Sort the parts by their first ticks, and merge those that begin within the gap."""
        market, parts = element
        since, until = self._job.since, self._job.until
        for session in self._merged(parts):
            begin, end = session.opened[0], session.closed[0] + self._gap
            # Unread ticks beyond the bounds may belong to the session.
            if (since is not None and begin - since < self._gap) or (until is not None and end > until):
                continue
            yield Row(*Market.parse(market), begin, end, session, complete=end <= self._job.begun)

    def _merged(self, parts: Iterable[PartialAggregate]) -> Iterator[Aggregate]:
        session: Aggregate | None = None
        for part in sorted((part.aggregate for part in parts), key=lambda part: part.opened):
            if session is not None and part.opened[0] - session.closed[0] < self._gap:
                session = merge(session, part)
                continue
            if session is not None:
                yield session
            session = part
        if session is not None:
            yield session


class Uncut(beam.DoFn):  # type: ignore[misc]
    """Passes on parts of windows that no bound cuts; of the others some ticks are not read."""

    def __init__(self, job: Job) -> None:
        self._since = None if job.since is None else Timestamp.from_utc_datetime(job.since)
        self._until = None if job.until is None else Timestamp.from_utc_datetime(job.until)

    def process(
        self,
        element: tuple[str, PartialAggregate],
        window: Any = beam.DoFn.WindowParam,
    ) -> Iterator[tuple[str, PartialAggregate]]:
        """Decide for one window of a part."""
        begins_before = self._since is not None and window.start < self._since
        ends_after = self._until is not None and window.end > self._until
        if not begins_before and not ends_after:
            yield element


class NotTooLate(beam.DoFn):  # type: ignore[misc]
    """Drops and counts what its window no longer takes: (market, PartialAggregate) to (market, Aggregate).

    A runner would drop it without a word. Its watermark is never ahead of the one that the reader gave with
    the part, so nothing that passes here is dropped there.
    """

    def __init__(self, lateness: timedelta) -> None:
        self._lateness = _duration(lateness)
        self._dropped = Metrics.counter("aggregate", "too_late")

    def process(
        self,
        element: tuple[str, PartialAggregate],
        window: Any = beam.DoFn.WindowParam,
    ) -> Iterator[Any]:
        """Decide for one window of a part."""
        market, part = element
        if part.watermark is not None:
            watermark = Timestamp.from_utc_datetime(part.watermark)
            if window.end + self._lateness <= watermark:
                self._dropped.inc(part.aggregate.ticks)
                read_counts.add(ReadCounts(too_late=part.aggregate.ticks))
                yield beam.pvalue.TaggedOutput(
                    TOO_LATE, (market, (moment(window.start).isoformat(), part.aggregate.ticks))
                )
                return
        yield market, part.aggregate


class Merge(beam.CombineFn):  # type: ignore[misc]
    """`windows.merge`, which is commutative and associative."""

    def create_accumulator(self) -> Aggregate | None:
        """Return None, the aggregate of no ticks."""
        return None

    def add_input(self, accumulator: Aggregate | None, part: Aggregate) -> Aggregate:
        """Merge a part."""
        return part if accumulator is None else merge(accumulator, part)

    def merge_accumulators(self, accumulators: Iterable[Aggregate | None]) -> Aggregate | None:
        """Merge them all."""
        parts = [part for part in accumulators if part is not None]
        return reduce(merge, parts) if parts else None

    def extract_output(self, accumulator: Aggregate | None) -> Aggregate | None:
        """Return the merged aggregate."""
        return accumulator


class AsRow(beam.DoFn):  # type: ignore[misc]
    """(market, Aggregate) to Row, in a bounded run. A window without ticks has no row."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def process(
        self,
        element: tuple[str, Aggregate | None],
        window: Any = beam.DoFn.WindowParam,
    ) -> Iterator[Row]:
        """Add the window's bounds, and whether it had ended when the run began."""
        market, aggregate = element
        if aggregate is not None:
            end = moment(window.end)
            yield Row(
                *Market.parse(market), moment(window.start), end, aggregate, complete=end <= self._job.begun
            )


def _duration(length: timedelta) -> Duration:
    return Duration(micros=length // MICROSECOND)
