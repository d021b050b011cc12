"""Read the variables of a file `.env`, and find names that are probably mistyped.

To add a setting, add a field to `Settings` in `settings.py`.
"""

from __future__ import annotations

import contextlib
import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

FILE = Path(".env")
KAFKA_CONF = "KAFKA_CONF_"
"""Prefix of librdkafka's own settings."""
OURS = "CRYPTOMETRICS_"
SHARED = ("DATABASE_", "DB_", "KAFKA_")
"""Prefixes that other software uses, too: only a name that resembles one of ours is a mistake."""
ELSEWHERE = {
    *("CRYPTOMETRICS_DATABASE", "CRYPTOMETRICS_GROUP", "CRYPTOMETRICS_POSTGRES", "CRYPTOMETRICS_PROMETHEUS"),
    *("CRYPTOMETRICS_READER", "CRYPTOMETRICS_READER_PASSWORD", "CRYPTOMETRICS_SSLMODE"),
}
"""Variables of compose.yaml and of Grafana's data sources."""
ENVIRONMENT_ONLY = {"CRYPTOMETRICS_MAVEN_URL"}
MIN_LIKENESS = {OURS: 0.7} | dict.fromkeys(SHARED, 0.51)
"""Likeness of names without their prefix: DB_PWD is like DB_PASSWORD, KAFKA_OPTS is like none."""


def read_file() -> dict[str, str]:
    """Return the variables of `.env` in the working folder, taken literally: `$` is a character like others.

    Raises OSError and UnicodeDecodeError.
    """
    if not FILE.exists() or FILE.is_dir():  # a folder of this name is a virtual environment
        return {}
    from dotenv import dotenv_values

    found = dotenv_values(FILE, interpolate=False, encoding="utf-8-sig")
    return {name: value for name, value in found.items() if value is not None}


class UnknownVariable(NamedTuple):
    """A variable that nothing reads, although its name looks as if something did."""

    name: str
    where: str
    """`environment`, or the path of the file."""
    advice: str


def unknown(known: Sequence[str], is_option: Callable[[str], bool]) -> Iterator[UnknownVariable]:
    """Yield the variables that look like ours and that nothing reads.

    known: the variables of all settings. is_option: returns whether a variable sets an option of a command,
    which only the environment can.
    """
    places: list[tuple[str, dict[str, str]]] = [("environment", dict(os.environ))]
    with contextlib.suppress(OSError, UnicodeDecodeError):  # reading the settings reports it
        places.append((str(FILE.resolve()), read_file()))
    for where, variables in places:
        for name in (name.upper() for name, value in variables.items() if value):
            if name in known or name in ELSEWHERE or name.startswith(KAFKA_CONF):
                continue
            if name in ENVIRONMENT_ONLY or is_option(name):
                if where != "environment":
                    yield UnknownVariable(name, where, "set it in the environment: it is not read from .env")
            elif (near := _nearest(name, known)) or name.startswith(OURS):
                advice = f"did you mean {near}?" if near else "remove it: nothing reads it"
                yield UnknownVariable(name, where, advice)


def _nearest(name: str, known: Sequence[str]) -> str | None:
    """Return the variable of ours with the same prefix that a name resembles most."""
    for prefix, likeness in MIN_LIKENESS.items():
        if name.startswith(prefix):
            endings = [each.removeprefix(prefix) for each in known if each.startswith(prefix)]
            found = difflib.get_close_matches(name.removeprefix(prefix), endings, 1, likeness)
            return prefix + found[0] if found else None
    return None
