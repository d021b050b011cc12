"""What one run of `aggregate` does. Does not import Beam, so that mistakes are reported before it loads."""

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
    """Fixed windows of `size`; with `slide`, one begins every `slide`; with `gap`, session windows.

    A session ends `gap` after its last tick; the next tick begins a new one.
    """

    size: timedelta | None
    slide: timedelta | None = None
    gap: timedelta | None = None

    @property
    def grain(self) -> timedelta | None:
        """The longest spans whose ticks all lie in the same windows; None for sessions."""
        if self.size is None or self.slide is None:
            return self.size
        return gcd(self.size // MICROSECOND, self.slide // MICROSECOND) * MICROSECOND

    @property
    def name(self) -> str:
        """The default name of these windows: 5m, 5m-every-1m, gap-30s."""
        if self.gap is not None:
            return f"gap-{format_duration(self.gap)}"
        assert self.size is not None  # noqa: S101
        every = "" if self.slide is None else f"-every-{format_duration(self.slide)}"
        return format_duration(self.size) + every


def shape_of(window: timedelta | None, slide: timedelta | None, gap: timedelta | None) -> Shape:
    """Return the shape of these options; raise UserError if they contradict each other."""
    if gap is not None:
        if window is not None or slide is not None:
            raise UserError(
                "--gap makes session windows, which have no fixed length: omit --window and --slide"
            )
        return Shape(None, gap=gap)
    if window is None:
        raise UserError("give the windows with --window 5m, or with --gap 30s for sessions")
    if slide is not None and slide > window:
        raise UserError("--slide is longer than --window: ticks between two windows would be in none")
    return Shape(window, None if slide == window else slide)


def name_of(shape: Shape, into: str | None) -> str:
    """Return the name to store windows under; raise UserError if it belongs to `process`."""
    if into == MINUTES or (into is None and shape.size == MINUTE and shape.slide is None):
        raise UserError(
            f"windows named {MINUTES} belong to `process`: store these under another name with --into NAME"
        )
    return into or shape.name


@dataclass(frozen=True)
class Job:
    """One run of `aggregate`."""

    group: str
    name: str
    shape: Shape
    lateness: timedelta
    """How long after its end, by the watermark, a window accepts ticks; a bounded run ignores it."""
    since: datetime | None = None
    """First event time; `until` is the exclusive upper bound."""
    until: datetime | None = None
    follow: bool = False
    idle: float = 60.0
    """Seconds without a tick after which a partition read to its end no longer holds back the watermark."""
    continues: bool = False
    """Whether it continues from a checkpoint or savepoint of an earlier job."""
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))
    """Taken before the offsets are looked up: a bounded run completes the windows that ended by then."""
