"""What a worker remembers of the partitions it owns: how far they are calculated, their pairs and sessions.

It runs ahead of the database by the batches in flight; when one of those fails, all of it is dropped and read
again, so it may change in place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptometrics.market.metrics import Session
    from cryptometrics.market.trade_ids import TradeIds
    from cryptometrics.store.batch_transaction import PairState


@dataclass(slots=True, eq=False)
class Pair:
    """What is known of a pair: its newest quote, its trades, its sessions in use."""

    name: str
    stored: PairState | None
    """As of the newest batch calculated; None before the first."""
    trade_ids: TradeIds
    sessions: dict[str, Session | None] = field(default_factory=dict)
    """None: the session has no tick yet."""


@dataclass(slots=True, eq=False)
class Owned:
    """A partition that this worker may write, and how far it has been calculated."""

    partition: int
    epoch: int
    next_offset: int
    pairs: dict[str, Pair] = field(default_factory=dict)
