"""The model of the protocol names code that exists, and holds; each of its mutants has a counterexample."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location("model_check", ROOT / "model" / "check.py")
assert _SPEC is not None
assert _SPEC.loader is not None
check = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = check  # where its dataclasses look their types up
_SPEC.loader.exec_module(check)


@pytest.mark.parametrize("name", check.steps())
def test_a_step_of_the_model_stands_for_code_that_exists(name: str) -> None:
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return
    pytest.fail(f"{name} is nowhere")


def test_the_model_names_the_steps_that_matter() -> None:
    assert len(check.steps()) >= 12


def test_every_guard_of_the_model_has_a_mutant() -> None:
    guards = set(re.findall(r"#if(?:n?def) ([A-Z_]+)", check.MODEL.read_text(encoding="utf-8")))
    bounds = {"RECORDS", "SESSIONS", *check.NONE}
    assert guards - bounds == {run.mutant for run in check.MUTANTS}
    assert len(check.MUTANTS) >= 8


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("spin") is None or shutil.which("cc") is None,
    reason="needs the model checker and a C compiler: install the packages spin and gcc",
)
def test_the_model_holds_and_no_mutant_does() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "model" / "check.py", "--quick"],
        check=False,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
