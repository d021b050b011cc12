"""The options of a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptometrics.config.latency import DEFAULT_LATENCY_S

if TYPE_CHECKING:
    from cryptometrics.alerts.channels import Channel
    from cryptometrics.alerts.rules import Rule


@dataclass(frozen=True)
class WorkerOptions:
    """The options of `process` that each worker gets."""

    group: str
    session: str | None = None
    """Name of the one session; None begins a session per UTC day."""
    batch: int = 10_000
    """Maximum number of messages in a batch."""
    until_caught_up: bool = False
    """End once everything that the topic held at the start is stored."""
    skip_lost: bool = False
    """Continue after records that Kafka deleted unread; otherwise they are an error."""
    rules: tuple[Rule, ...] = ()
    """Alert rules."""
    channels: tuple[Channel, ...] = ()
    """Whom alerts are sent to, besides the webhook."""
    latency: float = DEFAULT_LATENCY_S
    """Seconds that a tick may wait for company, from its arrival in Kafka."""

    @property
    def budget(self) -> float:
        """Seconds that a tick of this run may wait; the end of a backlog has no company to wait for."""
        return 0.0 if self.until_caught_up else self.latency

    def names(self) -> list[str]:
        """Return the names that people chose and that the database must store as they are."""
        return [self.group] if self.session is None else [self.group, self.session]
