# SPDX-License-Identifier: Apache-2.0
"""The changes of one place that a mutation run makes, and how they are compiled; see ``mutation``."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

ROOT = Path(__file__).resolve().parent.parent

_COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add}
_Scope = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: of the node at a place of the tree, the one with that number."""

    path: str
    line: int
    what: str
    place: int
    number: int
    """-1: none."""
    lines: range
    """Of the statement."""
    is_inside: bool
    """Of a function: else it is run when the module is loaded."""

    def compile(self) -> CodeType:
        """The changed module."""
        tree = ast.parse((ROOT / self.path).read_text())
        node = next(one for at, one in enumerate(ast.walk(tree)) if at == self.place)
        for number, (_, other) in enumerate(_changes(node)):
            if number == self.number:
                node.__class__ = other.__class__
                node.__dict__.update({name: getattr(other, name) for name in other._fields})
        return compile(ast.fix_missing_locations(tree), str(ROOT / self.path), "exec", dont_inherit=True)


def list_mutants(path: str) -> Iterator[Mutant]:
    """Every change of a file that is looked at."""
    tree = ast.parse((ROOT / path).read_text())
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    declared = {id(part) for one in classes for decorator in one.decorator_list for part in ast.walk(decorator)}
    homes = dict(_find_homes(tree, tree, is_inside=False))
    for place, node in enumerate(ast.walk(tree)):
        if id(node) in declared or id(node) not in homes:  # frozen, slots: for the reader and mypy
            continue
        lines, is_inside = homes[id(node)]
        for number, (what, _) in enumerate(_changes(node)):
            yield Mutant(path, getattr(node, "lineno", 0), what, place, number, lines, is_inside)


def _find_homes(node: ast.AST, home: ast.AST, *, is_inside: bool) -> Iterator[tuple[int, tuple[range, bool]]]:
    """Of every node: the lines of the statement it is in (of compound ones, their head), and is it in a function."""
    for name, content in ast.iter_fields(node):
        for child in content if isinstance(content, list) else [content]:
            if isinstance(child, ast.AST):
                inside = is_inside or (isinstance(node, _Scope) and name == "body")
                where = child if isinstance(child, ast.stmt) else home
                yield id(child), (_span(where), inside)
                yield from _find_homes(child, where, is_inside=inside)


def _span(home: ast.AST) -> range:
    first, last = getattr(home, "lineno", 1), getattr(home, "end_lineno", 1)
    body = getattr(home, "body", None)
    return range(first, max(first + 1, body[0].lineno) if isinstance(body, list) and body else last + 1)


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARE:
        other = ast.Compare(node.left, [_COMPARE[type(node.ops[0])](), *node.ops[1:]], node.comparators)
        yield f"{ast.unparse(node)} -> {ast.unparse(other)}", other
    elif isinstance(node, ast.BoolOp):
        swapped = ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        yield f"{ast.unparse(node)} -> {ast.unparse(swapped)}", swapped
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield f"{ast.unparse(node)} -> {ast.unparse(node.operand)}", node.operand
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        other_sum = ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right)
        yield f"{ast.unparse(node)} -> {ast.unparse(other_sum)}", other_sum
    elif isinstance(node, ast.Raise):
        yield f"{ast.unparse(node)[:60]} -> pass", ast.Pass()
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield f"{node.value} -> {not node.value}", ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield f"{node.value} -> {node.value + 1}", ast.Constant(node.value + 1)
