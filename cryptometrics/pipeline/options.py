"""What a worker is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptometrics.alerts.rules import Rule


@dataclass(frozen=True)
class WorkerOptions:
    """What a worker is asked to do."""

    group: str
    session: str | None = None
    batch: int = 10_000
    until_caught_up: bool = False
    skip_lost: bool = False
    rules: tuple[Rule, ...] = ()
    """Of alerts."""
