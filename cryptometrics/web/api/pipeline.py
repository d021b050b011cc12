"""`/api/pipeline`: how far the topic is read, what was rejected, and what the feed has missed."""

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter

from cryptometrics.store import feed_gaps
from cryptometrics.store.partition_owners import PartitionProgress, owned_partitions
from cryptometrics.store.reject_samples import RejectSample, reject_samples
from cryptometrics.store.verified_groups import LastVerified, last_verified
from cryptometrics.times import iso
from cryptometrics.web.api.parameters import Group, chosen_group
from cryptometrics.web.cache import Cache
from cryptometrics.web.rows import iso_or_none
from cryptometrics.web.shapes import (
    FeedGap,
    FeedPair,
    PartitionRow,
    PipelineAnswer,
    RejectedText,
    RejectReason,
    VerifiedGroup,
)
from cryptometrics.web.site import Site

MAX_TEXT_CHARS = 2000
"""Of a rejected message; it may have a megabyte."""
MAX_GAPS = 200
GAPS_OF = timedelta(days=1)
SHARED_S = 2.0
"""How long an answer is given to all who ask."""


def router(site: Site) -> APIRouter:
    """Return the route of the pipeline."""
    routes = APIRouter(tags=["pipeline"])
    answers: Cache[str, PipelineAnswer] = Cache(SHARED_S)

    @routes.get("/api/pipeline", summary="Partitions, rates, rejected messages and gaps")
    def pipeline(group: Group = None) -> PipelineAnswer:
        """Show the gaps of the last 24 hours, newest first, and of a rejected message 2,000 characters.

        Of a reason, at most 10,000 rejected messages are counted: then `more` is true.
        """
        with site.database.reading() as connection:
            name = chosen_group(connection, site, group)

            def compute() -> PipelineAnswer:
                now = datetime.now(UTC)
                return PipelineAnswer(
                    as_of=iso(now),
                    group=name,
                    trouble=site.poller.kafka_trouble,
                    partitions=[_partition(site, name, each) for each in owned_partitions(connection, name)],
                    rates=site.poller.pair_rates if name == site.group else {},
                    rejected=[_reason(each) for each in reject_samples(connection, name, 4 * MAX_TEXT_CHARS)],
                    gaps=[
                        _gap(each)
                        for each in _newest_gaps(feed_gaps.gaps(connection, name, since=now - GAPS_OF))
                    ],
                    feed=[_feed(each) for each in feed_gaps.by_pair(connection, name)],
                    verified=_verified(last_verified(connection, name)),
                )

            return answers.get(name, compute)

    return routes


def _verified(last: LastVerified | None) -> VerifiedGroup | None:
    return None if last is None else VerifiedGroup(at=iso(last.verified_at), with_topic=last.with_topic)


def _newest_gaps(found: list[feed_gaps.GapRow]) -> list[feed_gaps.GapRow]:
    return found[: -MAX_GAPS - 1 : -1]


def _partition(site: Site, group: str, each: PartitionProgress) -> PartitionRow:
    # Kafka is asked for the partitions of the server's own group only.
    lag = site.poller.lags.get((each.topic, each.partition)) if group == site.group else None
    return PartitionRow(
        topic=each.topic,
        partition=each.partition,
        next_offset=each.next_offset,
        end_offset=None if lag is None else each.next_offset + lag,
        lag=lag,
        owner=each.owner,
        updated_at=iso(each.updated_at),
        metrics=each.metrics,
        rejected=each.rejected,
        gaps=each.gaps,
        duplicates=each.duplicates,
        holes=each.holes,
    )


def _reason(each: RejectSample) -> RejectReason:
    text = (each.beginning or b"").decode("utf-8", "replace")
    is_whole = (each.size or 0) <= len(each.beginning or b"")
    return RejectReason(
        reason=each.reason,
        count=each.count,
        more=each.more,
        newest=RejectedText(
            id=each.id,
            at=iso(each.recorded_at),
            detail=each.detail[:MAX_TEXT_CHARS],
            text=text[:MAX_TEXT_CHARS],
            bytes=each.size,
            cut=not is_whole or len(text) > MAX_TEXT_CHARS,
        ),
    )


def _gap(each: feed_gaps.GapRow) -> FeedGap:
    return FeedGap(
        venue=each.venue,
        pair=each.pair,
        kind=each.kind,
        begins_at=iso_or_none(each.begins_at),
        ends_at=iso(each.ends_at),
        trades_missed=each.trades_missed,
    )


def _feed(each: feed_gaps.PairGaps) -> FeedPair:
    return FeedPair(
        venue=each.venue,
        pair=each.pair,
        ticks=each.ticks,
        gaps=each.gaps,
        trades_missed=each.trades_missed,
        reconnects=each.reconnects,
        longest_gap_seconds=each.longest_gap_s,
    )
