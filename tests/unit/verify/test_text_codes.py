"""Each combination of texts has one code, whatever else is in its block, and is found by its hash."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.verify.copy_blocks import CopyBlock
from cryptometrics.verify.text_codes import TextCodes

if TYPE_CHECKING:
    import pytest

Texts = tuple[str, str]
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


def block(rows: list[Texts]) -> CopyBlock:
    """Return rows of two text fields as PostgreSQL sends them."""
    fields = [[text.encode() for text in row] for row in rows]
    return CopyBlock(
        [
            memoryview(b"\0\2" + b"".join(len(text).to_bytes(4, "big") + text for text in row))
            for row in fields
        ]
    )


@given(st.lists(st.lists(st.tuples(texts, texts), min_size=1, max_size=8), min_size=1, max_size=4))
def test_codes_stand_for_texts(blocks: list[list[Texts]]) -> None:
    codes = TextCodes(fields=2)
    for rows in blocks:
        assert [codes.texts[code] for code in codes.read(block(rows))] == rows
    assert len(set(codes.texts)) == len(codes.texts)


def test_known_texts_are_found_by_their_hash_beside_longer_and_shorter_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short, long = ("simulated", "BTC-USD"), ("simulated", "a pair with a name of many words-USD")
    codes = TextCodes(fields=2)
    blocks = [[short, long], [short], [long]]
    first = [codes.read(block(rows)).tolist() for rows in blocks]

    def refuse(*_: object) -> int:
        raise AssertionError("a text was looked up by itself")

    monkeypatch.setattr(codes, "_add", refuse)
    assert [codes.read(block(rows)).tolist() for rows in blocks] == first == [[0, 1], [0], [1]]
