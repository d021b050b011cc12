"""The published schemas agree with the decoders: on simulated and hostile messages, on every kind of gap."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from datetime import timedelta
from fractions import Fraction
from typing import Any

import jsonschema_rs
import pytest

from cryptometrics.feeds.simulator.scenarios import SCENARIOS, schedule
from cryptometrics.market import quote_message, wire_schema
from cryptometrics.market.gap_records import Gap, GapKind, encode
from cryptometrics.market.tick_decoder import Reason
from cryptometrics.market.venues import replayed, with_venue
from tests.fuzz.decoder import NOW
from tests.fuzz.messages import CORPUS, mutations
from tests.fuzz.test_message_decoder import gap_messages
from tests.unit.feeds.streams import START, stream
from tests.unit.test_docs import STALE, load
from tests.wire_contract import GAP, SHAPE, TICK, check

wire_format = load("wire_format")


def test_the_shipped_file_is_current() -> None:
    assert wire_format.FILE.read_text(encoding="utf-8") == wire_format.render(), STALE


def test_both_schemas_are_valid_in_their_dialect() -> None:
    document = json.loads(wire_format.render())
    assert set(document) == {"tick", "gap", "asyncapi"}
    for name in ("tick", "gap"):
        assert document[name]["$schema"] == wire_schema.DIALECT
        jsonschema_rs.meta.validate(document[name])


def references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if "$ref" in part else []
        return own + [each for value in part.values() for each in references(value)]
    return [each for value in part for each in references(value)] if isinstance(part, list) else []


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = json.loads(wire_format.render())["asyncapi"]
    found = references(document)
    assert len(found) > 8
    for reference in found:
        place = document
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]
        assert place


@pytest.mark.parametrize("schema", [wire_schema.tick(), wire_schema.gap()], ids=["tick", "gap"])
def test_every_field_is_described(schema: dict[str, Any]) -> None:
    assert schema["description"]
    assert {name for name, field in schema["properties"].items() if "description" not in field} <= {"type"}


def test_the_examples_are_what_they_show() -> None:
    assert check(b"ETH-USD", json.dumps(wire_schema.TICK_EXAMPLE).encode(), NOW) == "tick"
    assert check(b"ETH-USD", json.dumps(wire_schema.GAP_EXAMPLE).encode(), NOW + timedelta(hours=1)) == "gap"


# What the package itself writes; tests/integration has what the feeds make of a live exchange.


@pytest.mark.parametrize("bad", [0.0, 0.3])
@pytest.mark.parametrize("scenario", [None, *SCENARIOS])
def test_the_schemas_agree_on_what_the_simulator_makes(scenario: str | None, bad: float) -> None:
    scenarios = () if scenario is None else (schedule(scenario, Fraction(1)),)
    messages = stream(2_000, bad=bad, scenarios=scenarios, step=Fraction(1_000_000))
    outcomes = Counter(check(*message, NOW) for message in messages)
    assert outcomes["tick"] > 500
    assert ("gap" in outcomes) == (scenario == "outage")
    assert (outcomes.keys() >= SHAPE) == (bad > 0)


def test_the_schemas_agree_on_quotes_and_replays() -> None:
    level = ("3120.10", "0")
    quote = quote_message.encode("ETH-USD", level, level, "2026-07-01T11:59:58.123456789Z")
    assert check(b"ETH-USD", quote, NOW) == "tick"
    assert check(b"ETH-USD", with_venue(quote, replayed("coinbase")), NOW) == "tick"


# What it reads


def test_the_schemas_agree_on_hostile_messages() -> None:
    mutated = itertools.islice(mutations(7), 5_000), itertools.islice(gap_messages(7), 2_000)
    outcomes = Counter(check(*message, NOW) for message in itertools.chain(CORPUS, *mutated))
    assert outcomes["tick"] > 300
    assert outcomes["gap"] > 100
    assert outcomes.keys() >= SHAPE - {Reason.NOT_OBJECT}  # the simulator makes these


@pytest.mark.parametrize(
    "kind", [*GapKind, pytest.param("other", id="unknown"), pytest.param(None, id="no text")]
)
def test_the_schema_of_gaps_knows_which_fields_each_kind_has(kind: str | None) -> None:
    """Every combination of present, null and absent fields; whether ids are in order no schema can say."""
    absent = object()
    choices: dict[str, tuple[object, ...]] = {
        "begins": (absent, None, "2026-07-01T10:00:00Z", 7),
        "first_trade_id": (absent, None, 5, -1, 2**63 - 1),
        "last_trade_id": (absent, None, 5, 9, "9"),
        "proves": (absent, None, True, False, "yes"),
        "venue": (absent, "simulated", None, "Coinbase"),
    }
    outcomes: Counter[str] = Counter()
    for values in itertools.product(*choices.values()):
        fields = dict(zip(choices, values, strict=True))
        message: dict[str, Any] = {
            "type": "gap",
            "product_id": "ETH-USD",
            "kind": kind,
            "time": "2026-07-01T11:00:00Z",
        }
        message |= {name: value for name, value in fields.items() if value is not absent}
        outcome = check(b"ETH-USD", json.dumps(message).encode(), NOW)
        assert GAP.is_valid(message) == (outcome == "gap"), message
        outcomes[outcome] += 1
    assert (outcomes["gap"] > 0) == (kind in list(GapKind))


def test_gaps_as_they_are_written_are_valid() -> None:
    for kind in GapKind:
        bounds = kind in {GapKind.START, GapKind.END}
        gap = Gap("ETH-USD", kind, START, None if bounds else START - timedelta(seconds=9))
        assert check(*encode(gap), NOW) == "gap"


@pytest.mark.parametrize("reason", [Reason.CROSSED_QUOTE, Reason.KEY_MISMATCH, Reason.IMPLAUSIBLE_TIME])
def test_what_no_schema_can_say_is_left_to_the_decoder(reason: Reason) -> None:
    changes = {
        Reason.CROSSED_QUOTE: {"best_bid": "9999"},
        Reason.IMPLAUSIBLE_TIME: {"time": "1999-12-31T23:59:59Z"},
    }
    message = wire_schema.TICK_EXAMPLE | changes.get(reason, {})
    key = b"BTC-USD" if reason is Reason.KEY_MISMATCH else b"ETH-USD"
    assert check(key, json.dumps(message).encode(), NOW) == reason
    assert TICK.is_valid(message)
