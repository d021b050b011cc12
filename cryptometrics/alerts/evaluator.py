"""From ticks, in the order of the topic, to the alerts that begin and end with them. Pure.

How the ticks are cut into batches changes nothing, nor does it to go on later from what was saved: all that
the future depends on is in the saved standings and the time of each pair's newest tick.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from cryptometrics.alerts.meters import Quote, Run, Share, meter_of
from cryptometrics.alerts.rule_state import Saved, Standing, Transition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from cryptometrics.alerts.rules import Rule

CLOCK = ""
"""The name under which a pair's clock is saved among its rules, where it differs from its newest tick."""
MOST_BEHIND = 100
"""Ticks in a row that may be older than the newest before they are taken for the present: a time in the
future, or data that is replayed, would silence a pair else."""


class Record(NamedTuple):
    """A record of the topic, as the rules about rejected ones see it."""

    partition: int
    offset: int
    time: datetime | None
    """When Kafka got it: a rejected tick has no time of its own to rely on."""
    rejected: bool


class Gap(NamedTuple):
    """What the live feed missed of a pair, as a record of the topic tells."""

    pair: str
    time: datetime
    trades: int | None
    """How many; None where that is not known."""
    partition: int
    offset: int


class Past(NamedTuple):
    """What is stored of a pair or partition: the time of its newest tick, and how its rules stand."""

    newest: datetime | None
    saved: Mapping[str, Saved]


class _Subject:
    """A pair, or a partition, with its rules and its clock."""

    def __init__(self, name: str, partition: int, rules: Iterable[Rule], past: Past) -> None:
        self.name, self.partition = name, partition
        # Nobody else keeps a partition's newest time, so there it stays unset, and the clock is saved.
        self._is_pair = name != subject_of(partition)
        self.newest = self.at = past.newest
        """The time of the newest tick, and the one that counts as now: the same, but after a turn back."""
        self.behind = 0
        if CLOCK in past.saved and (memory := past.saved[CLOCK].memory):
            self.at, self.behind = past.saved[CLOCK].since or self.newest, json.loads(memory)
        self.rules = [_Judged(rule, name, past.saved.get(rule.name)) for rule in rules]
        self._stored = dict(past.saved)

    def passes(self, time: datetime) -> bool:
        """Whether a tick of this time is one of the present, to which the clock is then set."""
        if self.at is None or time >= self.at:
            self.at, self.behind = time, 0
            if self._is_pair and (self.newest is None or time > self.newest):
                self.newest = time
            return True
        self.behind += 1
        if self.behind < MOST_BEHIND:
            return False
        self.at, self.behind = time, 0
        for judged in self.rules:
            judged.turn_back(time)
        return True

    def news(self) -> dict[tuple[str, str], Saved]:
        """Return what has changed since the last time, to be stored."""
        now = {judged.standing.rule.name: judged.saved() for judged in self.rules}
        now[CLOCK] = self._clock()
        changed = {name: saved for name, saved in now.items() if self._stored.get(name, _NEW) != saved}
        self._stored |= changed
        return {(name, self.name): saved for name, saved in changed.items()}

    def _clock(self) -> Saved:
        differs = self.at != self.newest
        if not differs and not self.behind:
            return _NEW
        return Saved("inactive", self.at if differs else None, None, json.dumps(self.behind))


_NEW = Saved("inactive", None, None, None)


class _Judged:
    """A rule on a pair or partition: how it stands and what measures it."""

    def __init__(self, rule: Rule, name: str, saved: Saved | None) -> None:
        self.standing = Standing(rule, name, saved)
        self.meter = None if rule.kind in ("gap", "rejected_pct") else meter_of(rule)
        self.share = Share(rule) if rule.kind == "rejected_pct" else None
        if saved is not None and saved.memory:
            kind, memory = json.loads(saved.memory)
            if kind == self._kind:  # else the rule of this name has become another one
                self._keeper.restore(memory)

    def turn_back(self, at: datetime) -> None:
        self.standing.turn_back(at)
        if self._keeper is not None:
            self._keeper.turn_back(at)

    def saved(self) -> Saved:
        memory = self._keeper.memory() if self._keeper is not None else None
        return self.standing.saved(None if memory is None else json.dumps([self._kind, memory]))

    @property
    def _keeper(self) -> Any:
        return self.meter or self.share

    @property
    def _kind(self) -> str:
        rule = self.standing.rule
        return f"{rule.kind} {rule.within.total_seconds():g}"


