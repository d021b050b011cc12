"""The page's own files: small, without markup from outside, and without other servers."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

STATIC = Path(str(resources.files("cryptometrics.web"))) / "static"
MODULES = sorted(STATIC.glob("*.js"))
MAX_LINES = 1500
"""Of code in all modules together; comments, which hold the types, do not count."""
COMMENT = re.compile(r"\s*(/\*\*|\*|//|$)")
MARKUP = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc")


def test_modules_stay_small() -> None:
    lines = [line for path in MODULES for line in path.read_text("utf-8").splitlines()]
    assert 0 < sum(not COMMENT.match(line) for line in lines) < MAX_LINES


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_module_writes_no_markup_and_names_no_other_server(path: Path) -> None:
    text = path.read_text("utf-8")
    assert MARKUP.search(text) is None
    assert "://" not in text


def test_every_module_is_imported_by_the_first_one() -> None:
    found, waiting = set(), ["main.js"]
    while waiting:
        name = waiting.pop()
        found.add(name)
        imported = re.findall(r'from "\./(\w+\.js)"', (STATIC / name).read_text("utf-8"))
        waiting += [each for each in imported if each not in found]
    assert found == {path.name for path in MODULES}
