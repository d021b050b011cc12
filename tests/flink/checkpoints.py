"""What became of a job's checkpoints: their sizes, how long they took, and how many failed."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tests.flink.cluster import Cluster


class Checkpoint(NamedTuple):
    """A checkpoint that was completed."""

    number: int
    size: int
    """Bytes of state."""
    ms: int
    """From its trigger to its end."""


class Checkpoints(NamedTuple):
    """The checkpoints of a job so far."""

    completed: tuple[Checkpoint, ...]
    """In their order."""
    failed: int
    """Of those that began."""
    not_begun: int
    """Were due while tasks were starting; Flink counts them as failed, too."""

    @property
    def share_failed(self) -> float:
        """Of those that began, from 0 to 1."""
        return self.failed / max(self.failed + len(self.completed), 1)

    def __str__(self) -> str:
        if not self.completed:
            return f"no checkpoint completed, {self.failed} failed, {self.not_begun} not begun"
        sizes = [each.size for each in self.completed]
        times = [each.ms for each in self.completed]
        return (
            f"{len(sizes)} checkpoints completed, {self.failed} failed, "
            f"{self.not_begun} not begun as tasks were starting; "
            f"size {min(sizes):,} to {max(sizes):,} bytes; "
            f"duration {median(times):,.0f} ms (median), {max(times):,} ms (longest)"
        )


def checkpoints_of(cluster: Cluster) -> Checkpoints:
    """Return what the job manager remembers, which is a thousand checkpoints."""
    report = cluster.checkpoint_report()
    history: list[dict[str, Any]] = report.get("history", [])
    completed = [each for each in history if each["status"] == "COMPLETED"]
    failed = sum(each["status"] == "FAILED" for each in history)
    found = [Checkpoint(each["id"], each["state_size"], each["end_to_end_duration"]) for each in completed]
    return Checkpoints(tuple(sorted(found)), failed, report.get("counts", {}).get("failed", 0) - failed)
