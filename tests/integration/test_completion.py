"""Completion as the shells ask for it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.conftest import Cli
    from tests.integration.conftest import Store

TICKS = [("2024-01-05 10:00:00", "67210.00", "67210.02")]

ASK = """
{script}
COMP_WORDS=({words}) COMP_CWORD={last}
_cryptometrics_completion cryptometrics
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def test_each_shell_has_a_script(cli: Cli) -> None:
    for shell in ("bash", "zsh", "fish"):
        script = cli(env={"_CRYPTOMETRICS_COMPLETE": f"{shell}_source"}).stdout
        assert f"_CRYPTOMETRICS_COMPLETE={shell}_complete" in script


def test_bash_completes_commands_groups_and_pairs(cli: Cli, store: Store) -> None:
    store(TICKS)
    store(TICKS, pair="ETH-USD")
    script = cli(env={"_CRYPTOMETRICS_COMPLETE": "bash_source"}).stdout
    command = cli.cwd / "bin" / "cryptometrics"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m cryptometrics "$@"\n')
    command.chmod(0o755)

    def completed(*words: str) -> list[str]:
        done = subprocess.run(
            ["bash", "--norc", "-c", ASK.format(script=script, words=shlex.join(words), last=len(words) - 1)],
            cwd=cli.cwd,
            env=cli.environment | {"PATH": f"{command.parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert done.stderr == ""
        return done.stdout.split()

    def stored(*words: str) -> list[str]:
        """Return names from the database: on a busy machine, none come within the second that it has."""
        return wait_until(lambda: completed(*words), f"names for {words}")

    assert completed("cryptometrics", "sess") == ["session"]
    assert stored("cryptometrics", "session", "--group", "") == ["g1"]
    assert stored("cryptometrics", "plot", "--pair", "e") == ["ETH-USD"]
