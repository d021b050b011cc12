from __future__ import annotations

import subprocess
import sys


def test_the_module_imports_numpy_and_nothing_else_that_is_installed() -> None:
    program = (
        "import sys; import numpy; before = set(sys.modules)\n"
        "from cryptometrics import risk\n"
        "added = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(added - sys.stdlib_module_names - {'cryptometrics', 'numpy'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == []


def test_the_commands_help_does_not_import_it() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "cryptometrics", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "cryptometrics.cli" in done.stderr
    assert "cryptometrics.risk" not in done.stderr
