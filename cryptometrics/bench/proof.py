"""Verify what a benchmark stored, and measure how long that takes."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptometrics.errors import CryptometricsError

if TYPE_CHECKING:
    from cryptometrics.bench.scratch import Scratch

COMMANDS = {"verify": (), "verify --topic": ("--topic",)}
"""The two commands that are measured, and their options."""

_VERIFIED = re.compile(r"verified: ([0-9,]+) offsets")


@dataclass(frozen=True)
class Proof:
    """How long `verify` took, its start included, for how many offsets."""

    offsets: int
    seconds: float
    verdict: str
    """The last line that it printed."""

    @property
    def us_per_offset(self) -> float:
        """Microseconds per offset."""
        return 1e6 * self.seconds / max(self.offsets, 1)


def measure(scratch: Scratch, group: str, command: str, topic: str | None = None) -> Proof:
    """Verify a group with one of the commands; raise CryptometricsError if anything is wrong.

    topic: that of the group, if it is not the benchmark's own.
    """
    environment = {} if topic is None else {"KAFKA_TOPIC": topic}
    begun = time.perf_counter()
    output = scratch.run("verify", "--group", group, *COMMANDS[command], environment=environment)
    seconds = time.perf_counter() - begun
    counted = _VERIFIED.search(output)
    if counted is None:
        raise CryptometricsError(f"`verify` did not say how many offsets it verified: {output.strip()}")
    return Proof(int(counted[1].replace(",", "")), seconds, output.strip().splitlines()[-1])
