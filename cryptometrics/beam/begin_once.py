"""What a restored pipeline must not do again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.coders import VarIntCoder
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptometrics.beam.kafka_source import Reader


class Once(beam.DoFn):  # type: ignore[misc]  # Beam has no types
    """Lets each reader begin once: (number, Reader) to Reader.

    Flink's runner may send the beginning of a pipeline once more when it restores a checkpoint. The readers
    are in the checkpoint already, further on: to begin them again would count everything twice.
    """

    BEGUN = ReadModifyWriteStateSpec("begun", VarIntCoder())

    def process(
        self,
        element: tuple[int, Reader],
        begun: Any = beam.DoFn.StateParam(BEGUN),  # noqa: B008  (Beam's way)
    ) -> Iterator[Reader]:
        """Yield it the first time."""
        _, reader = element
        if begun.read() is None:
            begun.write(1)
            yield reader
