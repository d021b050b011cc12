"""What comes from others: pinned, hashed, of a licence that fits, and nothing of a registry's address."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cryptometrics.local import jars
from tests.unit.test_docs import STALE, load

ROOT = Path(__file__).parents[2]
LOCKS = {
    name: (ROOT / name).read_text(encoding="utf-8") for name in ("requirements.lock", "requirements-dev.lock")
}
licences = load("licences")


def _pins(lock: str) -> set[str]:
    return set(re.findall(r"^[A-Za-z0-9._-]+==\S+", lock, re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS.values(), ids=LOCKS)
def test_every_package_is_pinned_with_hashes(lock: str) -> None:
    blocks = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)[1:]
    assert len(blocks) > 50
    for block in blocks:
        assert re.match(r"[A-Za-z0-9._-]+==[0-9]\S* \\\n", block), block[:80]
        assert re.findall(r"--hash=sha256:[0-9a-f]{64}", block), block[:80]


@pytest.mark.parametrize("lock", LOCKS.values(), ids=LOCKS)
def test_a_lock_names_no_index(lock: str) -> None:
    assert not re.search(r"https?://|--(extra-)?index-url|--trusted-host|--find-links|@ ", lock)


def test_users_run_the_versions_that_developers_test() -> None:
    assert _pins(LOCKS["requirements.lock"]) < _pins(LOCKS["requirements-dev.lock"])


def test_packages_are_installed_by_their_hashes_alone() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    [line] = re.findall(r"^INSTALL := .*", makefile, re.MULTILINE)
    assert "--require-hashes" in line
    assert "--only-binary :all:" in line  # no code of a package runs while it is installed
    assert re.findall(r"\t\$\(INSTALL\) -r (\S+)", makefile) == list(LOCKS)


def test_every_jar_has_its_hash() -> None:
    locked = jars.lock()
    assert len(locked.jars) > 30
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) and jar.size > 0 for jar in locked.jars)


def test_the_list_of_licences_is_current() -> None:
    assert licences.PAGE.read_text(encoding="utf-8") == licences.render(), STALE


@pytest.mark.parametrize("name", licences.locked())
def test_every_licence_is_compatible(name: str) -> None:
    assert licences.is_compatible(licences.licence(name)), licences.licence(name)


@pytest.mark.parametrize("expression", ["GPL-3.0-only", "MIT AND AGPL-3.0-only", "Proprietary", ""])
def test_a_licence_that_is_not_is_found(expression: str) -> None:
    assert not licences.is_compatible(expression)
