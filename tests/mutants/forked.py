"""Run tests in a forked process, of a module as it is or with a mutation.

The parent has imported the libraries and nothing of the package. So a child starts in milliseconds, and
imports the package as the mutation made it. No file is changed.
"""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import io
import os
import resource
import sys
import threading
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

if TYPE_CHECKING:
    import ast
    import types
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.mutants.mutations import Mutation

MEMORY_BYTES = 4 * 2**30
"""Address space of a child: a mutant can allocate without end."""


class _Repeatable:
    """A plugin that makes Hypothesis repeat the same examples, and write none of them down."""

    def pytest_sessionstart(self) -> None:
        hypothesis.settings.register_profile(
            "mutants",
            deadline=None,
            derandomize=True,
            database=None,
            phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
            suppress_health_check=[hypothesis.HealthCheck.too_slow],
        )
        hypothesis.settings.load_profile("mutants")


def preload() -> None:
    """Import what every run of pytest needs, so that no child has to."""
    for plugin in importlib.metadata.entry_points(group="pytest11"):
        plugin.load()


def run(tests: Sequence[Path]) -> int:
    """Run test files until one fails; return pytest's exit code."""
    arguments = ["-x", "-q", "-p", "no:cacheprovider", "--noconftest", "--tb=no"]
    # Hypothesis is imported before pytest could rewrite its assertions, which nobody needs.
    arguments += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return int(pytest.main([*arguments, *map(str, tests)], plugins=[_Repeatable()]))


def fork(work: Callable[[], int]) -> int:
    """Start a child that does this work and exits with its result; return its process id."""
    pid = os.fork()
    if pid:
        return pid
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    code = 70
    try:
        code = work()
    finally:
        os._exit(code)


def put_in_place(module: str, path: Path, tree: ast.Module, mutation: Mutation) -> None:
    """Let this process import the module as the mutation makes it."""
    mutation.apply()
    code = compile(tree, str(path), "exec")
    sys.meta_path.insert(0, _Finder(module, path, code))


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, module: str, path: Path, code: types.CodeType) -> None:
        super().__init__(module, str(path))
        self._code = code

    def get_code(self, fullname: str) -> types.CodeType:
        return self._code


class _Finder:
    """Finds one module."""

    def __init__(self, module: str, path: Path, code: types.CodeType) -> None:
        self._module, self._path, self._code = module, path, code

    def find_spec(self, fullname: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._module:
            return None
        inside = [str(self._path.parent)] if self._path.name == "__init__.py" else None
        loader = _Loader(fullname, self._path, self._code)
        return importlib.util.spec_from_file_location(
            fullname, self._path, loader=loader, submodule_search_locations=inside
        )


def lines_run(tests: Sequence[Path], folder: Path) -> tuple[int, dict[str, set[int]]]:
    """Run tests; return pytest's exit code, and which lines of the modules in a folder they ran."""
    seen: dict[str, set[int]] = {}
    prefix = f"{folder}{os.sep}"

    def of_call(frame: types.FrameType, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(prefix):
            return None
        lines = seen.setdefault(name, set())

        def of_line(frame: types.FrameType, event: str, _: Any) -> Any:
            lines.add(frame.f_lineno)
            return of_line

        return of_line(frame, event, None)

    threading.settrace(of_call)
    sys.settrace(of_call)
    try:
        code = run(tests)
    finally:
        sys.settrace(None)
    return code, seen
