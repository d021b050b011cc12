"""Mutants that no test can kill, because they change nothing that anybody could see, each with its reason."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name("equivalent.toml")


class Place(NamedTuple):
    """Where a mutant is, whatever is added above it or indents it."""

    module: str
    """Path below the package."""
    above: str
    """Text of the line above it, without its indentation: the same line may come twice in a module."""
    line: str
    column: int
    """In that text, from 0."""
    change: str


def equivalents() -> dict[Place, str]:
    """Return the reason of each equivalent mutant."""
    found = {}
    for each in tomllib.loads(FILE.read_text())["mutant"]:
        place = Place(each["module"], each["above"], each["line"], each["column"], each["change"])
        found[place] = each["reason"]
    return found
