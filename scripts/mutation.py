# SPDX-License-Identifier: Apache-2.0
"""Changes the CA's code in one place at a time and runs the tests: ``scripts/mutation.py [--most N] [PART]...``.

A change that no test notices is a survivor; docs/mutation.md explains those that may survive. The files themselves
are never touched: each run is a process of its own that is given the changed source in memory. What is slow or needs
programs of others is not run, so the whole suite notices more than this.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import importlib.abc
import importlib.util
import os
import random
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
_TIMEOUT_S = 600
_CORE = [f"tests/ca/test_{name}.py" for name in ("names", "lint", "issuance", "settings", "revocation", "rollover")]
_ACME = [
    f"tests/ca/acme/test_acme_{name}.py"
    for name in ("orders", "meanwhile", "accounts", "renewal_and_revocation", "validation")
]
PARTS = {
    "issuance": (["ottr/ca/issuance.py", "ottr/ca/template.py"], _CORE[2:] + _CORE[:2]),
    "policy": (["ottr/ca/names.py", "ottr/ca/profiles.py", "ottr/ca/lint.py"], _CORE),
    "acme": ([f"ottr/ca/acme/{name}.py" for name in ("orders", "finalize", "authorizations", "accounts")], _ACME),
}
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


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change."""

    path: str
    line: int
    what: str
    source: str


def list_mutants(path: str) -> Iterator[Mutant]:
    """Every change of a file that is looked at."""
    tree = ast.parse((ROOT / path).read_text())
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    declared = {id(part) for one in classes for decorator in one.decorator_list for part in ast.walk(decorator)}
    for place, node in enumerate(ast.walk(tree)):
        if id(node) in declared:  # frozen, slots: for the reader and mypy
            continue
        for number, (what, _) in enumerate(_changes(node)):
            changed = copy.deepcopy(tree)
            twin = next(one for at, one in enumerate(ast.walk(changed)) if at == place)
            _replace(twin, list(_changes(twin))[number][1])
            source = ast.unparse(ast.fix_missing_locations(changed))
            yield Mutant(path, getattr(node, "lineno", 0), what, source)


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARE:
        other = copy.copy(node)
        other.ops = [_COMPARE[type(node.ops[0])](), *node.ops[1:]]
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


def _replace(node: ast.AST, other: ast.AST) -> None:
    """Let a node of a tree become another one."""
    node.__class__ = other.__class__
    node.__dict__.update({name: getattr(other, name) for name in other._fields})


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the one module that is changed."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self._name = mutant.path.removesuffix(".py").replace("/", ".")

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        """Ours, or nobody's."""
        del path, target
        return importlib.util.spec_from_loader(fullname, self) if fullname == self._name else None

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed source."""
        exec(compile(self._mutant.source, self._mutant.path, "exec"), module.__dict__)  # noqa: S102


def survives(mutant: Mutant, tests: Sequence[str]) -> bool:
    """Run the tests on a change, in a child; what never ends is noticed too."""
    child = os.fork()
    if child == 0:
        _run(mutant, tests)
    _, status = os.waitpid(child, 0)
    return status == 0


def _run(mutant: Mutant, tests: Sequence[str]) -> None:
    signal.alarm(_TIMEOUT_S)
    resource.setrlimit(resource.RLIMIT_CPU, (_TIMEOUT_S, _TIMEOUT_S))
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    sys.meta_path.insert(0, Changed(mutant))
    import pytest

    with tempfile.TemporaryDirectory() as folder:
        options = ["-x", "-q", "-p", "no:cacheprovider", "--basetemp", folder]
        status = pytest.main([*options, *tests])
    os._exit(int(status))


def main() -> int:
    """Run as many changes as asked for; status 1 when one of them survives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--most", type=int, default=0, help="of each part, chosen by chance; 0: all")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    os.nice(10)

    for name in ("cryptography.x509", "sqlalchemy", "uvicorn"):
        importlib.import_module(name)  # once, for all children
    survivors = 0
    for part in given.parts:
        paths, tests = PARTS[part]
        mutants = [mutant for path in paths for mutant in list_mutants(path)]
        if given.most and given.most < len(mutants):
            mutants = sorted(
                random.Random(given.seed).sample(mutants, given.most),  # noqa: S311 not a secret
                key=lambda one: (one.path, one.line),
            )
        unchanged = Mutant(paths[0], 0, "", (ROOT / paths[0]).read_text())
        if not survives(unchanged, tests):
            raise SystemExit(f"{part}: the tests fail without any change")
        found = 0
        for mutant in mutants:
            if survives(mutant, tests):
                found += 1
                print(f"{mutant.path}:{mutant.line}: {mutant.what}", flush=True)
        print(f"{part}: {len(mutants)} changes, {found} survived", flush=True)
        survivors += found
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
