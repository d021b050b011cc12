"""Compare the figures of a portfolio with its limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from cryptometrics.risk.portfolio.definition import Limit

LimitState: TypeAlias = Literal["ok", "warn", "breach", "unknown"]


@dataclass(frozen=True, slots=True)
class LimitUse:
    """A limit, and how much of it is used."""

    limit: Limit
    value: float | None
    """The figure, in the unit of the limit; None if it is not known, or if nothing is held to measure."""
    use: float | None
    """value / limit: 1 at the limit."""
    state: LimitState
    reason: str | None = None
    """Why the state is `unknown`."""


def use_of_limit(
    limit: Limit, value: float | None, *, warn_at: float, nothing_held: bool, reason: str | None = None
) -> LimitUse:
    """Return the use of a limit: it warns from `warn_at` on and is breached at 1.

    A figure that is not known makes it `unknown`, unless nothing is held: then nothing can be lost.
    `reason` says why the figure is not known.
    """
    if value is None:
        if nothing_held:
            return LimitUse(limit, None, None, "ok")
        return LimitUse(limit, None, None, "unknown", reason)
    use = value / float(limit.level)
    state: LimitState = "breach" if use >= 1 else "warn" if use >= warn_at else "ok"
    return LimitUse(limit, value, use, state)
