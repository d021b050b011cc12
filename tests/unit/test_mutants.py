"""Mutation testing: which changes are made, where they are, and that a listed one still exists."""

from __future__ import annotations

import ast
import textwrap

import pytest

from tests.mutants.equivalent import equivalents
from tests.mutants.mutations import mutations
from tests.mutants.run import ROOMS, every


def mutated(source: str) -> list[tuple[str, str]]:
    """Return each change of a piece of code, and the code that it makes."""
    found = []
    for number, mutation in enumerate(mutations(ast.parse(source))):
        tree = ast.parse(source)
        mutations(tree)[number].apply()
        compile(tree, "mutant", "exec")
        found.append((mutation.change, ast.unparse(tree)))
    return found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("N = 5", [("5 → 4", "N = 4"), ("5 → 6", "N = 6")]),
        ("N = 0.5", [("0.5 → -0.5", "N = -0.5"), ("0.5 → 1.5", "N = 1.5")]),
        ("on = True", [("True → False", "on = False")]),
        ("a < b", [("statement dropped", "pass"), ("< → <=", "a <= b"), ("< → >=", "a >= b")]),
        ("x = a is b", [("is → is not", "x = a is not b")]),
        ("x = a not in b", [("not in → in", "x = a in b")]),
        ("x = a + b", [("+ → -", "x = a - b")]),
        ("x = a // b", [("// → *", "x = a * b")]),
        ("x = -a", [("minus dropped", "x = a")]),
        ("x = not a", [("not dropped", "x = a")]),
        ("x = a and b", [("and → or", "x = a or b")]),
        ("x = a if b else c", [("condition negated", "x = a if not b else c")]),
        ("x = [a for a in b if a]", [("condition negated", "x = [a for a in b if not a]")]),
        ("a.x = b", [("statement dropped", "pass")]),
        ("a += b", [("+ → -", "a -= b"), ("statement dropped", "pass")]),
        ("f(a)", [("statement dropped", "pass")]),
        ("raise E", [("statement dropped", "pass")]),
    ],
)
def test_each_kind_of_change(source: str, expected: list[tuple[str, str]]) -> None:
    assert sorted(mutated(source)) == sorted(expected)


def test_the_result_of_a_function_is_dropped() -> None:
    assert mutated("def f():\n    return a") == [("returns None", "def f():\n    return None")]
    assert mutated("def f():\n    return None") == []


def test_a_condition_that_is_a_comparison_is_not_negated_twice() -> None:
    changes = [change for change, _ in mutated("if a == b:\n    c = d")]
    assert changes == ["== → !="]


@pytest.mark.parametrize(
    "source",
    [
        '"""A docstring of 5 words."""',
        "import a",
        "assert a is not None and b > 5",
        "x: Annotated[int, 5]",
        "def f(x: Annotated[int, 5]) -> Literal[5]: x = y",
        "@cache(5)\ndef f(): x = y",
        "class A(B, frozen=True): x = y",
        "if TYPE_CHECKING:\n    N = 5",
        "Message = bytes | None",
        'x = f"{y:5}"',
    ],
)
def test_what_has_no_behaviour_is_left_alone(source: str) -> None:
    assert mutated(source) == []


def test_a_mutation_knows_the_lines_of_its_statement_but_not_those_of_a_body() -> None:
    source = textwrap.dedent("""\
        if (a
                < b):
            x = (1
                 + y)
        """)
    found = {each.change: each.statement for each in mutations(ast.parse(source))}
    assert found["< → <="] == range(1, 3)
    assert found["+ → -"] == found["1 → 2"] == range(3, 5)


@pytest.mark.parametrize("room", ROOMS)
def test_each_equivalent_mutant_exists_and_has_its_reason(room: str) -> None:
    places = {mutant.place for mutant in every(room)}
    listed = {place: reason for place, reason in equivalents().items() if place.module.startswith(f"{room}/")}
    assert listed.keys() <= places
    assert all(len(reason) > 20 for reason in listed.values())
