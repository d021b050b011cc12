"""Alert rules: what a file of them may say, and what is wrong with one, by line and key. Pure.

The file is TOML; each rule is a table `[[rule]]`. Numbers stay exact: `Decimal` from the file's text.
"""

from __future__ import annotations

import fnmatch
import re
import tomllib
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from cryptometrics.market.tick_decoder import is_pair
from cryptometrics.times import parse_duration

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

Kind = Literal[
    "spread_bps", "mid_move_pct", "session_high_pct", "session_low_pct", "stale", "rejected_pct", "gap"
]
Severity = Literal["info", "warning", "critical"]

DEFAULT_COOLDOWN = timedelta(minutes=1)
DEFAULT_TICKS = 20
"""Ticks that a share needs to be one: of two, one rejected says nothing."""
LONGEST = timedelta(days=7)
MOST_RULES = 200

_is_name = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}").fullmatch
_is_glob = re.compile(r"[A-Z0-9*?\[\]!-]{1,41}").fullmatch
_is_header = re.compile(r"\s*\[\[\s*rule\s*\]\]").match
_key_at = re.compile(r"\s*[\"']?([A-Za-z0-9_-]+)[\"']?\s*=").match


@dataclass(frozen=True)
class Shape:
    """Which keys a kind of rule needs and which it may have, beside those that every rule may have."""

    unit: str
    """Of the level and the value."""
    needs: tuple[str, ...]
    may: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys that belong to it."""
        return self.needs + self.may


KINDS: dict[str, Shape] = {
    "spread_bps": Shape("bps", ("level",), ("pairs", "resolve_below", "for")),
    "mid_move_pct": Shape("%", ("level", "within"), ("pairs", "resolve_below", "for")),
    "session_high_pct": Shape("%", ("level",), ("pairs", "resolve_below", "for")),
    "session_low_pct": Shape("%", ("level",), ("pairs", "resolve_below", "for")),
    "stale": Shape("s", ("for",), ("pairs",)),
    "rejected_pct": Shape("%", ("level", "within"), ("resolve_below", "for", "ticks")),
    "gap": Shape("trades", (), ("pairs", "level")),
}
_EVERY = ("name", "kind", "cooldown", "severity")


@dataclass(frozen=True)
class Rule:
    """One rule; levels are in the unit of its kind."""

    name: str
    kind: Kind
    level: Decimal
    resolve_below: Decimal
    """At or below it a firing alert resolves; the level itself where the file says nothing."""
    hold: timedelta
    """How long the level has to be exceeded: the key `for`."""
    within: timedelta
    """What a move or a share is measured over; zero where the kind has no such time."""
    cooldown: timedelta
    """How long after it resolved it does not fire again."""
    severity: Severity
    pairs: tuple[str, ...]
    """Globs; empty for a rule about a partition and not a pair."""
    ticks: int
    """How many ticks a share is made of at least."""

    @property
    def unit(self) -> str:
        """The unit of level and value."""
        return KINDS[self.kind].unit

    def covers(self, pair: str) -> bool:
        """Whether it is about this pair."""
        return any(fnmatch.fnmatchcase(pair, glob) for glob in self.pairs)


@dataclass(frozen=True)
class Problem:
    """What is wrong with a file: where, and what to do."""

    line: int
    key: str
    what: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.key}: {self.what}" if self.key else f"line {self.line}: {self.what}"


class RulesError(Exception):
    """A file of rules that is not valid, with everything that is wrong with it."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


def parse(text: str) -> tuple[Rule, ...]:
    """Return the rules of a file's text, in its order; raise RulesError with all that is wrong."""
    try:
        content = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise RulesError([_unreadable(text, str(error))]) from None
    lines = _Lines(text)
    problems = [
        Problem(lines.of(None, key), key, "is no key of this file: rules are tables [[rule]]")
        for key in content
        if key != "rule"
    ]
    tables = content.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise RulesError([Problem(lines.of(None, "rule"), "rule", "is written [[rule]], in two brackets")])
    if not tables and not problems:
        problems.append(Problem(1, "", "there is no [[rule]] in it"))
    if len(tables) > MOST_RULES:
        problems.append(Problem(lines.header(MOST_RULES), "rule", f"more than {MOST_RULES} rules"))
    rules: list[Rule] = []
    names: set[object] = set()
    for number, table in enumerate(tables[:MOST_RULES]):
        reader = _Table(table, number, lines)
        rule = reader.rule(names)
        names.add(str(table.get("name")))
        problems += reader.problems
        if rule is not None:
            rules.append(rule)
    if problems:
        raise RulesError(sorted(problems, key=lambda problem: problem.line))
    return tuple(rules)


def _unreadable(text: str, message: str) -> Problem:
    """Return tomllib's complaint with its line where ours stand, and the key of that line, if it has one."""
    place = re.search(r" \(at line (\d+), column \d+\)$", message)
    line = int(place[1]) if place else max(text.count("\n"), 1)
    written = text.splitlines()[line - 1] if 0 < line <= len(text.splitlines()) else ""
    key = _key_at(written)
    what = message[: place.start()] if place else message.removesuffix(" (at end of document)")
    return Problem(line, key[1] if key else "", f"this is not TOML: {what[:1].lower()}{what[1:]}")


