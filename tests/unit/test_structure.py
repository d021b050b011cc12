"""The structure of the package, measured from its source: rooms, imports, names and sizes.

Every import counts, also those under TYPE_CHECKING and inside functions.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Set

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "cryptometrics"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

MAX_PIPELINE_MODULES = 20
MAX_MODULE_LINES = 400
MAX_README_LINES = 150

BASE = {"errors", "times"}
SMALL = BASE | {"text", "config", "log", "retry", "files", "tls_probe", "children"}
VIEW = {"market", "store", "risk", "alerts", "kafka"} | SMALL
EVERYTHING = {""}  # every module is below the package itself

ALLOWED_IMPORTS: dict[str, set[str]] = {
    "": {"api", "errors", "store.committed_quotes"},
    "errors": set(),
    "times": set(),
    "text": set(),
    "config": BASE,
    "log": BASE | {"text"},
    "retry": BASE,
    "files": BASE,
    "tls_probe": BASE,
    "children": BASE,
    "market": BASE | {"text"},
    "risk": BASE | {"market"},
    "alerts": BASE | {"market", "risk"},
    "kafka": SMALL | {"market"},
    "store": SMALL | {"market", "risk", "alerts"},
    "feeds": SMALL | {"market", "kafka"},
    "notify": SMALL | {"store", "alerts"},
    "pipeline": SMALL | {"market", "alerts", "kafka", "store", "notify"},
    "follow": SMALL | {"market", "risk", "alerts", "store", "notify"},
    "verify": SMALL | {"store.connection", "kafka"},
    "beam": SMALL | {"market", "kafka", "store"},
    "plot": VIEW,
    "watch": VIEW,
    "web": VIEW,
    "telemetry": VIEW,
    "dashboards": VIEW,
    "api": SMALL | {"market", "store", "risk"},
    "local": SMALL,
    "doctor": SMALL | {"kafka", "store", "local"},
    "cli": EVERYTHING,
    "__main__": {"cli"},
}
"""What the modules of a room may import besides the room itself and the package's version.

`bench` is missing: it may import everything but the commands.
"""


def read(path: Path) -> str:
    """Return the text of a file."""
    return path.read_text(encoding="utf-8")


def relative(path: Path) -> str:
    """Return the path of a file below the root of the repository."""
    return path.relative_to(ROOT).as_posix()


def python_files(*folders: str) -> Iterable[Path]:
    """Yield the Python files below folders of the repository."""
    for folder in folders:
        yield from (ROOT / folder).rglob("*.py")


def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(read(path), filename=str(path))


@cache
def modules() -> dict[str, Path]:
    """Return the file of each module by its dotted name below the package, which is "" itself."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported_names(module: str) -> Iterable[str]:
    """Yield the full dotted names that a module imports; those of a relative import made absolute."""
    path = modules()[module]
    package = path.parent.relative_to(ROOT).parts
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)


@cache
def imports() -> dict[str, set[str]]:
    """Return which modules of the package each of its modules imports."""
    arrows: dict[str, set[str]] = {}
    for module in modules():
        arrows[module] = set()
        for name in imported_names(module):
            package, *parts = name.split(".")
            if package != PACKAGE.name:
                continue
            while ".".join(parts) not in modules():
                parts.pop()  # a name that the module defines
            arrows[module].add(".".join(parts))
        arrows[module] -= {module}
    return arrows


def room(module: str) -> str:
    """Return the folder or the single module at the top of the package that a module belongs to."""
    return module.partition(".")[0]


def is_allowed(source: str, target: str) -> bool:
    """Return whether the table lets a module import another one."""
    if room(source) == room(target) or not target:
        return True
    if room(source) == "bench":
        return room(target) != "cli"
    allowed = ALLOWED_IMPORTS.get(room(source), set())
    return allowed == EVERYTHING or any(f"{target}.".startswith(f"{name}.") for name in allowed)


