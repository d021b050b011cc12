"""Mutation testing of a pure room: change one thing, run the room's unit tests, see whether they notice.

Run it with `make mutants ROOM=market`, and with SAMPLE=200 SEED=1 for some mutants of all. It exits with 1 if
the tests notice less than nine of ten. Ctrl-C ends it early, with the report of those that were run.
"""

from __future__ import annotations

import argparse
import ast
import os
import pickle
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec  # noqa: F401  (so that no child has to load it)
import numpy as np  # noqa: F401

from tests.mutants.equivalent import Place, equivalents
from tests.mutants.forked import fork, lines_run, preload, put_in_place, run
from tests.mutants.mutations import mutations

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.mutants.mutations import Mutation

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "cryptometrics"
UNIT_TESTS = ROOT / "tests/unit"
ROOMS = {
    "market": (),
    "risk": (),
    "alerts": ("pipeline/test_alerting.py",),  # runs of ticks, which only the worker's rules take
}
"""The rooms, and tests of theirs that are in the folder of another one."""
WANTED = 0.9
"""Share of the mutants that tests must kill."""
FASTEST_S = 10.0
SLOWER = 3.0
"""A mutant may take this many times as long as its tests do with every line traced, and FASTEST_S besides."""
TOLD_EVERY_S = 30.0


@dataclass(frozen=True)
class TestFile:
    """A file of tests, and what it does without a mutation."""

    __test__ = False
    path: Path
    seconds: float
    lines: dict[str, set[int]]
    """Lines of each module that it runs."""


@dataclass
class Mutant:
    """A mutation of a module, and what became of it."""

    module: Path
    number: int
    """Of the module's mutations."""
    mutation: Mutation
    place: Place
    outcome: str = ""
    """How it ended: killed, timed out, survived, or not run by any test."""

    @property
    def is_killed(self) -> bool:
        return self.outcome in ("killed", "timed out")

    def __str__(self) -> str:
        where = f"{self.module.relative_to(ROOT)}:{self.mutation.line}:{self.place.column}"
        return f"{where}: {self.mutation.change}: {self.place.line}  ({self.outcome})"


