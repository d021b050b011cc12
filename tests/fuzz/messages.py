"""Messages for the decoder: a corpus of past and likely faults, and an endless stream of mutations."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Message = tuple[bytes | None, bytes | None]
"""Key and value of a record."""

GOOD: dict[str, object] = {
    "type": "ticker",
    "product_id": "ETH-USD",
    "best_bid": "3120.10",
    "best_ask": "3120.25",
    "time": "2026-07-01T11:59:58.061769Z",
    "trade_id": 370843401,
    "best_bid_size": "0.46688654",
    "best_ask_size": "1.56637040",
    "venue": "coinbase-replay",
    "price": "3120.25",
    "last_size": "0.0148",
    "side": "buy",
    "sequence": 37475248783,
}
WIDEST = "12345678901234567890.123456789012345678"
VALUES: tuple[object, ...] = (
    # of any kind
    *(None, True, False, 0, -1, 1.5, 2**63 - 2, 2**63 - 1, 2**64, 10**400, [], {}, [[]], {"a": {}}),
    # prices and what is nearly one
    *("", "0", "0.0", "00.10", "-1", "+1", "1.", ".1", "1e5", "NaN", "Infinity", "1_000", " 1", "1\n"),
    *("١٢٣", "1\x00", WIDEST, WIDEST + "0", "0" + WIDEST, "9" * 20, "9" * 21, "0" * 60_000),
    # types and pairs
    *("buy", "sell", "BUY"),
    *("ticker", "quote", "heartbeat", "TICKER", "ticker\x00", "\U0001f600"),
    *("ETH-USD", "BTC-USD", "eth-usd", "ETH/USD", "-", "A-", "A" * 20 + "-" + "B" * 20, "A" * 21 + "-B"),
    # what other languages would obey: SQL, COPY's text format, terminals
    *("ETH-USD\t", "ETH-USD\n", "\\N", "\\.", "'; DROP TABLE crypto_metrics; --"),
    *("\x1b]0;title\x07", "\x9b31m", "\u202eDSU-HTE"),
    # venues and what is nearly one
    *("simulated", "a" * 32, "a" * 33, "Coinbase", "coin_base", "coinbase\n", "köln"),
    # times and what is nearly one
    *("2026-07-01T11:59:58Z", "2026-07-01T11:59:58.123456789Z", "2026-07-01T11:59:58.999999999999Z"),
    *("2026-07-01T24:00:00Z", "2026-07-01T23:59:60Z", "2026-02-30T00:00:00Z"),
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-07-01T11:59:58+24:00"),
    *("2026-07-01", "2026-07-01T11:59:58", "2026-07-01t11:59:58z", "2026-W27-3T11:59:58Z"),
    *("20260701T115958Z", "2026-07-01T11:59:58,5Z", "2026-07-01T11:59:58.1+05:30"),
    *("2009-01-01T00:00:00Z", "2008-12-31T23:59:59.999999Z", "2026-07-02T12:00:00Z"),
)
TOKENS = (
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\x00", b"\xff", b"\xc3\x28", b"\xed\xa0\x80"),
    *(b"\\u0000", b"\\ud800", b"\\u001b[2J", b"1e999", b"-0", b"null", b"NaN", b"\xef\xbb\xbf"),
    *(b"[" * 300, b'{"a":' * 300, b"9" * 400, b" " * 300, b"\n", b"\t", b"\x1b[31m", b"\xe2\x80\xae"),
    *(b'"best_bid":"1",', b'"type":"quote",'),
)


def _message(**changes: object) -> Message:
    return b"ETH-USD", json.dumps(GOOD | changes).encode()


CORPUS: tuple[Message, ...] = (
    _message(),
    _message(type="quote", trade_id=None),
    (b"ETH-USD", json.dumps(dict(list(GOOD.items())[:5])).encode()),
    (None, None),
    (b"", b""),
    (b"ETH-USD", None),
    (None, _message()[1]),
    (b"BTC-USD", _message()[1]),
    (b"\xff\xfe", _message()[1]),
    (b"K" * 1_000_000, _message()[1]),
    (b"ETH-USD", b"[" * 60_000),
    (b"ETH-USD", b'{"a":' * 10_000),
    (b"ETH-USD", b"\xef\xbb\xbf" + (_message()[1] or b"")),
    (b"ETH-USD", (_message()[1] or b"").ljust(64 * 1024)),
    (b"ETH-USD", (_message()[1] or b"").ljust(64 * 1024 + 1)),
    *(_message(**{name: value}) for name in list(GOOD)[:12] for value in VALUES),
)
"""Each of these is decoded in every run, unchanged."""


def mutations(seed: int) -> Iterator[Message]:
    """Yield messages without end, the same for the same seed: fields changed, then bytes."""
    chance = random.Random(seed)
    names = list(GOOD)
    while True:
        kind = chance.random()
        if kind < 0.45:
            fields = dict(GOOD)
            for _ in range(chance.randint(1, 3)):
                name = chance.choice(names)
                if chance.random() < 0.2:
                    fields.pop(name, None)
                else:
                    fields[name] = _value(chance, fields.get(name))
            key = str(fields.get("product_id")) if chance.random() < 0.8 else str(_value(chance, "ETH-USD"))
            yield key.encode("utf-8", "surrogatepass"), json.dumps(fields).encode()
            continue
        key_bytes, value = chance.choice(CORPUS[:3]) if kind < 0.95 else chance.choice(CORPUS)
        if value is not None:
            value = mutate(chance, value)
        if key_bytes and chance.random() < 0.1:
            key_bytes = mutate(chance, key_bytes)
        yield key_bytes, value


def _value(chance: random.Random, old: object) -> object:
    kind = chance.random()
    if kind < 0.4:
        return chance.choice(VALUES)
    if kind < 0.6:
        whole, fraction = chance.getrandbits(chance.randint(1, 70)), chance.getrandbits(chance.randint(1, 64))
        return f"{whole}.{fraction}"
    if kind < 0.8:
        date = f"{chance.randint(0, 9999):04d}-{chance.randint(0, 13):02d}-{chance.randint(0, 32):02d}"
        clock = f"{chance.randint(0, 24):02d}:{chance.randint(0, 60):02d}:{chance.randint(0, 60):02d}"
        fraction_text, zone = (
            chance.choice(("", ".1", ".123456", ".1234567")),
            chance.choice(("Z", "+01:00", "-23:59")),
        )
        return f"{date}T{clock}{fraction_text}{zone}"
    text = list(str(old))
    for _ in range(chance.randint(1, 3)):
        text.insert(
            chance.randint(0, len(text)),
            chr(chance.choice((chance.randrange(256), chance.randrange(0xD800)))),
        )
    return "".join(text)


def mutate(chance: random.Random, raw: bytes) -> bytes:
    changed = bytearray(raw)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        kind, at = chance.randrange(5), chance.randint(0, len(changed))
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            changed[at:at] = chance.choice(TOKENS)
        elif kind == 2:
            del changed[at : at + chance.choice((1, 2, 8, 64))]
        elif kind == 3:
            changed[at : at + 1] = bytes([chance.randrange(256)])
        else:
            begin = chance.randint(0, len(changed))
            changed[at:at] = changed[begin : begin + chance.choice((1, 8, 64))]
    return bytes(changed)
