"""Choose the keys of partitions so that a Flink cluster spreads them evenly over its tasks. Pure.

Flink hashes a key into one of 128 key groups, and each task owns a range of groups. Few keys taken as they
come fall unevenly: of four tasks, one would get two of the keys 0 to 3, and another none. On other runners
these keys are as good as any.
"""

from __future__ import annotations

from itertools import count

KEY_GROUPS = 128
"""Flink's default for up to 85 parallel tasks (`--max_parallelism`)."""

_WORD = 0xFFFF_FFFF


def spread_keys(number: int) -> list[int]:
    """Return so many different keys, whose key groups are as far apart as possible."""
    keys: list[int] = []
    taken: set[int] = set()
    for place in range(number):
        wanted = (2 * place + 1) * KEY_GROUPS // (2 * number)
        key = next(key for key in count() if key not in taken and key_group(key) == wanted)
        taken.add(key)
        keys.append(key)
    return keys


def key_group(key: int) -> int:
    """Return the key group of a key: from Java's hash of its bytes as Beam's VarInt."""
    code = 1
    for byte in reversed(_var_int(key)):
        signed = byte - 256 if byte > 127 else byte
        code = (31 * code + signed) & _WORD
    return _murmur(code) % KEY_GROUPS


def _var_int(number: int) -> bytes:
    content = bytearray()
    while number > 127:
        content.append(number & 127 | 128)
        number >>= 7
    content.append(number)
    return bytes(content)


def _murmur(code: int) -> int:
    """Return Flink's `MathUtils.murmurHash` of an int: MurmurHash3 of one word, made positive."""
    code = code * 0xCC9E2D51 & _WORD
    code = _rotated(code, 15) * 0x1B873593 & _WORD
    code = (_rotated(code, 13) * 5 + 0xE6546B64) & _WORD
    code ^= 4
    code = (code ^ code >> 16) * 0x85EBCA6B & _WORD
    code = (code ^ code >> 13) * 0xC2B2AE35 & _WORD
    code ^= code >> 16
    signed = code - 2**32 if code >= 2**31 else code
    if signed >= 0:
        return signed
    return -signed if signed != -(2**31) else 0


def _rotated(word: int, places: int) -> int:
    return (word << places | word >> (32 - places)) & _WORD
