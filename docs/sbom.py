"""Write sbom.cdx.json: what an installation contains, as a CycloneDX bill of materials. `make sbom` runs it.

It lists the packages of requirements.lock and the jars that `cryptometrics up` downloads, with their hashes.
Everything comes from files of the repository: the same files give the same bill.
"""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any, NamedTuple

import cryptometrics
from cryptometrics.local import jars

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
LICENCES = ROOT / "docs" / "licences.md"
FILE = ROOT / "sbom.cdx.json"

THIS = f"pkg:pypi/cryptometrics@{cryptometrics.__version__}"

Json = dict[str, Any]


class Pin(NamedTuple):
    """A package of the lock file."""

    name: str
    version: str
    hashes: tuple[str, ...]
    """SHA-256 of each file of this version: wheels of every platform, and the sources."""
    needed_by: tuple[str, ...]
    """Names of the packages that need it, `cryptometrics` among them."""

    @property
    def purl(self) -> str:
        """Its package URL, which also identifies it within the bill."""
        return f"pkg:pypi/{self.name}@{self.version}"


def pins(lock: str) -> list[Pin]:
    """Return the packages of a lock file that pip-compile wrote."""
    return [
        Pin(
            name,
            version,
            tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", about)),
            tuple(re.findall(r"^ +# (?:via|  ) *([a-z0-9][a-z0-9._-]*)", about, re.MULTILINE)),
        )
        for name, version, about in re.findall(
            r"^([a-z0-9][a-z0-9._-]*)==(\S+)((?:.*\n(?![a-z0-9]))*.*)", lock, re.MULTILINE
        )
    ]


def package(pin: Pin, licence: str) -> Json:
    """Return the component of a Python package; licence: an SPDX expression."""
    return {
        "type": "library",
        "bom-ref": pin.purl,
        "name": pin.name,
        "version": pin.version,
        "licenses": [{"expression": licence}],
        "purl": pin.purl,
        "externalReferences": [
            {
                "type": "distribution",
                "url": pin.purl,
                "comment": "a hash for each file of this version; one of them is installed",
                "hashes": [{"alg": "SHA-256", "content": digest} for digest in pin.hashes],
            }
        ],
    }


def jar_component(jar: jars.Jar) -> Json:
    """Return the component of a jar, whose path in a Maven repository has its name and version."""
    *group, name, version, _ = jar.path.split("/")
    purl = f"pkg:maven/{'.'.join(group)}/{name}@{version}"
    return {
        "type": "library",
        "bom-ref": purl,
        "group": ".".join(group),
        "name": name,
        "version": version,
        "scope": "optional",  # only the local Kafka needs it
        "hashes": [{"alg": "SHA-256", "content": jar.sha256}],
        "purl": purl,
    }


def bill() -> Json:
    """Return the bill of materials."""
    packages = pins(LOCK.read_text(encoding="utf-8"))
    licences = dict(
        re.findall(r"^\| ([\w.-]+) \| (.+) \|$", LICENCES.read_text(encoding="utf-8"), re.MULTILINE)
    )
    of_kafka = [jar_component(jar) for jar in jars.lock().jars]
    this = {
        "type": "application",
        "bom-ref": THIS,
        "name": "cryptometrics",
        "version": cryptometrics.__version__,
        "licenses": [{"license": {"id": "MIT"}}],
        "purl": THIS,
    }
    needs = {THIS: {part["bom-ref"] for part in of_kafka}} | {pin.purl: set() for pin in packages}
    purls = {"cryptometrics": THIS} | {pin.name: pin.purl for pin in packages}
    for pin in packages:
        for name in pin.needed_by:
            needs[purls[name]].add(pin.purl)
    content = {
        "metadata": {"lifecycles": [{"phase": "pre-build"}], "component": this},
        "components": [*(package(pin, licences[pin.name]) for pin in packages), *of_kafka],
        "dependencies": [{"ref": ref, "dependsOn": sorted(needed)} for ref, needed in needs.items()],
    }
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content))}",
        "version": 1,
        **content,
    }


def render() -> str:
    """Return the text of the file."""
    return json.dumps(bill(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
