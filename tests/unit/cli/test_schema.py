"""`cryptometrics schema` prints the contract that the package ships, whole or one part of it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from cryptometrics.cli import cryptometrics
from cryptometrics.cli.schema import PARTS
from cryptometrics.market import wire_schema


def printed(*options: str) -> str:
    done = CliRunner().invoke(cryptometrics, ["schema", *options])
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout


def test_all_parts_are_one_document() -> None:
    document = json.loads(printed())
    assert tuple(document) == PARTS
    assert document["tick"] == {"$schema": wire_schema.DIALECT} | wire_schema.tick()
    assert document["asyncapi"]["channels"]["quotes"]["address"] == "crypto_prices"


@pytest.mark.parametrize("part", PARTS)
def test_each_part_can_be_printed_alone(part: str) -> None:
    assert json.loads(printed("--only", part)) == json.loads(printed())[part]
    assert printed("--only", part).endswith("}\n")


def test_another_part_is_refused() -> None:
    done = CliRunner().invoke(cryptometrics, ["schema", "--only", "candle"])
    assert done.exit_code == 2
    assert "'candle' is not one of" in done.stderr
