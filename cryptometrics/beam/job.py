"""What `aggregate` is asked to do. Free of Beam, so that a mistake is said before Beam is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import gcd
from typing import TYPE_CHECKING

from cryptometrics.errors import UserError
from cryptometrics.market.windows import MINUTE
from cryptometrics.store.windows import MINUTES
from cryptometrics.times import MICROSECOND, format_duration

if TYPE_CHECKING:
    from datetime import timedelta


@dataclass(frozen=True)
class Shape:
    """Fixed windows of `size`; with `slide` one that long begins every so often; with `gap` sessions.

    A session ends `gap` after its last tick, and the next one begins with the first tick from then on.
    """

    size: timedelta | None
    slide: timedelta | None = None
    gap: timedelta | None = None

    @property
    def grain(self) -> timedelta | None:
        """Lengths of time whose ticks lie in the same windows, all of them; None for sessions."""
        if self.size is None or self.slide is None:
            return self.size
        return gcd(self.size // MICROSECOND, self.slide // MICROSECOND) * MICROSECOND

    @property
    def name(self) -> str:
        """What windows of this shape are called: 5m, 5m-every-1m, gap-30s."""
        if self.gap is not None:
            return f"gap-{format_duration(self.gap)}"
        assert self.size is not None  # noqa: S101
        every = "" if self.slide is None else f"-every-{format_duration(self.slide)}"
        return format_duration(self.size) + every


def shape_of(window: timedelta | None, slide: timedelta | None, gap: timedelta | None) -> Shape:
    """Return the shape that these options ask for; raise UserError where they contradict each other."""
    if gap is not None:
        if window is not None or slide is not None:
            raise UserError(
                "--gap makes session windows, which have no length: leave --window and --slide out"
            )
        return Shape(None, gap=gap)
    if window is None:
        raise UserError("give the windows with --window 5m, or with --gap 30s for sessions")
    if slide is not None and slide > window:
        raise UserError("--slide is longer than --window: ticks between two windows would be in none")
    return Shape(window, None if slide == window else slide)


def name_of(shape: Shape, into: str | None) -> str:
    """Return the name under which windows are written; raise UserError where it belongs to `process`."""
    if into == MINUTES or (into is None and shape.size == MINUTE and shape.slide is None):
        raise UserError(
            f"windows named {MINUTES} belong to `process`: write them under another one, --into NAME"
        )
    return into or shape.name


@dataclass(frozen=True)
class Job:
    """One run of `aggregate`."""

    group: str
    name: str
    shape: Shape
    lateness: timedelta
    """How long after its end, by the watermark, a window takes ticks. Of no matter to a bounded run."""
    since: datetime | None = None
    """Event times from here on, up to but without `until`."""
    until: datetime | None = None
    follow: bool = False
    idle: float = 60.0
    """Seconds without a tick after which a partition that is read to its end holds the watermark no more."""
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))
    """Before it was asked what there is to read: a bounded run has all of the windows that ended by then."""
