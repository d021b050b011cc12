"""Hold the published schemas against the decoders, message by message."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema_rs

from cryptometrics.market import gap_records, wire_schema
from cryptometrics.market.tick_decoder import Reason, RejectedError, decode

if TYPE_CHECKING:
    from datetime import datetime

TICK, GAP = (
    jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    for schema in (wire_schema.tick(), wire_schema.gap())
)

SHAPE = {
    *(Reason.NOT_OBJECT, Reason.MISSING_FIELD, Reason.WRONG_TYPE, Reason.UNKNOWN_TYPE, Reason.BAD_PAIR),
    *(Reason.BAD_VENUE, Reason.BAD_PRICE, Reason.BAD_SIZE, Reason.BAD_TRADE, Reason.BAD_TIME),
}
"""Reasons that a schema must give, too. The others concern the record, two fields together, or the clock."""

EDGES_OF_THE_CALENDAR = ("0000-", "0001-", "9999-")
"""Years in which a time may be valid in RFC 3339 and outside of Python's calendar once it is in UTC."""


def check(key: bytes | None, value: bytes | None, now: datetime) -> str:
    """Assert that decoders and schemas agree on a message; return `tick`, `gap` or the reason against it."""
    outcome = _outcome(key, value, now)
    try:
        document = json.loads(value or b"", object_pairs_hook=_without_repetition)
    except (
        ValueError,
        RecursionError,
    ):  # also text that is not UTF-8, which decoders ignore in fields they skip
        return outcome
    if outcome == "tick":
        assert _accepts(TICK, document), value
        assert not _accepts(GAP, document), value
    elif outcome == "gap":
        assert _accepts(GAP, document), value
        assert not _accepts(TICK, document), value
    elif outcome in SHAPE and not _is_at_the_edge(outcome, document):
        assert not _accepts(TICK, document), (outcome, value)
        assert not _accepts(GAP, document), (outcome, value)
    return outcome


def _outcome(key: bytes | None, value: bytes | None, now: datetime) -> str:
    try:
        decode(key, value, now)
    except RejectedError as error:
        try:
            gap_records.decode(key, value, now, error)
        except RejectedError as last:
            return last.reason
        return "gap"
    return "tick"


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raise ValueError for a repeated key: readers of JSON differ about it."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a key is repeated")
    return fields


def _accepts(validator: jsonschema_rs.Draft202012Validator, document: Any) -> bool:
    try:
        return validator.is_valid(document)
    except ValueError:  # a number or a text that the validator cannot take
        return False


def _is_at_the_edge(outcome: str, document: Any) -> bool:
    if outcome != Reason.BAD_TIME:
        return False
    times = document["time"], document.get("begins") or ""
    return any(time.startswith(EDGES_OF_THE_CALENDAR) for time in times)
