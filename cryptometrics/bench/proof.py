"""Verify everything that a benchmark stored, and measure how long it takes."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptometrics.bench.backlog import GROUP
from cryptometrics.errors import CryptometricsError

if TYPE_CHECKING:
    from cryptometrics.bench.scratch import Scratch

LIMIT_S = 3600.0

_OFFSETS = """
SELECT coalesce(sum(next_offset - first_offset), 0)::bigint FROM consumer_offsets WHERE consumer_group = %s
"""


@dataclass(frozen=True)
class Proof:
    """What `verify` found, and the seconds it took, its start included."""

    offsets: int
    seconds: float
    seconds_with_topic: float
    verdict: str
    """The last line of `verify --topic`."""

    @property
    def us_per_offset(self) -> float:
        """Microseconds per offset."""
        return 1e6 * self.seconds / max(self.offsets, 1)

    @property
    def us_per_offset_with_topic(self) -> float:
        """Microseconds per offset with `--topic`."""
        return 1e6 * self.seconds_with_topic / max(self.offsets, 1)


def measure(scratch: Scratch) -> Proof:
    """Run `verify` without and with `--topic`; raise CryptometricsError if anything is wrong."""
    row = scratch.connection.execute(_OFFSETS, [GROUP]).fetchone()
    seconds, _ = _verify(scratch)
    with_topic, verdict = _verify(scratch, "--topic")
    return Proof(int(row[0]) if row else 0, seconds, with_topic, verdict)


def _verify(scratch: Scratch, *options: str) -> tuple[float, str]:
    """Return the seconds it took, and the last line of its output."""
    begun = time.monotonic()
    try:
        done = subprocess.run(
            scratch.command("verify", "--group", GROUP, *options),
            env=scratch.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        raise CryptometricsError(f"`verify` did not finish in {LIMIT_S:g} s") from None
    lines = (done.stdout.strip() or done.stderr.strip() or "no output").splitlines()
    if done.returncode:
        raise CryptometricsError(f"`verify` ended with exit code {done.returncode}: {lines[-1]}")
    return time.monotonic() - begun, lines[-1]
