"""Invalid messages of sixteen kinds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.faults.ledger import Sent

if TYPE_CHECKING:
    import random


def poison(chance: random.Random, sent: Sent) -> Sent:  # noqa: C901  (a list, not logic)
    """Return a message that no valid tick is, for one of many reasons."""
    key, value = sent.key, sent.value
    assert value is not None
    fields: dict[str, Any] = json.loads(value)
    kind = chance.randrange(16)
    if kind == 0:
        value = chance.randbytes(chance.randint(0, 300))
    elif kind == 1:
        value = value[: chance.randrange(len(value))]
    elif kind == 2:  # a quote or a bracket where none belongs
        at = chance.randrange(1, len(value))
        value = value[:at] + b'"' + value[at:] if value[at - 1 : at] != b"\\" else value[:at]
    elif kind == 3:
        depth = chance.choice((100, 5_000, 30_000))
        value = b"[" * depth + b"]" * depth
    elif kind == 4:
        value = b'{"a":' * 5_000 + value + b"}" * 5_000
    elif kind == 5:
        fields["best_bid"] = chance.choice(("9" * 5_000, "1e999999999", "0x10", "-1", "NaN", "1" * 21))
        value = json.dumps(fields).encode()
    elif kind == 6:  # numbers where texts belong, too large for any machine
        value = value.replace(b'"best_ask":"', b'"best_ask":' + b"9" * 400 + b',"x":"')
    elif kind == 7:
        value = value.replace(b'"product_id":"', b'"product_id":"\xff\xfe\xc3')
    elif kind == 8:
        fields[chance.choice(("best_bid", "best_ask", "time", "type"))] = chance.choice(
            ([], {}, None, True, 12.5, 10**400)
        )
        value = json.dumps(fields).encode()
    elif kind == 9:
        value = None
    elif kind == 10:  # as large as Kafka takes, about; one in ten of these, the others smaller
        size = 1_000_000 if chance.random() < 0.1 else 70_000
        value = chance.choice((b" ", b"\x00", b"a")) * size
    elif kind == 11:
        fields[chance.choice(("product_id", "best_bid", "time", "type"))] += "\x00"
        value = json.dumps(fields).encode()
    elif kind == 12:
        value = chance.choice((b"null", b"[]", b'""', b"0", b"\x00", b"{}", b"\xef\xbb\xbf{}", b'"\\ud800"'))
    elif kind == 13:
        key = chance.choice((None, b"", b"\x00\xff", b"OTHER-USD", sent.key.lower() if sent.key else None))
    elif kind == 14:
        fields["time"] = chance.choice(
            (
                "",
                "yesterday",
                "9999-12-31T23:59:60Z",
                "0001-01-01T00:00:00Z",
                "2026-13-01T00:00:00Z",
                "\ud800",
            )
        )
        value = json.dumps(fields).encode()
    else:
        fields["trade_id"] = chance.choice((-1, 2**63, 10**30, "7", 1.5))
        value = json.dumps(fields).encode()
    return Sent(key, value, None)