@dataclass
class Children:
    """At most so many child processes at a time, each with a limit."""

    limit: int
    _running: dict[int, tuple[float, Callable[[int], None]]] = field(default_factory=dict)

    def start(self, work: Callable[[], int], seconds: float, done: Callable[[int], None]) -> None:
        """Run this in a child once there is room, and tell `done` its exit code: −9 if it was killed."""
        while len(self._running) >= self.limit:
            self._wait()
        pid = fork(work)
        self._running[pid] = time.monotonic() + seconds, done

    def finish(self) -> None:
        """Wait until all have ended."""
        while self._running:
            self._wait()

    def kill(self) -> None:
        """End all at once; nobody is told of them."""
        for pid in self._running:
            os.kill(pid, signal.SIGKILL)
        self._running.clear()

    def _wait(self) -> None:
        for pid, (ends, done) in list(self._running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._running[pid]
                done(os.waitstatus_to_exitcode(status))
            elif time.monotonic() > ends:
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def main() -> None:
    """Make mutants of a room, run them, and print the table and the survivors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("room", choices=ROOMS)
    parser.add_argument("--sample", type=int, help="only so many mutants, at random")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no mutant after this time")
    parser.add_argument("--module", help="only of modules whose path has this text")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    preload()
    children = Children(options.jobs)
    tests = measured(tests_of(options.room), options.room, children)
    known = equivalents()
    mutants = [each for each in every(options.room) if (options.module or "") in str(each.module)]
    left = [each for each in mutants if each.place not in known]
    if options.sample is not None and options.sample < len(left):
        left = sorted(random.Random(options.seed).sample(left, options.sample), key=mutants.index)
    say(f"{len(mutants):,} mutants of {options.room}, {len(mutants) - len(left):,} left out")
    begun = told = time.monotonic()
    try:
        for number, mutant in enumerate(random.Random(options.seed).sample(left, len(left))):
            if time.monotonic() - begun > options.seconds:
                break
            test(mutant, tests, children)
            if time.monotonic() - told > TOLD_EVERY_S:
                told = time.monotonic()
                survivors = sum(bool(each.outcome) and not each.is_killed for each in left)
                say(f"{number + 1:,} of {len(left):,} started, {survivors:,} survived")
        children.finish()
    except KeyboardInterrupt:
        children.kill()
    sys.exit(report(options.room, [each for each in left if each.outcome]))


def tests_of(room: str) -> list[Path]:
    """Return the files with the unit tests of a room."""
    elsewhere = [UNIT_TESTS / name for name in ROOMS[room]]
    return [*sorted((UNIT_TESTS / room).rglob("test_*.py")), *elsewhere]


def measured(paths: Sequence[Path], room: str, children: Children) -> list[TestFile]:
    """Run each file of tests without a mutation; end the program if one fails."""
    found: list[TestFile] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(paths):
            place, begun = Path(folder) / str(number), time.monotonic()

            def work(path: Path = path, place: Path = place) -> int:
                code, lines = lines_run([path], PACKAGE / room)
                place.write_bytes(pickle.dumps(lines))
                return code

            def done(code: int, path: Path = path, place: Path = place, begun: float = begun) -> None:
                if code:
                    sys.exit(f"{path.relative_to(ROOT)} fails without a mutation (exit code {code})")
                seconds = time.monotonic() - begun
                found.append(TestFile(path, seconds, pickle.loads(place.read_bytes())))

            children.start(work, 600, done)
        children.finish()
    return found


def every(room: str) -> list[Mutant]:
    """Return every mutant of a room."""
    found = []
    for path in sorted((PACKAGE / room).rglob("*.py")):
        lines = path.read_text().splitlines()
        for number, mutation in enumerate(mutations(ast.parse(path.read_text()))):
            text = lines[mutation.line - 1]
            column = mutation.column - (len(text) - len(text.lstrip()))
            module, above = path.relative_to(PACKAGE).as_posix(), lines[mutation.line - 2].strip()
            place = Place(module, above, text.strip(), column, mutation.change)
            found.append(Mutant(path, number, mutation, place))
    return found


def test(mutant: Mutant, tests: Sequence[TestFile], children: Children) -> None:
    """Let a child run the tests that run the mutated statement, its module's own first."""
    lines = set(mutant.mutation.statement)
    chosen = [each for each in tests if lines & each.lines.get(str(mutant.module), set())]
    if not chosen:
        mutant.outcome = "not run by any test"
        return
    own = f"test_{mutant.module.stem}.py"
    chosen.sort(key=lambda each: (each.path.name != own, each.seconds))
    limit = FASTEST_S + SLOWER * sum(each.seconds for each in chosen)

    def work() -> int:
        tree = ast.parse(mutant.module.read_text())
        name = ".".join(mutant.module.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        put_in_place(name, mutant.module, tree, mutations(tree)[mutant.number])
        return run([each.path for each in chosen])

    def done(code: int) -> None:
        mutant.outcome = "survived" if code == 0 else "timed out" if code == -signal.SIGKILL else "killed"
        if not mutant.is_killed:
            say(str(mutant))  # a run takes hours: whoever waits can begin with it

    children.start(work, limit, done)


def report(room: str, mutants: Sequence[Mutant]) -> int:
    """Print the counts of each module and the survivors; return the exit code."""
    say(f"{'module':40} mutants  killed  timed out  survived")
    for module in dict.fromkeys(each.module for each in mutants):
        outcomes = [each.outcome for each in mutants if each.module == module]
        killed, late = outcomes.count("killed"), outcomes.count("timed out")
        name = module.relative_to(PACKAGE).as_posix()
        say(f"{name:40} {len(outcomes):7} {killed:7} {late:10} {len(outcomes) - killed - late:9}")
    say(*(str(each) for each in mutants if not each.is_killed))
    count = sum(each.is_killed for each in mutants)
    share = count / len(mutants) if mutants else 1.0
    say(f"{room}: {count:,} of {len(mutants):,} mutants killed: {share:.1%}")
    return int(share < WANTED)


def say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
