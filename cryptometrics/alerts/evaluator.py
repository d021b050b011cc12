"""Evaluate rules on ticks in topic order: alerts that fire and alerts that resolve. Pure.

The result does not depend on how the ticks are cut into batches, nor on restarts: everything that later
evaluation needs is in the saved states and in the time of each market's newest tick.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple, assert_never

from cryptometrics.alerts.kinds import OnFigures, OnGaps, OnQuotes, OnRecords, OnSilence
from cryptometrics.alerts.rule_state import RuleState, SavedState, Transition
from cryptometrics.market.venues import Market

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from cryptometrics.alerts.meters import Meter, RejectedShare
    from cryptometrics.alerts.observed_ticks import Quote, TickRun
    from cryptometrics.alerts.rules import Rule

CLOCK = ""
"""Rule name under which a market's clock is saved if it differs from the market's newest tick."""
MAX_BEHIND = 100
"""Consecutive older ticks after which the clock is reset. Otherwise one timestamp in the future, or a replay,
would mute the market."""


class ObservedRecord(NamedTuple):
    """A record of the topic, as rules about rejected ticks see it."""

    partition: int
    offset: int
    time: datetime | None
    """Kafka's timestamp, because a rejected tick has no reliable time of its own."""
    rejected: bool


class ObservedGap(NamedTuple):
    """A gap record of a market, as rules about gaps see it."""

    market: Market
    time: datetime
    trades: int | None
    """Number of missed trades; None if it is unknown."""
    partition: int
    offset: int


class StoredStates(NamedTuple):
    """What is stored about a market or partition."""

    newest: datetime | None
    """Time of its newest tick."""
    saved: Mapping[str, SavedState]
    """Rule → its state."""


class _Subject:
    """A market or a partition, with its rules and its clock."""

    def __init__(self, market: Market, partition: int, rules: Iterable[Rule], stored: StoredStates) -> None:
        self.market, self.partition = market, partition
        # Only markets have a stored newest time; for a partition it stays None, and the clock is saved.
        self._is_market = market != subject_of(partition)
        self.newest = self.clock = stored.newest
        """Time of the newest tick, and the current time: equal, except after a reset."""
        self.behind = 0
        if CLOCK in stored.saved and (memory := stored.saved[CLOCK].memory):
            self.clock, self.behind = stored.saved[CLOCK].since or self.newest, json.loads(memory)
        self.rules = [_EvaluatedRule(rule, market, stored.saved.get(rule.name)) for rule in rules]
        self._stored = dict(stored.saved)

    def advance(self, time: datetime) -> bool:
        """Advance the clock to a tick's time; return False for a tick that is too old to evaluate."""
        if self.clock is None or time >= self.clock:
            self.clock, self.behind = time, 0
            if self._is_market and (self.newest is None or time > self.newest):
                self.newest = time
            return True
        self.behind += 1
        if self.behind < MAX_BEHIND:
            return False
        self.clock, self.behind = time, 0
        for rule in self.rules:
            rule.rewind(time)
        return True

    def changes(self) -> dict[tuple[str, Market], SavedState]:
        """Return the states that changed since the last call, to be stored."""
        now = {rule.state.rule.name: rule.saved() for rule in self.rules}
        now[CLOCK] = self._saved_clock()
        changed = {name: saved for name, saved in now.items() if self._stored.get(name, _NEW) != saved}
        self._stored |= changed
        return {(name, self.market): saved for name, saved in changed.items()}

    def _saved_clock(self) -> SavedState:
        differs = self.clock != self.newest
        if not differs and not self.behind:
            return _NEW
        return SavedState("inactive", self.clock if differs else None, None, json.dumps(self.behind))


_NEW = SavedState("inactive", None, None, None)


class _EvaluatedRule:
    """A rule on a market or partition: its state and its meter."""

    def __init__(self, rule: Rule, market: Market, saved: SavedState | None) -> None:
        self.state = RuleState(rule, market, saved)
        self.meter: Meter | None = None
        self.share: RejectedShare | None = None
        match rule.source:
            case OnQuotes(meter):
                self.meter = meter(rule.within)
            case OnRecords(meter):
                self.share = meter(rule.within, rule.ticks)
            case OnGaps() | OnSilence() | OnFigures():
                pass
            case source:
                assert_never(source)
        self._keeper = self.meter or self.share
        if saved is not None and saved.memory and self._keeper is not None:
            kind, memory = json.loads(saved.memory)
            if kind == self._kind:  # otherwise another rule had this name
                self._keeper.restore(memory)

    def rewind(self, at: datetime) -> None:
        self.state.rewind(at)
        if self._keeper is not None:
            self._keeper.rewind(at)

    def saved(self) -> SavedState:
        memory = self._keeper.state() if self._keeper is not None else None
        return self.state.saved(None if memory is None else json.dumps([self._kind, memory]))

    @property
    def _kind(self) -> str:
        rule = self.state.rule
        return f"{rule.kind} {rule.within.total_seconds():g}"


