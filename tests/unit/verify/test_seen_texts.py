"""Equal texts get the same number, others another one or none."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cryptometrics.verify.byte_words import ByteWords
from cryptometrics.verify.seen_texts import NOT_SEEN, SeenTexts

_is_word = re.compile(rb"[a-z]{1,40}").fullmatch
words = st.lists(st.text("ab", min_size=1, max_size=3) | st.text("abc", min_size=7, max_size=20), max_size=30)


def read(seen: SeenTexts, texts: list[str]) -> list[str | None]:
    """Return each text as its number says, None for a text without a number."""
    data = "".join(texts).encode()
    lengths = np.array([len(text) for text in texts], np.int64)
    ends = np.cumsum(lengths)
    numbers = seen.read(ByteWords(data + bytes(8)), ends - lengths, ends)
    return [None if number == NOT_SEEN else seen.texts[number].decode() for number in numbers]


@given(words, words)
def test_numbers_stand_for_texts(first: list[str], second: list[str]) -> None:
    seen = SeenTexts(_is_word, 100)
    for texts in (first, second):
        numbers = seen.numbers([text.encode() for text in texts])
        assert [seen.texts[number].decode() for number in numbers] == texts
        assert read(seen, texts) == texts


@given(words)
def test_texts_are_compared_throughout(texts: list[str]) -> None:
    seen = SeenTexts(_is_word, 100)
    data = "".join(texts).encode()
    lengths = np.array([len(text) for text in texts], np.int64)
    ends = np.cumsum(lengths)
    others = [*texts[1:], *texts[:1]]
    equal = seen.equal(
        seen.numbers([text.encode() for text in others]), ByteWords(data + bytes(8)), ends - lengths, ends
    )
    assert equal.tolist() == [text == other for text, other in zip(texts, others, strict=True)]


def test_a_text_without_the_form_gets_no_number() -> None:
    seen = SeenTexts(_is_word, 100)
    assert seen.numbers([b"a", None, b"", b"A", b"b"]).tolist() == [0, NOT_SEEN, NOT_SEEN, NOT_SEEN, 1]
    assert read(seen, ["A", "a", "c", "B", "c"]) == [None, "a", "c", None, "c"]
    assert seen.number(b"A") == NOT_SEEN


def test_there_is_a_limit() -> None:
    seen = SeenTexts(_is_word, 3, [b"first"])
    assert read(seen, ["b", "c", "d", "first"]) == ["b", "c", None, "first"]
    assert seen.numbers([b"d", b"c"]).tolist() == [NOT_SEEN, 2]
