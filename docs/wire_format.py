"""Write the wire format's contract, which the package ships and `cryptometrics schema` prints."""

from __future__ import annotations

import json
from pathlib import Path

import cryptometrics
from cryptometrics.config import Settings
from cryptometrics.market import wire_schema

FILE = Path(wire_schema.__file__).with_name("wire_format.json")


def render() -> str:
    """Return the text of the file."""
    document = wire_schema.document(topic=Settings.kafka_topic, version=cryptometrics.__version__)
    return json.dumps(document, indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