class _Lines:
    """Where rules and keys stand in the text: tomllib does not tell."""

    def __init__(self, text: str) -> None:
        self._places: dict[tuple[int | None, str], int] = {}
        self._headers: list[int] = []
        for number, line in enumerate(text.splitlines(), start=1):
            if _is_header(line):
                self._headers.append(number)
            elif found := _key_at(line):
                place = len(self._headers) - 1 if self._headers else None
                self._places.setdefault((place, found[1]), number)
            elif found := re.match(r"\s*\[+\s*([A-Za-z0-9_-]+)", line):
                self._places.setdefault((None, found[1]), number)

    def header(self, rule: int) -> int:
        """Return where a rule begins."""
        return self._headers[rule] if rule < len(self._headers) else self.of(None, "rule")

    def of(self, rule: int | None, key: str) -> int:
        """Return where a key stands, or the rule's beginning where it does not."""
        return self._places.get((rule, key)) or (1 if rule is None else self.header(rule))


class _Table:
    """Reads one `[[rule]]` and collects what is wrong with it."""

    def __init__(self, table: dict[str, Any], number: int, lines: _Lines) -> None:
        self._table, self._number, self._lines = table, number, lines
        self.problems: list[Problem] = []

    def rule(self, taken: Collection[object]) -> Rule | None:
        """Return the rule, None where something is wrong with it."""
        name = self._name(taken)
        kind = self._choice("kind", dict.fromkeys(KINDS), None)
        if kind is None:
            return None
        shape = KINDS[kind]
        for key in self._table:
            if key not in (*_EVERY, *shape.keys):
                self._wrong(key, self._stray(key, kind, shape))
        for key in shape.needs:
            if key not in self._table:
                self._wrong(key, f"is missing: a rule of kind {kind} needs it")
        level = self._number_of("level", Decimal(0))
        within = self._duration("within", timedelta())
        if "within" in self._table and within < timedelta(seconds=1):
            self._wrong("within", "must be a second or more")
        hold = self._duration("for", timedelta())
        if kind == "stale" and "for" in self._table and hold < timedelta(seconds=1):
            self._wrong("for", "must be a second or more")
        rule = Rule(
            name=name,
            kind=kind,  # type: ignore[arg-type]  # it is one of KINDS
            level=level,
            resolve_below=self._resolve_below(level),
            hold=hold,
            within=within,
            cooldown=self._duration("cooldown", DEFAULT_COOLDOWN),
            severity=self._choice("severity", dict.fromkeys(("info", "warning", "critical")), "warning"),  # type: ignore[arg-type]
            pairs=self._pairs() if "pairs" in shape.keys else (),
            ticks=self._count("ticks", DEFAULT_TICKS),
        )
        return None if self.problems else rule

    def _wrong(self, key: str, what: str) -> None:
        if not any(problem.key == key for problem in self.problems):  # the first one is the cause
            self.problems.append(Problem(self._lines.of(self._number, key), key, what))

    @staticmethod
    def _stray(key: str, kind: str, shape: Shape) -> str:
        known = sorted({*_EVERY, *(name for each in KINDS.values() for name in each.keys)})
        if key in known:
            return f"does not belong to a rule of kind {kind}, which has {', '.join(shape.keys)}"
        return f"is no key of a rule: there are {', '.join(known)}"

    def _name(self, taken: Collection[object]) -> str:
        name = self._table.get("name")
        if name is None:
            self._wrong("name", "is missing: each rule has one")
        elif not isinstance(name, str) or not _is_name(name):
            self._wrong("name", "must be letters, digits, dots, dashes and underscores, 63 at most")
        elif name in taken:
            self._wrong("name", f"{name} is the name of an earlier rule, too")
        return str(name)

    def _choice(self, key: str, allowed: Mapping[str, object], default: str | None) -> str | None:
        value = self._table.get(key, default)
        if value is None:
            self._wrong(key, f"is missing: it is one of {', '.join(allowed)}")
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
            self._wrong(key, "must be from 0 to a billion, with nine digits after the point at most")
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
            self._wrong(key, "must be a whole number from 1")
            return default
        return value

    def _duration(self, key: str, default: timedelta) -> timedelta:
        value = self._table.get(key)
        if value is None:
            return default
        try:
            length = parse_duration(value if isinstance(value, str) else "")
        except ValueError:
            self._wrong(key, 'must be a time in quotes: "90s", "15m", "2h" or "1h30m"')
            return default
        if length > LONGEST:
            self._wrong(key, "must be 7d at most")
        return length

    def _pairs(self) -> tuple[str, ...]:
        value = self._table.get("pairs", ["*"])
        globs = [value] if isinstance(value, str) else value
        if not isinstance(globs, list) or not globs:
            self._wrong("pairs", 'must be a list such as ["BTC-USD", "ETH-*"]')
            return ()
        for glob in globs:
            if not isinstance(glob, str) or not _is_glob(glob) or not (is_pair(glob) or _has_wildcard(glob)):
                self._wrong("pairs", f"{glob!r} is no pair such as BTC-USD and no pattern such as *-USD")
        return tuple(map(str, globs))


def _has_wildcard(glob: str) -> bool:
    return any(sign in glob for sign in "*?[")


def named_pairs(rule: Rule) -> set[str]:
    """Return the pairs that a rule names in full: they are expected even if none of their ticks ever came."""
    return {glob for glob in rule.pairs if not _has_wildcard(glob)}


def example() -> str:
    """Return the commented example file."""
    import importlib.resources

    return importlib.resources.files(__package__).joinpath("example.toml").read_text(encoding="utf-8")
