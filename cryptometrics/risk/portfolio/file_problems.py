"""Problems of a file of positions, and the lines of its keys, which tomllib does not report."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

Path: TypeAlias = tuple[str | int, ...]
"""Where a value is: keys, and the numbers of the tables of an array, such as ("position", 0, "asset")."""

_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_header = re.compile(rf"\s*(\[\[?)\s*({_DOTTED})\s*\]").match
_assignment = re.compile(rf"\s*({_DOTTED})\s*=").match
_keys = re.compile(_KEY).findall
_multiline = re.compile(r'"""|\'\'\'').findall


@dataclass(frozen=True, slots=True)
class FileProblem:
    """What is wrong in a file: its place, and what to do."""

    line: int
    key: str
    what: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.key}: {self.what}" if self.key else f"line {self.line}: {self.what}"


class RowLines:
    """The lines of the rows of a CSV file, which are the positions."""

    def __init__(self, lines: Sequence[int]) -> None:
        self._lines = lines

    def of(self, path: Path) -> int:
        """Return the line of a position, or of anything in it; else the first line."""
        number = path[1] if len(path) > 1 and path[0] == "position" else None
        return self._lines[number] if isinstance(number, int) else 1


class KeyLines:
    """The line of each key and table of a TOML text."""

    def __init__(self, text: str) -> None:
        self._places: dict[Path, int] = {}
        tables: dict[Path, int] = {}
        prefix: Path = ()
        inside = ""  # the quotes of a string that goes on over lines
        for number, line in enumerate(text.splitlines(), start=1):
            begun_inside = bool(inside)
            if not inside and line.lstrip().startswith("#"):
                continue
            for quotes in _multiline(line):
                inside = "" if inside == quotes else inside or quotes
            if begun_inside:
                continue
            if header := _header(line):
                prefix = self._numbered(_split(header[2]), tables)
                if header[1] == "[[":
                    tables[prefix] = tables.get(prefix, -1) + 1
                    prefix = (*prefix, tables[prefix])
                self._places.setdefault(prefix, number)
            elif assignment := _assignment(line):
                self._places.setdefault((*prefix, *_split(assignment[1])), number)

    def of(self, path: Path) -> int:
        """Return the line of a key, or of its table if the key has no line of its own."""
        for length in range(len(path), 0, -1):
            if line := self._places.get(path[:length]):
                return line
        return 1

    @staticmethod
    def _numbered(keys: Path, tables: dict[Path, int]) -> Path:
        """Return the path of a header: a table below an array belongs to the array's newest table."""
        path: Path = ()
        for key in keys[:-1]:
            path = (*path, key)
            if path in tables:
                path = (*path, tables[path])
        return (*path, keys[-1])


def key_of(path: Path) -> str:
    """Return a path as messages name it: `position.2.asset`, with tables of an array counted from 1."""
    return ".".join(str(part + 1) if isinstance(part, int) else part for part in path)


def _split(dotted: str) -> Path:
    return tuple(key.strip("\"'") for key in _keys(dotted))


def unreadable(text: str, message: str) -> FileProblem:
    """Return tomllib's error as a problem, with its line and the key on that line, if any."""
    place = re.search(r" \(at line (\d+), column \d+\)$", message)
    lines = text.splitlines()
    line = int(place[1]) if place else max(len(lines), 1)
    key = _assignment(lines[line - 1]) if 0 < line <= len(lines) else None
    what = message[: place.start()] if place else message.removesuffix(" (at end of document)")
    return FileProblem(line, key[1] if key else "", f"this is not TOML: {what[:1].lower()}{what[1:]}")
