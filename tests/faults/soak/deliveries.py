"""Whether the receivers of alerts got every notification of the outbox, at least once and in order."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.fakes.receiver import Post

Series = tuple[str, str, str]
"""Rule, venue and pair: the order is promised within it, because one process at a time writes it."""

OUTBOX = """
SELECT n.channel, n.idempotency_key::text, n.status, n.delivered_at IS NOT NULL, a.rule, a.venue, a.pair,
       CASE n.status WHEN 'firing' THEN a.message ELSE a.resolved_message END
FROM alert_notifications n JOIN alerts a ON a.id = n.alert_id WHERE n.consumer_group = %s ORDER BY n.id
"""


class Notification(NamedTuple):
    """A row of the outbox with the alert that it is about."""

    channel: str
    key: str
    status: str
    is_delivered: bool
    rule: str
    venue: str
    pair: str
    message: str

    def __str__(self) -> str:
        return f"{self.channel}: {self.status} {self.rule} {self.venue} {self.pair}"


def unmarked(outbox: Iterable[Notification]) -> list[str]:
    """Return the notifications that still wait for their delivery, in words."""
    return [f"{each} is not marked as delivered" for each in outbox if not each.is_delivered]


def missing_by_key(outbox: Sequence[Notification], posts: Iterable[Post]) -> list[str]:
    """Return the series that a webhook did not receive as the outbox has it, in words.

    A key that comes again is a duplicate; what counts is when it came first.
    """
    received = dict.fromkeys(post.key for post in _taken(posts))
    places = {key: place for place, key in enumerate(received)}
    trouble = []
    for series in _series(outbox):
        trouble += [f"{each} was not received" for each in series if each.key not in places]
        known = [each for each in series if each.key in places]
        trouble += [
            f"{later} came before its predecessor"
            for earlier, later in itertools.pairwise(known)
            if places[later.key] < places[earlier.key]
        ]
    return trouble


def missing_by_text(outbox: Sequence[Notification], posts: Iterable[Post]) -> list[str]:
    """Return what the receiver of a channel for people did not get in the order of the outbox, in words.

    A message is about one alert, or lists many. It has no key, so a duplicate looks like any other message.
    """
    due = _series(outbox)
    for post in _taken(posts):
        for series in due:
            while series and _is_about(series[0], post):
                del series[0]
    return [f"{each} was not received, or not in order" for series in due for each in series]


def _is_about(notification: Notification, post: Post) -> bool:
    title, body = post.body["title"], post.body["message"]
    status = notification.status.upper()
    alone = title.startswith(f"[{status}] ") and notification.message in body
    return alone or any(f" {status} " in line and notification.message in line for line in body.splitlines())


def _taken(posts: Iterable[Post]) -> list[Post]:
    """Return the posts that the receiver has kept, with or without an answer."""
    return [post for post in posts if post.act in ("accept", "cut")]


def _series(outbox: Iterable[Notification]) -> list[list[Notification]]:
    found: defaultdict[Series, list[Notification]] = defaultdict(list)
    for each in outbox:
        found[each.rule, each.venue, each.pair].append(each)
    return list(found.values())
