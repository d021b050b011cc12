"""Write the results of a full run into docs/guarantees.md: the table, and when and where it was measured."""

from __future__ import annotations

import datetime as dt
import os
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.outcome import table

if TYPE_CHECKING:
    from tests.faults.outcome import Outcome

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- faults: written by make faults -->", "<!-- end of faults -->"


def circumstances() -> str:
    """Return when and on which machine the run ends, and the commit that it tested."""
    now = dt.datetime.now(dt.UTC)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{now.day} {now:%B %Y}, commit {_commit()}, {os.cpu_count()} cores ({_processor()}), "
        f"{memory:.0f} GiB of memory, {platform.system()}, Python {platform.python_version()}"
    )


def replaced(page: str, outcomes: list[Outcome], where: str, passed: int, minutes: float) -> str:
    """Return the page with the results between its two marks."""
    intro = f"Measured in full on {where}: {passed} tests passed in {minutes:.0f} minutes."
    return between(page, BEGIN, END, [intro, "", *table(outcomes)])


def between(page: str, begin: str, end: str, lines: list[str]) -> str:
    """Return the page with these lines between two marks, in place of what is there."""
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"the page lacks the marks {begin} and {end}")
    return "\n".join([before + begin, "", *lines, "", end]) + after


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    try:
        changed = git("status", "--porcelain", "--untracked-files=no").strip()
        return git("rev-parse", "--short=10", "HEAD").strip() + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )
