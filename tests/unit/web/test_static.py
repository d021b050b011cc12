"""The page's own files: small, without markup from outside, and without other servers."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

WEB = Path(str(resources.files("cryptometrics.web")))
STATIC = WEB / "static"
MODULES = sorted(STATIC.glob("*.js"))
TEMPLATES = sorted((WEB / "pages").glob("*.html"))
MAX_LINES = 1500
"""Of all modules together, with their comments."""
PLACE = re.compile(r"\{(?:(\w+) )?\w+\}")
"""A value in a template of text: `{decimal bid}`, or `{rule}` for text."""
MARKUP = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc")


def test_modules_stay_small() -> None:
    assert 0 < sum(len(path.read_text("utf-8").splitlines()) for path in MODULES) < MAX_LINES


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


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_template_names_known_formats(path: Path) -> None:
    formats = (STATIC / "format.js").read_text("utf-8").partition("const FORMATS = {")[2].partition("};")[0]
    named = {name for name in PLACE.findall(path.read_text("utf-8")) if name}
    assert {name for name in named if not re.search(rf"\b{name}\b", formats)} == set()


def test_every_part_that_a_module_asks_for_is_in_a_template() -> None:
    parts = {
        name for path in TEMPLATES for name in re.findall(r'data-part="([\w-]+)"', path.read_text("utf-8"))
    }
    asked = {
        name for path in MODULES for name in re.findall(r'\bpart\("([\w-]+)"\)', path.read_text("utf-8"))
    }
    assert asked
    assert asked <= parts
