"""Problems of a rule file, and the lines of its tables and keys, which tomllib does not report. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_header_at = re.compile(r"\s*\[\[\s*(rule|channel)\s*\]\]").match
_key_at = re.compile(r"\s*[\"']?([A-Za-z0-9_-]+)[\"']?\s*=").match


@dataclass(frozen=True)
class RuleProblem:
    """A problem of a rule file: its place, and what to do."""

    line: int
    key: str
    what: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.key}: {self.what}" if self.key else f"line {self.line}: {self.what}"


class RulesError(Exception):
    """A rule file is not valid; has all its problems."""

    def __init__(self, problems: list[RuleProblem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


def unreadable(text: str, message: str) -> RuleProblem:
    """Return tomllib's error as a problem, with its line and the key on that line, if any."""
    place = re.search(r" \(at line (\d+), column \d+\)$", message)
    lines = _lines(text)
    line = int(place[1]) if place else len(lines)
    written = lines[line - 1] if line <= len(lines) else ""
    key = _key_at(written)
    what = message[: place.start()] if place else message.removesuffix(" (at end of document)")
    return RuleProblem(line, key[1] if key else "", f"this is not TOML: {what[:1].lower()}{what[1:]}")


class TomlLines:
    """Line numbers of the tables `[[rule]]` and `[[channel]]`, and of their keys."""

    def __init__(self, text: str) -> None:
        self._keys: dict[tuple[str, int, str], int] = {}
        self._headers: dict[str, list[int]] = {"rule": [], "channel": []}
        table, index = "", 0
        for number, line in enumerate(_lines(text), start=1):
            if header := _header_at(line):
                table = header[1]
                index = len(self._headers[table])
                self._headers[table].append(number)
            elif found := _key_at(line):
                self._keys.setdefault((table, index, found[1]), number)
            elif found := re.match(r"\s*\[+\s*([A-Za-z0-9_-]+)", line):
                self._keys.setdefault(("", 0, found[1]), number)

    def header(self, table: str, index: int) -> int:
        """Return the line on which the table of this name and number begins."""
        headers = self._headers[table]
        return headers[index] if index < len(headers) else self.top(table)

    def top(self, key: str) -> int:
        """Return the line of a key or table that is in no `[[rule]]` and no `[[channel]]`."""
        return self._keys.get(("", 0, key), 1)

    def of(self, table: str, index: int, key: str) -> int:
        """Return the line of a key of a table, or the table's first line if the key is missing."""
        return self._keys.get((table, index, key)) or self.header(table, index)


def _lines(text: str) -> list[str]:
    """Return the lines as TOML counts them: another line end, such as U+2028, may be within a text."""
    return text.removesuffix("\n").split("\n")


def tables_of(
    content: dict[str, Any], key: str, lines: TomlLines, most: int
) -> tuple[list[dict[str, Any]], list[RuleProblem]]:
    """Return the first `most` tables [[key]] of a rule file, and what is wrong with them as a whole."""
    tables = content.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        return [], [RuleProblem(lines.top(key), key, f"write [[{key}]], in two brackets")]
    if len(tables) <= most:
        return tables, []
    return tables[:most], [RuleProblem(lines.header(key, most), key, f"the file has more than {most} {key}s")]
