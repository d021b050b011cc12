"""Make a `TickTable` of messages, for tests that do not care where in the topic they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cryptometrics.market.table_decoder import decode

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from cryptometrics.market.table import TickTable
    from cryptometrics.market.tick_decoder import RejectedError


def decode_messages(
    messages: Iterable[tuple[bytes | None, bytes | None]],
    now: datetime,
    *,
    partition: int = 0,
    first: int = 0,
    step: int = 1,
) -> tuple[TickTable, dict[int, RejectedError]]:
    """Decode keys and values as records of one partition, at offsets `first`, `first + step`, …"""
    pairs = list(messages)
    offsets = first + step * np.arange(len(pairs))
    keys, values = [key for key, _ in pairs], [value for _, value in pairs]
    return decode(keys, values, np.full(len(pairs), partition), offsets, now)
