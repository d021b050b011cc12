"""Start each reader once, also when a pipeline is restored from a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.coders import VarIntCoder
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.beam.offset_ranges import TopicShare


class BeginOnce(beam.DoFn):  # type: ignore[misc]  # Beam has no types
    """Lets each reader begin once: (number, TopicShare) to TopicShare.

    Flink's runner may repeat the start of a pipeline when it restores a checkpoint. The checkpoint already
    contains the readers, further on; starting them again would count every tick twice.
    """

    BEGUN = ReadModifyWriteStateSpec("begun", VarIntCoder())

    def process(
        self,
        element: tuple[int, TopicShare],
        begun: Any = beam.DoFn.StateParam(BEGUN),  # noqa: B008  (Beam's way)
    ) -> Iterator[TopicShare]:
        """Yield a share the first time."""
        _, share = element
        if begun.read() is None:
            begun.write(1)
            yield share
