"""Set a processing-time timer that holds the watermark back.

In Beam's model every timer has an output timestamp, at which it holds the watermark until it has fired. In
Java it is `withOutputTimestamp`. The `set` of Python's SDK has no parameter for it: it takes the time of what
is being processed, which is that of an element, or the wall clock's in the callback of such a timer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apache_beam.runners.worker.bundle_processor import OutputTimer

if TYPE_CHECKING:
    from apache_beam.utils.timestamp import Timestamp


def set_held(timer: Any, at: Timestamp, hold: Timestamp) -> None:
    """Let a timer fire at a time of the wall clock, and hold the watermark at `hold` until then."""
    if isinstance(timer, OutputTimer):
        timer._input_timestamp = hold
    timer.set(at)
