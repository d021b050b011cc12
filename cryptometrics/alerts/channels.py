"""Channels: where alerts are sent, and the parser of their tables in the rule file. Pure.

A channel is a table `[[channel]]`. Its address is a secret: it is never part of a problem's text.
"""

from __future__ import annotations

import fnmatch
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from cryptometrics.alerts.rules import Severity, is_name
from cryptometrics.alerts.toml_lines import RuleProblem, TomlLines, tables_of

if TYPE_CHECKING:
    from collections.abc import Collection

Source = Literal["url", "url_env", "url_file"]
"""Where a channel's URL is: in the rule file, in a variable of the environment, or in another file."""

WEBHOOK = "webhook"
"""The outbox's name of the receiver in CRYPTOMETRICS_WEBHOOK_URL, which no channel may have."""
MAX_CHANNELS = 20
"""Each channel is a row of the outbox for each alert, and a thread while it is sent."""

SOURCES: tuple[Source, ...] = get_args(Source)
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From the least to the most severe."""
_KEYS = ("name", *SOURCES, "min_severity", "pairs")


@dataclass(frozen=True)
class Channel:
    """One receiver of alerts, such as a mailbox or a chat room."""

    name: str
    source: Source
    value: str = field(repr=False)
    """The URL itself, or the name of its variable or file."""
    min_severity: Severity = "info"
    pairs: tuple[str, ...] = ("*",)
    """Patterns of pairs, or of what an alert names instead of one."""
    line: int = field(default=1, compare=False)
    """Line of the URL's key in the rule file."""

    def covers(self, severity: Severity, pair: str) -> bool:
        """Return whether the channel gets alerts of this severity and pair.

        As for silences, capital and small letters of pairs are the same.
        """
        return SEVERITIES.index(severity) >= SEVERITIES.index(self.min_severity) and any(
            fnmatch.fnmatchcase(pair.upper(), pattern.upper()) for pattern in self.pairs
        )


class Recipients(NamedTuple):
    """Every receiver of alerts."""

    webhook: bool = False
    """Whether CRYPTOMETRICS_WEBHOOK_URL is set; it gets every alert."""
    channels: tuple[Channel, ...] = ()

    @property
    def names(self) -> list[str]:
        """Their names."""
        return [WEBHOOK] * self.webhook + [channel.name for channel in self.channels]

    def of(self, severity: Severity, pair: str) -> list[str]:
        """Return the names of the receivers of an alert of this severity and pair."""
        covering = [channel.name for channel in self.channels if channel.covers(severity, pair)]
        return [WEBHOOK] * self.webhook + covering


NOBODY = Recipients()


def parse(text: str) -> tuple[tuple[Channel, ...], list[RuleProblem]]:
    """Return the valid channels of a rule file in order, and the problems of the others.

    Text that is not TOML has no channels: `rules.parse` reports it.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return (), []
    lines = TomlLines(text)
    tables, problems = tables_of(content, "channel", lines, MAX_CHANNELS)
    channels: list[Channel] = []
    names: set[str] = set()
    for number, table in enumerate(tables):
        reader = _ChannelTable(table, number, lines)
        channel = reader.channel(names)
        names.add(str(table.get("name")))
        problems += reader.problems
        if channel is not None:
            channels.append(channel)
    return tuple(channels), problems


class _ChannelTable:
    """Parses one `[[channel]]` and collects its problems."""

    def __init__(self, table: dict[str, Any], number: int, lines: TomlLines) -> None:
        self._table, self._number, self._lines = table, number, lines
        self.problems: list[RuleProblem] = []

    def channel(self, taken: Collection[str]) -> Channel | None:
        """Return the channel, None if it has a problem."""
        for key in self._table:
            if key not in _KEYS:
                self._wrong(key, f"is not a key of a channel: the keys are {', '.join(_KEYS)}")
        name, source = self._name(taken), self._source()
        severity = self._table.get("min_severity", "info")
        if severity not in SEVERITIES:
            self._wrong("min_severity", f"must be one of {', '.join(SEVERITIES)}")
        pairs = self._pairs()
        if self.problems:
            return None
        line = self._lines.of("channel", self._number, source)
        return Channel(name, source, self._table[source], severity, pairs, line)

    def _wrong(self, key: str, what: str) -> None:
        self.problems.append(RuleProblem(self._lines.of("channel", self._number, key), key, what))

    def _name(self, taken: Collection[str]) -> str:
        name = self._table.get("name")
        if name is None:
            self._wrong("name", "is missing: every channel needs a name")
        elif not isinstance(name, str) or not is_name(name):
            self._wrong("name", "must have at most 63 letters, digits, dots, dashes and underscores")
        elif name == WEBHOOK:
            self._wrong("name", f"{WEBHOOK} is the name of CRYPTOMETRICS_WEBHOOK_URL: choose another")
        elif name in taken:
            self._wrong("name", f"{name} is already the name of an earlier channel")
        return str(name)

    def _source(self) -> Source:
        present = [source for source in SOURCES if source in self._table]
        if not present:
            self._wrong("url", "is missing: write one of url, url_env and url_file")
            return "url"
        for surplus in present[1:]:
            self._wrong(surplus, f"the channel has {present[0]} already: leave one out")
        value = self._table[present[0]]
        if not isinstance(value, str) or not value.strip():
            self._wrong(present[0], "must be a text in quotes")
        return present[0]

    def _pairs(self) -> tuple[str, ...]:
        value = self._table.get("pairs", ["*"])
        patterns = [value] if isinstance(value, str) else value
        if (
            not isinstance(patterns, list)
            or not patterns
            or not all(isinstance(each, str) and 0 < len(each) <= 100 for each in patterns)
        ):
            self._wrong("pairs", 'must be a list such as ["BTC-USD", "ETH-*"]')
            return ()
        return tuple(patterns)
