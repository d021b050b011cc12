"""The small changes that can be made to a module, each of which some test should notice. Pure.

Annotations, docstrings, imports, assertions, decorators and the bases of classes are left alone: they have no
behaviour that a unit test of the module could see.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BOUNDARIES: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}
_OPPOSITES: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}
_SIGNS: dict[type[ast.AST], str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=", ast.Is: "is",
    ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in", ast.Add: "+", ast.Sub: "-", ast.Mult: "*",
    ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**", ast.LShift: "<<", ast.RShift: ">>",
    ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.And: "and", ast.Or: "or",
}  # fmt: skip
_DROPPED = (ast.AugAssign, ast.Raise, ast.Continue, ast.Break, ast.Delete)
_NEVER = (ast.Import, ast.ImportFrom, ast.JoinedStr, ast.Assert)


@dataclass(frozen=True)
class Mutation:
    """One change of a syntax tree; `apply` makes it, and cannot take it back."""

    line: int
    column: int
    """Of the changed piece of code, from 0."""
    change: str
    apply: Callable[[], None]
    statement: range = range(0)
    """Lines of the statement around it, without the body of a compound one: a test that runs it runs one."""


def mutations(tree: ast.Module) -> list[Mutation]:
    """Return every change that can be made to a module, in the order of its text."""
    found = [each for child in _children(tree) for each in _below(child, tree, range(0))]
    return sorted(found, key=lambda each: (each.line, each.column, each.change))


def _below(node: ast.AST, parent: ast.AST, statement: range) -> Iterator[Mutation]:
    if isinstance(node, _NEVER) or _is_for_types_only(node):
        return
    if isinstance(node, ast.stmt):
        statement = _lines(node)
    for each in (*_of_statement(node, parent), *_of_expression(node, parent)):
        yield replace(each, statement=statement)
    for child in _children(node):
        yield from _below(child, node, statement)


def _lines(node: ast.stmt) -> range:
    body = getattr(node, "body", None) or getattr(node, "cases", None)
    if not body:
        return range(node.lineno, (node.end_lineno or node.lineno) + 1)
    first = body[0].pattern if isinstance(body[0], ast.match_case) else body[0]
    return range(node.lineno, max(first.lineno, node.lineno + 1))


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the parts of a node that have behaviour."""
    skipped: tuple[str, ...] = ()
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        skipped = ("decorator_list", "returns")
    elif isinstance(node, ast.ClassDef):
        skipped = ("decorator_list", "bases", "keywords")
    elif isinstance(node, ast.AnnAssign | ast.arg):
        skipped = ("annotation",)
    for name, value in ast.iter_fields(node):
        if name not in skipped:
            yield from (each for each in _listed(value) if isinstance(each, ast.AST))


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_for_types_only(node: ast.AST) -> bool:
    """Return whether a statement is a docstring, or an `if TYPE_CHECKING`."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _of_statement(node: ast.AST, parent: ast.AST) -> Iterator[Mutation]:
    stores = isinstance(node, ast.Assign) and all(
        isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets
    )
    if isinstance(node, (ast.Expr, *_DROPPED)) or stores:
        yield _replacing(node, parent, ast.Pass(), "statement dropped")
    if isinstance(node, ast.Return) and node.value is not None and not _is_constant(node.value, None):
        yield _replacing(node.value, node, ast.Constant(None), "returns None")
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        yield from _negation(node.test, node)
    if isinstance(node, ast.comprehension):
        for condition in node.ifs:
            yield from _negation(condition, node)


def _negation(test: ast.expr, parent: ast.AST) -> Iterator[Mutation]:
    """Negate a condition, unless another mutation does the same."""
    is_plain_comparison = isinstance(test, ast.Compare) and len(test.ops) == 1
    is_negated = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
    if not is_plain_comparison and not is_negated:
        yield _replacing(test, parent, ast.UnaryOp(ast.Not(), test), "condition negated")


def _of_expression(node: ast.AST, parent: ast.AST) -> Iterator[Mutation]:
    match node:
        case ast.Constant(value=bool() | int() | float() as value):
            for other in [not value] if isinstance(value, bool) else [value + 1, value - 1]:
                yield _replacing(node, parent, ast.Constant(other), f"{value!r} → {other!r}")
        case ast.Compare():
            for place, operator in enumerate(node.ops):
                for others in (_BOUNDARIES, _OPPOSITES):
                    if type(operator) in others:
                        yield _comparing(node, place, others[type(operator)]())
        case ast.BinOp() | ast.AugAssign() if type(node.op) in _ARITHMETIC and not _is_type_union(node):
            yield _setting(node, "op", _ARITHMETIC[type(node.op)]())
        case ast.BoolOp():
            yield _setting(node, "op", ast.Or() if isinstance(node.op, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            name = "not" if isinstance(node.op, ast.Not) else "minus"
            yield _replacing(node, parent, node.operand, f"{name} dropped")


def _is_type_union(node: ast.AST) -> bool:
    """Return whether it is a type such as `bytes | None`, which is written where a name is given to one."""
    return (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.BitOr)
        and (_is_constant(node.right, None) or _is_type_union(node.left))
    )


def _is_constant(node: ast.AST, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _replacing(node: Any, parent: ast.AST, new: ast.AST, change: str) -> Mutation:
    def apply() -> None:
        ast.copy_location(new, node)
        for name, value in ast.iter_fields(parent):
            if value is node:
                setattr(parent, name, new)
            elif isinstance(value, list):
                value[:] = [new if each is node else each for each in value]
        ast.fix_missing_locations(parent)

    return Mutation(node.lineno, node.col_offset, change, apply)


def _setting(node: Any, name: str, new: ast.AST) -> Mutation:
    change = f"{_SIGNS[type(getattr(node, name))]} → {_SIGNS[type(new)]}"
    return Mutation(node.lineno, node.col_offset, change, lambda: setattr(node, name, new))


def _comparing(node: ast.Compare, place: int, new: ast.cmpop) -> Mutation:
    def apply() -> None:
        node.ops[place] = new

    change = f"{_SIGNS[type(node.ops[place])]} → {_SIGNS[type(new)]}"
    return Mutation(node.lineno, node.comparators[place].col_offset, change, apply)
