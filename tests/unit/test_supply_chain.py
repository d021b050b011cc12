"""What comes from others: pinned, hashed, of a licence that fits, and nothing of a registry's address."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from cryptometrics.local import jars
from tests.unit.test_docs import STALE, load

ROOT = Path(__file__).parents[2]
LOCKS = {
    name: (ROOT / name).read_text(encoding="utf-8") for name in ("requirements.lock", "requirements-dev.lock")
}
licences = load("licences")
sbom = load("sbom")


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


# The bill of materials


def test_the_bill_of_materials_is_current() -> None:
    assert sbom.FILE.read_text(encoding="utf-8") == sbom.render(), "run `make sbom`"


def test_the_bill_lists_every_package_with_each_hash_and_every_jar() -> None:
    lock = LOCKS["requirements.lock"]
    components = sbom.bill()["components"]
    packages = {
        f"{each['name']}=={each['version']}": each
        for each in components
        if each["purl"].startswith("pkg:pypi/")
    }
    assert packages.keys() == _pins(lock)
    listed = [
        digest["content"] for each in packages.values() for digest in each["externalReferences"][0]["hashes"]
    ]
    assert sorted(listed) == sorted(re.findall(r"--hash=sha256:(\w+)", lock))
    of_kafka = [each for each in components if each["purl"].startswith("pkg:maven/")]
    assert [each["hashes"][0]["content"] for each in of_kafka] == [jar.sha256 for jar in jars.lock().jars]
    assert len(components) == len(packages) + len(of_kafka)


def test_the_bill_says_what_needs_what() -> None:
    bill = sbom.bill()
    references = [bill["metadata"]["component"]["bom-ref"], *(each["bom-ref"] for each in bill["components"])]
    assert len(references) == len({*references})
    needs = {each["ref"]: each["dependsOn"] for each in bill["dependencies"]}
    assert {*needs, *(ref for needed in needs.values() for ref in needed)} <= {*references}
    reached, left = set(), [references[0]]
    while left:
        reached.add(ref := left.pop())
        left += [other for other in needs.get(ref, ()) if other not in reached]
    assert reached == {*references}
    names = {ref: ref.rpartition("/")[2].partition("@")[0] for ref in references}
    direct = {names[ref] for ref in needs[references[0]]}
    assert {"click", "psycopg", "kafka-clients"} <= direct
    assert "anyio" not in direct
    assert "starlette" in {names[ref] for ref in needs[next(ref for ref in needs if names[ref] == "fastapi")]}


# What is built of it


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Path]]:
    """Build the archives twice, from copies that differ in place, age, rights and order of their files."""
    found = []
    for name, mode, age in (("one", 0o644, 0), ("another", 0o600, 86_400)):
        tree, out = tmp_path_factory.mktemp(name) / name, tmp_path_factory.mktemp(f"{name}-dist")
        shutil.copytree(ROOT / "cryptometrics", tree / "cryptometrics")
        for file in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "sbom.cdx.json"):
            shutil.copy(ROOT / file, tree)
        for path in sorted(tree.rglob("*"), reverse=age > 0):
            if path.is_file():
                path.chmod(mode)
                os.utime(path, (path.stat().st_mtime - age,) * 2)
        command = [sys.executable, "-m", "hatchling", "build", "--directory", str(out)]
        subprocess.run(command, cwd=tree, check=True, capture_output=True, timeout=100)
        found.append({path.suffix: path for path in out.iterdir()})
    return found


@pytest.mark.parametrize("suffix", [".whl", ".gz"])
def test_two_builds_are_the_same_bytes(builds: list[dict[str, Path]], suffix: str) -> None:
    one, another = (build[suffix] for build in builds)
    assert one.name == another.name
    assert one.read_bytes() == another.read_bytes()


def test_the_archives_hold_what_they_should(builds: list[dict[str, Path]]) -> None:
    wheel = set(zipfile.ZipFile(builds[0][".whl"]).namelist())
    kept = {path for path in (ROOT / "cryptometrics").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert {path.relative_to(ROOT).as_posix() for path in kept} <= wheel
    with tarfile.open(builds[0][".gz"]) as source:
        [root] = {name.partition("/")[0] for name in source.getnames()}
        bill = source.extractfile(f"{root}/sbom.cdx.json")
        assert bill is not None
        assert json.load(bill)["bomFormat"] == "CycloneDX"
