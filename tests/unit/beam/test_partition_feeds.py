"""Which consumers a worker process keeps, and when it closes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from cryptometrics.beam.partition_feeds import MAX_UNUSED_S, PartitionFeed, PartitionFeeds
from cryptometrics.beam.trade_memory import TradeMemory
from cryptometrics.beam.watermark import Watermark

if TYPE_CHECKING:
    import pytest


class Closable:
    """A consumer, as far as this is about."""

    closed = False

    def close(self) -> None:
        self.closed = True


def feed(turn: str, address: str = "k:1") -> PartitionFeed:
    watermark = Watermark([0], datetime(2026, 7, 1, tzinfo=UTC), timedelta(seconds=60))
    return PartitionFeed(cast("Any", Closable()), address, watermark, TradeMemory(), 0, turn)


def is_closed(its: PartitionFeed) -> bool:
    return bool(cast("Any", its.consumer).closed)


def test_it_is_given_out_once_and_only_for_the_state_that_it_belongs_to() -> None:
    feeds = PartitionFeeds()
    for turn, address, found in (("1", "k:1", True), ("0", "k:1", False), ("1", "k:2", False)):
        its = feed("1")
        feeds.keep(("t", 0), its)
        assert feeds.take(("t", 0), turn, address) is (its if found else None)
        assert is_closed(its) is not found
        assert feeds.take(("t", 0), turn, address) is None


def test_a_partition_that_is_read_elsewhere_by_now_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    feeds, moved = PartitionFeeds(), feed("1")
    feeds.keep(("t", 0), moved)
    feeds.keep(("t", 1), feed("2"))
    now = MAX_UNUSED_S
    feeds.keep(("t", 1), feed("3"))
    assert not is_closed(moved)
    now += 1
    feeds.keep(("t", 1), feed("4"))
    assert is_closed(moved)