def cycles(arrows: Mapping[str, Set[str]]) -> set[str]:
    """Return one line for each circle of arrows, found by cutting one arrow of each until none is left."""
    left = {source: set(targets) for source, targets in arrows.items()}
    found: set[str] = set()
    while True:
        try:
            TopologicalSorter({source: sorted(left[source]) for source in sorted(left)}).prepare()
        except CycleError as error:
            circle = error.args[1][::-1]  # graphlib lists each node before the one that needs it
            start = circle.index(min(circle))
            circle = [*circle[start:-1], *circle[:start], circle[start]]
            found.add(" → ".join(circle))
            left[circle[0]].discard(circle[1])
        else:
            return found


def check(found: Iterable[str], rule: str) -> None:
    """Fail if anything was found that breaks the rule, and list it."""
    broken = sorted(found)
    assert not broken, rule + ":\n  " + "\n  ".join(broken)


def test_each_room_is_in_the_table() -> None:
    check(
        {room(module) for module in modules()} - ALLOWED_IMPORTS.keys() - {"", "bench"},
        "rooms without a row in ALLOWED_IMPORTS",
    )


def test_rooms_import_only_what_the_table_allows() -> None:
    check(
        {
            f"{one} → {other}"
            for one, others in imports().items()
            for other in others
            if not is_allowed(one, other)
        },
        "imports that ALLOWED_IMPORTS does not list",
    )


def test_no_modules_import_each_other_in_a_circle() -> None:
    check(cycles(imports()), "circles of imports between modules")


def test_no_rooms_import_each_other_in_a_circle() -> None:
    rooms: dict[str, set[str]] = defaultdict(set)
    for source, targets in imports().items():
        rooms[room(source)] |= {room(target) for target in targets} - {room(source)}
    check(cycles(rooms), "circles of imports between rooms")


def test_the_pipeline_has_few_modules() -> None:
    found = sorted(module for module in modules() if room(module) == "pipeline")
    assert len(found) <= MAX_PIPELINE_MODULES, f"{len(found)} modules: {', '.join(found)}"


def test_each_class_name_exists_once_in_the_package() -> None:
    places = defaultdict(list)
    for module, path in modules().items():
        for node in parse(path).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(module)
    check(
        {f"{name}: {', '.join(sorted(at))}" for name, at in places.items() if len(at) > 1},
        "class names at the top of more than one module",
    )


def test_no_module_is_too_long() -> None:
    lines = {path: len(read(path).splitlines()) for path in modules().values()}
    check(
        {f"{relative(path)}: {count} lines" for path, count in lines.items() if count > MAX_MODULE_LINES},
        f"modules of more than {MAX_MODULE_LINES} lines",
    )


def test_imports_inside_functions_have_one_exception_for_all() -> None:
    marker = "noqa: " + "PLC0415"  # in two parts, so that this line is not found
    check(
        {relative(path) for path in python_files("cryptometrics", "tests", "docs") if marker in read(path)},
        f"files with `{marker}`, which pyproject.toml makes unnecessary",
    )


def test_the_readme_is_short() -> None:
    lines = len(read(ROOT / "README.md").splitlines())
    assert lines <= MAX_README_LINES, f"README.md has {lines} lines, at most {MAX_README_LINES} are allowed"


def test_each_module_that_a_page_names_exists() -> None:
    """A page may name a file or a folder by the end of its path, and a module by its dotted name."""
    paths = {relative(path) for path in python_files("cryptometrics", "tests", "docs")}
    folders = {f"{parent}/" for path in paths for parent in PurePosixPath(path).parents}
    existing = {ending for path in paths | folders for ending in endings(path)}
    existing |= {f"cryptometrics.{module}" for module in modules()}
    named = re.compile(r"`((?:[\w-]+/)*[\w-]+\.py|(?:[a-z_]+/)+)`|python -m (cryptometrics[.\w]+)")
    check(
        {
            f"{page.name}: {name}"
            for page in PAGES
            for found in named.findall(read(page))
            for name in found
            if name and name not in existing
        },
        "modules that a page names and that do not exist",
    )


def endings(path: str) -> Iterable[str]:
    """Yield a path and what is left of it without its first folders."""
    yield path
    while path := path.partition("/")[2]:
        yield path
