"""What `import cryptometrics` offers, and what it costs."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import cryptometrics as cm

IMPORT = """
import sys, time
began = time.process_time()
import cryptometrics
print(time.process_time() - began)
print(*sorted(name for name in ("numpy", "pyarrow", "psycopg", "pydantic", "asyncio") if name in sys.modules))
"""


def test_the_import_takes_less_than_a_tenth_of_a_second() -> None:
    found = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    seconds, loaded = found.stdout.split("\n")[:2]
    assert float(seconds) < 0.1
    assert loaded == ""


@pytest.mark.parametrize("name", cm.__all__)
def test_each_name_is_there(name: str) -> None:
    assert getattr(cm, name) is not None
    assert name in dir(cm)


def test_follow_stays_a_function_beside_the_folder_of_that_name() -> None:
    folder = importlib.import_module("cryptometrics.follow")
    assert callable(cm.follow)
    assert folder.__name__ == "cryptometrics.follow"


def test_another_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="'cryptometrics' has no attribute 'nothing'"):
        _ = cm.nothing


def test_a_bookmark_survives_being_written() -> None:
    place = cm.Bookmark("g1", {"topic/0": 5, "topic/1": 7})
    assert cm.Bookmark.from_json(place.to_json()) == place


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"group": 1, "offsets": {}}', '{"group": "a", "offsets": {"b": "c"}}']
)
def test_anything_else_is_no_bookmark(text: str) -> None:
    with pytest.raises(cm.UserError, match="not a bookmark"):
        cm.Bookmark.from_json(text)
