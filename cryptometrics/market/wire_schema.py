"""The wire format as a contract for other programs: JSON Schema, and AsyncAPI around it. Pure.

The schemas come from the types and the rules that the decoders use. What no schema can state is left to the
decoders: a bid above its ask, a time that is not plausible, a key that is not the pair.
"""

from __future__ import annotations

from typing import Any

import msgspec

from cryptometrics.market.gap_records import RULES_OF_KINDS, WireGap
from cryptometrics.market.tick_decoder import MAX_VALUE_BYTES, WireTick
from cryptometrics.market.ticks import MAX_PAIR_CHARS, PAIR_PATTERN
from cryptometrics.market.wire_fields import whole

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
KAFKA_BINDING = {"bindingVersion": "0.5.0"}

TICK_EXAMPLE: Schema = {
    "type": "ticker",
    "sequence": 37475248783,
    "product_id": "ETH-USD",
    "price": "3120.25",
    "best_bid": "3120.10",
    "best_bid_size": "0.46688654",
    "best_ask": "3120.25",
    "best_ask_size": "1.56637040",
    "side": "buy",
    "time": "2026-07-01T11:59:58.061769Z",
    "trade_id": 370843401,
    "last_size": "0.0148",
}
GAP_EXAMPLE: Schema = {
    "type": "gap",
    "product_id": "ETH-USD",
    "kind": "down",
    "time": "2026-07-01T12:00:31.500000Z",
    "begins": "2026-07-01T12:00:01.250000Z",
    "first_trade_id": 370843402,
    "last_trade_id": 370843419,
}


def document(*, topic: str, version: str) -> Schema:
    """Return the contract: the schemas of a tick and of a gap record, and the topic as AsyncAPI.

    topic: the topic's default name. version: of the package.
    """
    return {
        "tick": {"$schema": DIALECT} | tick(),
        "gap": {"$schema": DIALECT} | gap(),
        "asyncapi": asyncapi(topic=topic, version=version),
    }


def tick() -> Schema:
    """Return the schema of a tick."""
    return _schema(WireTick, "Tick")


def gap() -> Schema:
    """Return the schema of a gap record."""
    return _schema(WireGap, "Gap record") | {"allOf": RULES_OF_KINDS}


def asyncapi(*, topic: str, version: str) -> Schema:
    """Return the topic as an AsyncAPI 3 document.

    Its schemas have no `$schema`: they use only keywords that AsyncAPI's own dialect has, too.
    """
    channel = "quotes"
    messages = {"tick": "#/components/messages/tick", "gap": "#/components/messages/gap"}
    of_channel = [_reference(f"#/channels/{channel}/messages/{name}") for name in messages]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "cryptometrics",
            "version": version,
            "description": "Quotes of crypto pairs, and records of what a feed missed.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": {
            channel: {
                "address": topic,
                "title": "Quotes",
                "description": (
                    "One record per quote; all records of a pair are in one partition, in order. "
                    f"A value has at most {MAX_VALUE_BYTES} bytes. KAFKA_TOPIC can name another topic."
                ),
                "messages": {name: _reference(place) for name, place in messages.items()},
                "bindings": {"kafka": {"topic": topic} | KAFKA_BINDING},
            }
        },
        "operations": {
            "publish": {
                "action": "send",
                "channel": _reference(f"#/channels/{channel}"),
                "summary": "`simulate`, `ingest` and `replay` publish quotes and gap records.",
                "messages": of_channel,
            },
            "process": {
                "action": "receive",
                "channel": _reference(f"#/channels/{channel}"),
                "summary": "`process` and `aggregate` read them, each consumer group all of them.",
                "messages": of_channel,
            },
        },
        "components": {
            "messages": {
                "tick": _message("tick", "Tick", TICK_EXAMPLE),
                "gap": _message("gap", "Gap record", GAP_EXAMPLE),
            },
            "schemas": {"tick": tick(), "gap": gap()},
        },
    }


def _schema(wire: type[msgspec.Struct], title: str) -> Schema:
    _, components = msgspec.json.schema_components([wire])
    return {"title": title} | {
        key: value for key, value in components[wire.__name__].items() if key != "title"
    }


def _reference(place: str) -> Schema:
    return {"$ref": place}


def _message(name: str, title: str, example: Schema) -> Schema:
    key = {"type": "string", "pattern": whole(PAIR_PATTERN), "maxLength": MAX_PAIR_CHARS}
    return {
        "name": name,
        "title": title,
        "contentType": "application/json",
        "payload": _reference(f"#/components/schemas/{name}"),
        "bindings": {"kafka": {"key": key} | KAFKA_BINDING},
        "examples": [{"payload": example}],
    }