class Evaluator:
    """Judges what comes, and hands out what has changed. Pairs are made known to it when they first come."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._pair_rules = [rule for rule in rules if rule.kind not in ("stale", "rejected_pct")]
        self._partition_rules = [rule for rule in rules if rule.kind == "rejected_pct"]
        self._subjects: dict[str, _Subject] = {}
        self._touched: dict[str, _Subject] = {}
        self._transitions: list[Transition] = []

    @property
    def judges_pairs(self) -> bool:
        """Whether any rule is about quotes or gaps."""
        return bool(self._pair_rules)

    @property
    def judges_records(self) -> bool:
        """Whether any rule is about rejected ticks."""
        return bool(self._partition_rules)

    def unknown(self, names: Iterable[str]) -> set[str]:
        """Return which pairs and partitions are to be recalled first."""
        return {name for name in names if name not in self._subjects}

    def recall(self, name: str, partition: int, past: Past) -> None:
        """Make a pair, or a partition under its `subject_of`, known as it is stored."""
        if name == subject_of(partition):
            rules = self._partition_rules
        else:
            rules = [rule for rule in self._pair_rules if rule.covers(name)]
        self._subjects[name] = _Subject(name, partition, rules, past)

    def drop(self, partitions: Iterable[int]) -> None:
        """Forget what belongs to these partitions."""
        gone = set(partitions)
        self._subjects = {n: each for n, each in self._subjects.items() if each.partition not in gone}

    def drop_all(self) -> None:
        """Forget everything, also what was not taken yet."""
        self._subjects.clear()
        self._touched.clear()
        self._transitions.clear()

    def quote(self, quote: Quote) -> None:
        """Judge a tick of a pair that is known."""
        subject = self._subjects[quote.pair]
        if not subject.rules:
            return
        self._touched[quote.pair] = subject
        if not subject.passes(quote.time):
            return
        for judged in subject.rules:
            standing, meter = judged.standing, judged.meter
            if meter is None:
                if standing.state == "firing":  # a gap: the feed is back
                    self._transitions.append(
                        standing.resolve(quote.time, None, quote.partition, quote.offset)
                    )
                continue
            news = standing.see(quote.time, meter.measure(quote), quote.partition, quote.offset)
            if news is not None:
                self._transitions.append(news)
                if not news.firing:
                    meter.resolved(quote)

    def pass_over(self, run: Run) -> bool:
        """Take note of ticks of a known pair that change nothing for sure; return False where they may.

        Then nothing has been noted, and they are to be judged one by one.
        """
        subject = self._subjects[run.pair]
        if not subject.rules:
            return True
        if not run.in_order or (subject.at is not None and run.first < subject.at):
            return False
        for judged in subject.rules:
            standing, meter = judged.standing, judged.meter
            if standing.state != "inactive" or (
                meter is not None and not meter.calm(run, float(standing.rule.level))
            ):
                return False
        for judged in subject.rules:
            if judged.meter is not None:
                judged.meter.pass_over(run)
        subject.passes(run.last)
        self._touched[run.pair] = subject
        return True

    def gap(self, gap: Gap) -> None:
        """Judge a gap of a pair that is known."""
        subject = self._subjects[gap.pair]
        for judged in subject.rules:
            standing = judged.standing
            if judged.meter is not None or standing.state == "firing":
                continue
            self._touched[gap.pair] = subject
            if (gap.trades is None or gap.trades > standing.rule.level) and standing.cooled_down(gap.time):
                trades = None if gap.trades is None else Decimal(gap.trades)
                self._transitions.append(standing.fire(gap.time, trades, gap.partition, gap.offset))

    def record(self, record: Record) -> None:
        """Judge a record of a partition that is known."""
        subject = self._subjects[subject_of(record.partition)]
        self._touched[subject.name] = subject
        if record.time is not None:
            subject.passes(record.time)
        if (at := subject.at) is None:
            return  # there is no time to count it under
        for judged in subject.rules:
            assert judged.share is not None  # noqa: S101  (a partition has no other rules)
            share = judged.share.count(at, rejected=record.rejected)
            news = judged.standing.see(at, share, record.partition, record.offset)
            if news is not None:
                self._transitions.append(news)

    def take(self) -> tuple[list[Transition], dict[tuple[str, str], Saved]]:
        """Return, once, what has changed: transitions, and (rule, pair) → how it stands now."""
        transitions, self._transitions = self._transitions, []
        touched, self._touched = self._touched, {}
        saved: dict[tuple[str, str], Saved] = {}
        for subject in touched.values():
            saved |= subject.news()
        return transitions, saved


def subject_of(partition: int) -> str:
    """Return what stands in place of the pair where a rule is about a partition; no pair is called so."""
    return f"partition {partition}"
