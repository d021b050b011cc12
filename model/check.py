"""Check the model of the protocol in every interleaving, and that each of its guards is needed.

Needs spin and a C compiler. Prints one line for each run and exits with 1 if the model has a fault, or if a
mutant of it, which lacks one guard, has none.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

MODEL = Path(__file__).with_name("protocol.pml")
SAFETY = ("-DSAFETY", "-DNOCLAIM")
PROGRESS = ("-DNFAIR=8",)
"""Weak fairness: what can go on for ever without a pause is done at some time."""
MEANINGS = {
    "session[s].claim==claims": "a worker without the newest claim wrote",
    "session[s].record==next_offset": "a record was skipped or repeated",
    "outcomes[session[s].record]==": "a record got two outcomes",
    "session[s].seen==": "extremes left records out, or counted others",
    "mine[w]<": "the bound of sessions is too small",
    "acceptance cycle": "records stay unread for ever",
}
"""What the checker prints of a broken property, and what it means."""
LIMIT_S = 300
NONE = {"CRASHES": 0, "SLEEPS": 0, "LOST_ANSWERS": 0, "KILLED_SESSIONS": 0, "DOUBTS": 0, "REBALANCES": 0}


@dataclass(frozen=True)
class Run:
    """One run of the checker: faults that may happen, and what is to be shown."""

    name: str
    faults: dict[str, int]
    progress: bool = False
    mutant: str | None = None
    records: int = 3


@dataclass(frozen=True)
class Result:
    """What a run found."""

    states: int
    transitions: int
    counterexample: str | None


RUNS = [
    Run("a crash, a sleep, a lost answer", {"CRASHES": 1, "SLEEPS": 1, "LOST_ANSWERS": 1}),
    Run("a crash, a sleep, a rebalance", {"CRASHES": 1, "SLEEPS": 1, "REBALANCES": 1}),
    Run(
        "a sleep, a lost answer, a terminated session", {"SLEEPS": 1, "LOST_ANSWERS": 1, "KILLED_SESSIONS": 1}
    ),
    Run("a crash, a sleep, a doubt while a COMMIT runs", {"CRASHES": 1, "SLEEPS": 1, "DOUBTS": 1}),
    Run("two crashes, two sleeps", {"CRASHES": 2, "SLEEPS": 2}),
    Run("five records, a crash, a sleep", {"CRASHES": 1, "SLEEPS": 1}, records=5),
    Run("progress: a crash, a sleep", {"CRASHES": 1, "SLEEPS": 1}, progress=True),
    Run("progress: a sleep, a lost answer", {"SLEEPS": 1, "LOST_ANSWERS": 1}, progress=True),
    Run(
        "progress: a sleep, a rebalance, a doubt", {"SLEEPS": 1, "REBALANCES": 1, "DOUBTS": 1}, progress=True
    ),
]

ALL = {"CRASHES": 1, "SLEEPS": 1, "LOST_ANSWERS": 1, "DOUBTS": 1}
MUTANTS = [
    Run("the guard does not compare the epoch", ALL, mutant="NO_EPOCH"),
    Run("the guard does not compare the offset", ALL, mutant="NO_EXPECTED"),
    Run("the guard does not lock the row", ALL, mutant="NO_LOCK"),
    Run("a claim does not raise the epoch", ALL, mutant="SAME_EPOCH"),
    Run("rows and offset in two transactions", ALL, mutant="SPLIT_TRANSACTION"),
    Run("extremes are kept after a doubt", ALL, mutant="KEEP_EXTREMES"),
    Run("Kafka's commit comes first, and is read", ALL, mutant="KAFKA_FIRST"),
    Run("the offset is not read again after a doubt", {"LOST_ANSWERS": 1}, progress=True, mutant="NO_REREAD"),
    Run("a claim does not end a stalled session", {"SLEEPS": 1}, progress=True, mutant="NO_TERMINATION"),
    Run(
        "a renewed claim does not record its session",
        {"SLEEPS": 1, "DOUBTS": 1},
        progress=True,
        mutant="STALE_BACKEND",
    ),
]


def steps() -> list[str]:
    """Return the functions that the steps of the model stand for, as dotted names."""
    return sorted(set(re.findall(r"\bis: (cryptometrics[\w.]+)", MODEL.read_text(encoding="utf-8"))))


def check(run: Run) -> Result:
    """Build the checker of a run, and run it to its end; raise RuntimeError if it does not get there."""
    defines = NONE | run.faults | {"RECORDS": run.records} | ({run.mutant: 1} if run.mutant else {})
    with tempfile.TemporaryDirectory() as folder:
        _do(folder, "spin", *(f"-D{name}={value}" for name, value in defines.items()), "-a", str(MODEL))
        options = PROGRESS if run.progress else SAFETY
        _do(folder, "cc", "-O2", "-w", "-DCOLLAPSE", *options, "-o", "pan", "pan.c")
        found = _do(folder, "./pan", "-m2000000", "-w24", *(("-a", "-f") if run.progress else ()))
    if re.search(r"^error: |max search depth|out of memory", found, re.MULTILINE):
        raise RuntimeError(f"{run.name}: the search was not exhaustive:\n{found[:2000]}")
    stored = re.search(r"([\d.e+]+) states, stored", found)
    transitions = re.search(r"([\d.e+]+) transitions", found)
    errors = re.search(r"errors: (\d+)", found)
    if not (stored and transitions and errors):
        raise RuntimeError(f"{run.name}: no result:\n{found[:2000]}")
    reason = re.search(r"pan:1: (.*?) \(at depth", found)
    return Result(
        int(float(stored[1])),
        int(float(transitions[1])),
        _meaning(reason[1] if reason else "an error") if errors[1] != "0" else None,
    )


def main() -> int:
    """Run everything, print one line for each run, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only the first run and the mutants")
    quick = parser.parse_args().quick
    if missing := [tool for tool in ("spin", "cc") if shutil.which(tool) is None]:
        print(f"{' and '.join(missing)} not found: on Debian, apt-get install spin gcc", file=sys.stderr)  # noqa: T201
        return 2
    failed = 0
    for run in [*(RUNS[:1] if quick else RUNS), *MUTANTS]:
        result = check(run)
        good = (result.counterexample is None) != (run.mutant is not None)
        failed += not good
        said = result.counterexample or "holds"
        kind = "mutant" if run.mutant else "model"
        print(  # noqa: T201
            f"{'ok' if good else 'FAILED':6}  {kind:6}  {run.name:46}  {result.states:>11,} states  {said}",
            flush=True,
        )
    print(f"{failed} of {len(RUNS) + len(MUTANTS)} failed" if failed else "all as expected")  # noqa: T201
    return 1 if failed else 0


def _meaning(reason: str) -> str:
    return next((text for part, text in MEANINGS.items() if part in reason), reason)


def _do(folder: str, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=LIMIT_S)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{command[0]} failed: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout + done.stderr


if __name__ == "__main__":
    raise SystemExit(main())
