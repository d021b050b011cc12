"""The options of a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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

    def names(self) -> list[str]:
        """Return the names that people chose and that the database must store as they are."""
        return [self.group] if self.session is None else [self.group, self.session]
