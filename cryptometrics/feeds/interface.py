"""The interface of a feed: what `ingest`, `record` and `replay` need of an exchange.

To add an exchange, put a folder beside `coinbase` with a `Feed`, which turns frames into messages that
`market.tick_decoder` reads, and a `FeedClient`, which receives them; then add both to `feeds/registry.py`.
docs/feeds.md says what a feed has to declare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Mapping

    from cryptometrics.feeds.connectivity import Connectivity
    from cryptometrics.feeds.quality import Quality
    from cryptometrics.kafka.publisher import Message
    from cryptometrics.market.gap_records import GapKind


DEFAULT_FEED = "coinbase"
"""The feed of a command without --feed, and of a recording that names none."""


class Feed(Protocol):
    """Turns frames of an exchange into messages for the topic: ticks and gap records. Pure.

    Times are seconds since the epoch. Each method returns the messages that follow from its call.
    """

    venue: str
    """The venue of its messages; `market.venues` has the rule for names."""
    frames: int
    """Frames taken so far."""
    ignored: Counter[str]
    """Frames without use, by reason."""

    @property
    def quality(self) -> Mapping[str, Quality]:
        """Pair → the quality of its data."""

    def take(self, frame: bytes, at: float, connection: int = 0) -> list[Message]:
        """Take a frame received at this time over this connection; use it, or ignore and count it.

        Raises nothing.
        """

    def lost(self, pairs: Iterable[str], kind: GapKind, now: float, connection: int = 0) -> list[Message]:
        """Record that these pairs are no longer received over this connection."""

    def end(self, now: float) -> list[Message]:
        """Report the gaps that are certain at the end."""

    def shifted(self, frame: bytes, clock: Callable[[float], float]) -> bytes:
        """Return a frame with its event time mapped by `clock`."""


class FeedClient(Protocol):
    """Receives frames over the network for a feed."""

    connectivity: Connectivity
    """Whether it is connected."""

    async def run(self, stop: Callable[[], bool], tend: Callable[[], None]) -> None:
        """Receive until `stop` returns true; call `tend` all the time.

        Raises ServiceUnavailableError if nothing came.
        """
