"""A diagnosis: the result of one check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    WARNING = "warning"
    """It works, but not as safely or as fast as it could."""
    WRONG = "wrong"
    """Something does not work, or data can be lost."""
    SKIPPED = "skipped"
    """The check does not apply here, or could not run."""


@dataclass(frozen=True)
class Diagnosis:
    """What one check found, and how to fix it; `fix` is None where nothing needs one."""

    check: str
    state: State
    found: str
    fix: str | None = None


def ok(check: str, found: str) -> Diagnosis:
    """Return a finding that needs no action."""
    return Diagnosis(check, State.OK, found)


def warning(check: str, found: str, fix: str) -> Diagnosis:
    """Return a finding that should be fixed."""
    return Diagnosis(check, State.WARNING, found, fix)


def wrong(check: str, found: str, fix: str) -> Diagnosis:
    """Return a finding that must be fixed."""
    return Diagnosis(check, State.WRONG, found, fix)


def skipped(check: str, reason: str) -> Diagnosis:
    """Return that a check did not run, and why."""
    return Diagnosis(check, State.SKIPPED, reason)
