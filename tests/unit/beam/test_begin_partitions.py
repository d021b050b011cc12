"""The partitions are sent once, and then their source pauses for ever."""

from __future__ import annotations

import pytest
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.runners.sdf_utils import RestrictionTrackerView, ThreadsafeRestrictionTracker
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp

from cryptometrics.beam import offset_ranges
from cryptometrics.beam.begin_partitions import PAUSE_S, BeginPartitions

pytestmark = pytest.mark.filterwarnings("ignore")  # Beam's imports warn of their own

PARTITIONS = [
    (key, offset_ranges.TopicShare("t", (offset_ranges.OffsetRange(partition, 0, offset_ranges.NO_END),)))
    for partition, key in enumerate((5, 3))
]


def test_they_are_sent_before_the_first_pause_only() -> None:
    restriction, estimator = OffsetRange(0, offset_ranges.NO_END), ManualWatermarkEstimator(None)
    for expected in (PARTITIONS, [], []):
        tracker = ThreadsafeRestrictionTracker(OffsetRestrictionTracker(restriction))
        sent = BeginPartitions().process(PARTITIONS, RestrictionTrackerView(tracker), estimator)
        assert list(sent) == expected
        left, pause = tracker.deferred_status()
        restriction = left
        assert PAUSE_S - 1 < pause.micros / 1_000_000 <= PAUSE_S
        # The global window has not ended, and no tick is held back.
        assert Timestamp.now() < estimator.current_watermark() < GlobalWindow().max_timestamp()
    assert restriction == OffsetRange(3, offset_ranges.NO_END)
