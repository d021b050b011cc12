"""Alert rules, and the parser of rule files, which reports every problem by line and key. Pure.

The file is TOML; each rule is a table `[[rule]]`. Numbers are exact: `Decimal` from the file's text.
"""

from __future__ import annotations

import fnmatch
import importlib.resources
import re
import tomllib
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from cryptometrics.alerts.kinds import ESTIMATORS, KINDS, LIMIT_PREFIX, OnFigures, RuleKind, Source
from cryptometrics.alerts.toml_lines import RuleProblem, RulesError, TomlLines, tables_of, unreadable
from cryptometrics.market.ticks import is_pair
from cryptometrics.times import parse_duration

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cryptometrics.alerts.kinds import Owner
    from cryptometrics.market.venues import Market

Severity = Literal["info", "warning", "critical"]

DEFAULT_COOLDOWN = timedelta(minutes=1)
DEFAULT_MIN_COVERAGE = Decimal("0.8")
DEFAULT_TICKS = 20
"""Minimum of ticks for a share: one rejected of two says nothing."""
MAX_DURATION = timedelta(days=7)
MAX_RULES = 200

is_name = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}").fullmatch
_is_glob = re.compile(r"[A-Z0-9*?\[\]!-]{1,41}").fullmatch
_is_venue_glob = re.compile(r"[a-z0-9*?\[\]!-]{1,32}").fullmatch


_COMMON_KEYS = ("name", "kind", "cooldown", "severity")


@dataclass(frozen=True)
class Rule:
    """One rule; levels are in the unit of its kind."""

    name: str
    kind: str
    """A key of `KINDS`."""
    level: Decimal
    resolve_below: Decimal
    """A firing alert resolves at or below this value; by default the level."""
    hold: timedelta
    """How long the level must be exceeded: the key `for`."""
    within: timedelta
    """Time that a move or a share is measured over; zero if the kind has none."""
    cooldown: timedelta
    """Time after an alert resolved in which the rule does not fire again."""
    severity: Severity
    pairs: tuple[str, ...]
    """Globs; empty for a rule about a partition."""
    venues: tuple[str, ...]
    """Globs; empty for a rule about a partition."""
    ticks: int
    """Minimum of ticks for a share."""
    range: str = ""
    """The range of a risk figure: 15m, 1h or 24h; empty for other kinds."""
    estimator: str = ""
    """The estimator of volatility: realized or ewma; empty for other kinds."""
    min_coverage: Decimal = DEFAULT_MIN_COVERAGE
    """The coverage below which a risk figure counts as unknown, from 0 to 1."""

    @property
    def owner(self) -> Owner:
        """The command that evaluates the rule."""
        return KINDS[self.kind].owner

    @property
    def figure(self) -> str:
        """The column of `crypto_risk` that a rule about a figure measures."""
        assert isinstance(self.source, OnFigures)  # noqa: S101  (the caller asks for no other rule)
        return ESTIMATORS[self.estimator] if self.estimator else self.source.columns[0]

    @property
    def source(self) -> Source:
        """What the rule is evaluated on."""
        return KINDS[self.kind].source

    def covers(self, market: Market) -> bool:
        """Return whether the rule applies to this pair at this venue."""
        return _matches(market.pair, self.pairs) and _matches(market.venue, self.venues)


def parse(text: str) -> tuple[Rule, ...]:
    """Return the rules of a file's text in order; raise RulesError with all problems.

    The tables `[[channel]]` of the same file are parsed by `channels`.
    """
    try:
        content = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise RulesError([unreadable(text, str(error))]) from None
    lines = TomlLines(text)
    problems = [
        RuleProblem(lines.top(key), key, "is not a key of this file: write rules as tables [[rule]]")
        for key in content
        if key not in ("rule", "channel")
    ]
    tables, wrong = tables_of(content, "rule", lines, MAX_RULES)
    problems += wrong
    if not tables and "channel" not in content and not problems:
        problems.append(RuleProblem(1, "", "the file has no [[rule]]"))
    rules: list[Rule] = []
    names: set[object] = set()
    for number, table in enumerate(tables):
        reader = _Table(table, number, lines)
        rule = reader.rule(names)
        names.add(str(table.get("name")))
        problems += reader.problems
        if rule is not None:
            rules.append(rule)
    if problems:
        raise RulesError(sorted(problems, key=lambda problem: problem.line))
    return tuple(rules)


