"""Send every partition to its reader once, and keep the time of the pipeline from ending.

The partitions are all that is ever sent. Behind the last element of an input a runner moves the watermark to
the end of time, where it ends the global window with its state, and Flink's runner drops the timers that
would go on reading. So this is a source that is never done: it pauses for years, with its watermark before
that end.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.utils.timestamp import Duration, Timestamp

from cryptometrics.beam.offset_ranges import NO_END

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.beam.offset_ranges import TopicShare

    Partitions = list[tuple[int, TopicShare]]

PAUSE_S = 10 * 365 * 24 * 60 * 60
"""Long enough that the runner stores a pause once."""
FAR_FUTURE = Timestamp(253_370_764_800)
"""The year 9999: before the end of time, and later ones are not valid in Protocol Buffers."""


class _Steps(RestrictionProvider):  # type: ignore[misc]  # Beam has no types
    """Number the pauses: a restriction begins at the next one. The partitions are sent before pause 0."""

    def initial_restriction(self, _element: Partitions) -> OffsetRange:
        """Return all of them."""
        return OffsetRange(0, NO_END)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        """Return the tracker of a restriction."""
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, _element: Partitions, _restriction: OffsetRange) -> float:
        """Return 1: there is never a backlog."""
        return 1.0

    def truncate(self, _element: Partitions, _restriction: OffsetRange) -> None:
        """End when a pipeline is drained."""


class BeginPartitions(beam.DoFn):  # type: ignore[misc]
    """Lists of (key, TopicShare) to (key, TopicShare)."""

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        element: Partitions,
        tracker: Any = beam.DoFn.RestrictionParam(_Steps()),  # noqa: B008  (Beam's way)
        estimator: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),  # noqa: B008
    ) -> Iterator[tuple[int, TopicShare]]:
        """Yield the partitions before the first pause, and pause."""
        step = tracker.current_restriction().start
        if not tracker.try_claim(step):
            return
        if step == 0:
            yield from element
        with contextlib.suppress(ValueError):  # it is there already
            estimator.set_watermark(FAR_FUTURE)
        tracker.defer_remainder(Duration(PAUSE_S))