class Evaluator:
    """Evaluates rules and collects the changes. A market must be loaded before its first tick."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._pair_rules: list[Rule] = []
        self._partition_rules: list[Rule] = []
        for rule in rules:
            match rule.source:
                case OnQuotes() | OnGaps():
                    self._pair_rules.append(rule)
                case OnRecords():
                    self._partition_rules.append(rule)
                case OnSilence() | OnFigures():
                    pass  # see `stale_feed` and `figure_rules`
                case source:
                    assert_never(source)
        self._subjects: dict[Market, _Subject] = {}
        self._touched: dict[Market, _Subject] = {}
        self._transitions: list[Transition] = []

    @property
    def has_pair_rules(self) -> bool:
        """Whether any rule is about quotes or gaps."""
        return bool(self._pair_rules)

    @property
    def has_record_rules(self) -> bool:
        """Whether any rule is about rejected ticks."""
        return bool(self._partition_rules)

    def unknown(self, markets: Iterable[Market]) -> set[Market]:
        """Return the markets and partitions that must be loaded first."""
        return {market for market in markets if market not in self._subjects}

    def load(self, market: Market, partition: int, stored: StoredStates) -> None:
        """Load a market, or a partition under its `subject_of`, from what is stored."""
        if market == subject_of(partition):
            rules = self._partition_rules
        else:
            rules = [rule for rule in self._pair_rules if rule.covers(market)]
        self._subjects[market] = _Subject(market, partition, rules, stored)

    def drop(self, partitions: Iterable[int]) -> None:
        """Drop the state of these partitions and their markets."""
        gone = set(partitions)
        self._subjects = {key: each for key, each in self._subjects.items() if each.partition not in gone}

    def drop_all(self) -> None:
        """Drop all state, including changes that were not taken."""
        self._subjects.clear()
        self._touched.clear()
        self._transitions.clear()

    def quote(self, quote: Quote) -> None:
        """Evaluate a tick of a loaded market."""
        subject = self._subjects[quote.market]
        if not subject.rules:
            return
        self._touched[quote.market] = subject
        if not subject.advance(quote.time):
            return
        for rule in subject.rules:
            state, meter = rule.state, rule.meter
            if meter is None:
                if state.state == "firing":  # a gap: the feed is back
                    self._transitions.append(state.resolve(quote.time, None, quote.partition, quote.offset))
                continue
            value = meter.measure(quote)
            # Most ticks cause no transition, and need no message.
            worded = state.state == "firing" or value > state.rule.level
            prices = meter.prices(quote) if worded else None
            transition = state.update(quote.time, value, quote.partition, quote.offset, prices)
            if transition is not None:
                self._transitions.append(transition)
                if not transition.firing:
                    meter.resolved(quote)

    def skip(self, run: TickRun) -> bool:
        """Skip ticks of a loaded market if surely none of them causes a transition; return whether it did.

        If it did not, nothing has changed, and the ticks must be evaluated one by one.
        """
        subject = self._subjects[run.market]
        if not subject.rules:
            return True
        if not run.in_order or (subject.clock is not None and run.first < subject.clock):
            return False
        for rule in subject.rules:
            state, meter = rule.state, rule.meter
            if state.state != "inactive" or (
                meter is not None and not meter.stays_below(run, float(state.rule.level))
            ):
                return False
        for rule in subject.rules:
            if rule.meter is not None:
                rule.meter.skip(run)
        subject.advance(run.last)
        self._touched[run.market] = subject
        return True

    def gap(self, gap: ObservedGap) -> None:
        """Evaluate a gap of a loaded market."""
        subject = self._subjects[gap.market]
        for rule in subject.rules:
            state = rule.state
            if rule.meter is not None or state.state == "firing":
                continue
            self._touched[gap.market] = subject
            if (gap.trades is None or gap.trades > state.rule.level) and state.cooled_down(gap.time):
                trades = None if gap.trades is None else Decimal(gap.trades)
                self._transitions.append(state.fire(gap.time, trades, gap.partition, gap.offset))

    def record(self, record: ObservedRecord) -> None:
        """Evaluate a record of a loaded partition."""
        subject = self._subjects[subject_of(record.partition)]
        self._touched[subject.market] = subject
        if record.time is not None:
            subject.advance(record.time)
        if (at := subject.clock) is None:
            return  # there is no time to count it at
        for rule in subject.rules:
            assert rule.share is not None  # noqa: S101  (a partition has only rules on records)
            share = rule.share.count(at, rejected=record.rejected)
            transition = rule.state.update(at, share, record.partition, record.offset)
            if transition is not None:
                self._transitions.append(transition)

    def take(self) -> tuple[list[Transition], dict[tuple[str, Market], SavedState]]:
        """Return and clear the changes: transitions, and (rule, market) → its state."""
        transitions, self._transitions = self._transitions, []
        touched, self._touched = self._touched, {}
        saved: dict[tuple[str, Market], SavedState] = {}
        for subject in touched.values():
            saved |= subject.changes()
        return transitions, saved


def subject_of(partition: int) -> Market:
    """Return what takes the market's place in a rule about a partition; no venue or pair has such a name."""
    return Market("", f"partition {partition}")