class _AnyKind(NamedTuple):
    """The keys of all kinds: what a rule of an unknown kind may have."""

    keys: tuple[str, ...]
    required: tuple[str, ...] = ()


_ANY_KIND = _AnyKind(tuple(dict.fromkeys(name for kind in KINDS.values() for name in kind.keys)))


class _Table:
    """Parses one `[[rule]]` and collects its problems."""

    def __init__(self, table: dict[str, Any], number: int, lines: TomlLines) -> None:
        self._table, self._number, self._lines = table, number, lines
        self.problems: list[RuleProblem] = []

    def rule(self, taken: Collection[object]) -> Rule | None:
        """Return the rule, None if it has a problem."""
        name = self._name(taken)
        kind = self._choice("kind", dict.fromkeys(KINDS), None)
        spec = KINDS.get(kind or "", _ANY_KIND)
        for key in self._table:
            if key not in (*_COMMON_KEYS, *spec.keys):
                self._wrong(key, self._unexpected(key, kind, spec))
        for key in spec.required:
            if key not in self._table:
                self._wrong(key, f"is missing: a rule of kind {kind} needs it")
        level = self._number_of("level", Decimal(0))
        within = self._duration("within", timedelta())
        if "within" in self._table and within < timedelta(seconds=1):
            self._wrong("within", "must be at least 1s")
        hold = self._duration("for", timedelta())
        if "for" in spec.required and "for" in self._table and hold < timedelta(seconds=1):
            self._wrong("for", "must be at least 1s")
        rule = Rule(
            name=name,
            kind=kind or "",
            level=level,
            resolve_below=self._resolve_below(level),
            hold=hold,
            within=within,
            cooldown=self._duration("cooldown", DEFAULT_COOLDOWN),
            severity=self._choice("severity", dict.fromkeys(("info", "warning", "critical")), "warning"),  # type: ignore[arg-type]
            pairs=self._pairs() if "pairs" in spec.keys else (),
            venues=self._venues() if "pairs" in spec.keys else (),
            ticks=self._count("ticks", DEFAULT_TICKS),
            range=self._range(kind),
            estimator=self._estimator(spec),
            min_coverage=self._coverage(),
        )
        return None if self.problems else rule

    def _wrong(self, key: str, what: str) -> None:
        if not any(problem.key == key for problem in self.problems):  # the first problem is the cause
            self.problems.append(RuleProblem(self._lines.of("rule", self._number, key), key, what))

    @staticmethod
    def _unexpected(key: str, kind: str | None, spec: RuleKind | _AnyKind) -> str:
        known = sorted({*_COMMON_KEYS, *_ANY_KIND.keys})
        if key in known:
            return f"is not a key of the kind {kind}, which has {', '.join(spec.keys)}"
        return f"is not a key of a rule: the keys are {', '.join(known)}"

    def _name(self, taken: Collection[object]) -> str:
        name = self._table.get("name")
        if name is None:
            self._wrong("name", "is missing: every rule needs a name")
        elif not isinstance(name, str) or not is_name(name):
            self._wrong("name", "must have at most 63 letters, digits, dots, dashes and underscores")
        elif name.startswith(LIMIT_PREFIX):
            self._wrong("name", f"must not begin with {LIMIT_PREFIX}, as the limits of portfolios do")
        elif name in taken:
            self._wrong("name", f"{name} is already the name of an earlier rule")
        return str(name)

    def _choice(self, key: str, allowed: Mapping[str, object], default: str | None) -> str | None:
        value = self._table.get(key, default)
        if value is None:
            self._wrong(key, f"is missing: it must be one of {', '.join(allowed)}")
        elif not isinstance(value, str) or value not in allowed:
            self._wrong(key, f"must be one of {', '.join(allowed)}")
            return None
        return value

    def _number_of(self, key: str, default: Decimal) -> Decimal:
        value = self._table.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            self._wrong(key, "must be a number, written without quotes: 25 or 0.5")
            return default
        number = Decimal(value)
        if not number.is_finite() or not 0 <= number < 10**9 or number != round(number, 9):
            self._wrong(key, "must be from 0 to a billion, with at most nine digits after the point")
            return default
        return number

    def _resolve_below(self, level: Decimal) -> Decimal:
        below = self._number_of("resolve_below", level)
        if below > level:
            self._wrong("resolve_below", f"must not be above the level, {level}")
        return below

    def _count(self, key: str, default: int) -> int:
        value = self._table.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10**9:
            self._wrong(key, "must be a whole number of at least 1")
            return default
        return value

    def _range(self, kind: str | None) -> str:
        source = KINDS[kind].source if kind in KINDS else None
        if not isinstance(source, OnFigures):
            return ""
        value = self._table.get("range", source.ranges[-1])
        if value not in source.ranges:
            self._wrong("range", f"must be {' or '.join(source.ranges)} for the kind {kind}")
        return str(value)

    def _estimator(self, spec: RuleKind | _AnyKind) -> str:
        if "estimator" not in spec.keys or isinstance(spec, _AnyKind):
            return ""
        return self._choice("estimator", ESTIMATORS, "realized") or ""

    def _coverage(self) -> Decimal:
        value = self._number_of("min_coverage", DEFAULT_MIN_COVERAGE)
        if value > 1:
            self._wrong("min_coverage", "must be from 0 to 1, such as 0.8")
        return value

    def _duration(self, key: str, default: timedelta) -> timedelta:
        value = self._table.get(key)
        if value is None:
            return default
        try:
            length = parse_duration(value if isinstance(value, str) else "")
        except ValueError:
            self._wrong(key, 'must be a duration in quotes: "90s", "15m", "2h" or "1h30m"')
            return default
        if length > MAX_DURATION:
            self._wrong(key, "must be at most 7d")
        return length

    def _pairs(self) -> tuple[str, ...]:
        value = self._table.get("pairs", ["*"])
        globs = [value] if isinstance(value, str) else value
        if not isinstance(globs, list) or not globs:
            self._wrong("pairs", 'must be a list such as ["BTC-USD", "ETH-*"]')
            return ()
        for glob in globs:
            if not isinstance(glob, str) or not _is_glob(glob) or not (is_pair(glob) or _has_wildcard(glob)):
                self._wrong(
                    "pairs", f"{glob!r} is neither a pair such as BTC-USD nor a pattern such as *-USD"
                )
        return tuple(map(str, globs))

    def _venues(self) -> tuple[str, ...]:
        value = self._table.get("venues", ["*"])
        globs = [value] if isinstance(value, str) else value
        if not isinstance(globs, list) or not globs:
            self._wrong("venues", 'must be a list such as ["coinbase", "*-replay"]')
            return ()
        for glob in globs:
            if not isinstance(glob, str) or not _is_venue_glob(glob):
                self._wrong(
                    "venues",
                    f"{glob!r} is neither a venue such as coinbase nor a pattern such as *-replay",
                )
        return tuple(map(str, globs))


def _matches(name: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, glob) for glob in globs)


def _has_wildcard(glob: str) -> bool:
    return any(sign in glob for sign in "*?[")


def named_pairs(rule: Rule) -> set[str]:
    """Return the pairs that a rule names in full: they are expected even if they never had a tick."""
    return {glob for glob in rule.pairs if not _has_wildcard(glob)}


def named_venues(rule: Rule) -> set[str]:
    """Return the venues that a rule names in full."""
    return {glob for glob in rule.venues if not _has_wildcard(glob)}


def example() -> str:
    """Return the commented example file."""
    return importlib.resources.files(__package__).joinpath("example.toml").read_text(encoding="utf-8")
