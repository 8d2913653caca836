# SPDX-License-Identifier: Apache-2.0
"""Changes the CA's code in one place at a time and runs the tests: ``scripts/mutation.py [--most N] [PART]...``.

A change that no test notices is a survivor; docs/mutation.md explains those that may survive. The files themselves are
never touched. The tests run once with their coverage; then this process loads them all, and each change has a child of
it that changes the code in memory and runs only the tests that have run that line, the quickest first, until one fails.
What is slow or needs programs of others is not run, so the whole suite notices more than this.
"""

from __future__ import annotations

import argparse
import gc
import importlib.abc
import importlib.util
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import coverage
import pytest
from mutants import ROOT, Mutant, list_mutants

_MOST_CPU_S, _MOST_S = 120, 300
"""Of the tests of one change; a machine that is busy may take long."""
_CORE = [
    f"tests/ca/test_{name}.py"
    for name in ("names", "lint", "issuance", "settings", "revocation", "rollover", "transfer", "standing", "pkilint")
]
_KEYS = [f"tests/ca/test_{name}.py" for name in ("keys", "envelope", "held_keys", "given_certificate", "database")]
_JOSE = ["tests/ca/test_jose.py", "tests/ca/test_jwks.py"]
_ACME = [
    f"tests/ca/acme/test_acme_{name}.py"
    for name in (
        "orders",
        "bounds",
        "meanwhile",
        "accounts",
        "renewal_and_revocation",
        "validation",
        "requests",
        "settings",
        "memory",
        "at_once",
    )
]
_PATH = ["tests/ca/acme/test_acme_direct.py", "tests/ca/test_plain.py"]
PARTS = {
    "issuance": (["ottr/ca/issuance.py", "ottr/ca/template.py"], _CORE),
    "policy": (["ottr/ca/names.py", "ottr/ca/profiles.py", "ottr/ca/lint.py"], _CORE),
    "signing": (
        [f"ottr/ca/{name}.py" for name in ("signer", "keys", "der", "certificates")],
        [*_CORE, *_KEYS, "tests/ca/test_der.py", "tests/ca/status/test_ocsp.py", "tests/ca/status/test_crls.py"],
    ),
    "acme": ([f"ottr/ca/acme/{name}.py" for name in ("orders", "finalize", "authorizations", "accounts")], _ACME),
    "requests": (
        ["ottr/ca/jose.py", *(f"ottr/ca/acme/{name}.py" for name in ("server", "exchange", "nonces"))],
        [*_ACME, *_JOSE],
    ),
    "waiting": (
        [f"ottr/ca/acme/{name}.py" for name in ("looks", "validation/glance", "disk")],
        _ACME,
    ),
    "rows": (
        ["ottr/statement.py", "ottr/ca/writer.py", "ottr/ca/acme/memory.py"],
        [*_ACME, "tests/ca/test_database.py", "tests/state/test_database.py"],
    ),
    "path": (
        [f"ottr/ca/{name}.py" for name in ("direct", "plain", "wire")],
        [*_PATH, "tests/ca/acme/test_acme_at_once.py"],
    ),
}
_BROKEN = (70, pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR)
_QUIET = [
    "-q",
    "-k",
    "not postgresql",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
]

# Which tests have run it


@dataclass(slots=True)
class Measured:
    """What each test has run, and how long that took."""

    seconds: dict[str, float] = field(default_factory=dict)
    contexts: Mapping[str, Mapping[int, Sequence[str]]] = field(default_factory=dict)

    def choose(self, mutant: Mutant, candidates: set[str]) -> list[str]:
        """Tests that have run the lines, then what else might notice; the quickest first.

        What is shared by tests is said to be the first one's, and what runs when a module is loaded nobody's.
        """
        known, said = self.contexts.get(mutant.path, {}), self.list_contexts(mutant)
        own = {context.rpartition("|")[0] for context in said} & candidates
        if mutant.is_inside and "" not in said and not any(context.endswith("|setup") for context in said):
            return self.sort(own)
        everywhere = {context.rpartition("|")[0] for contexts in known.values() for context in contexts} & candidates
        return [*self.sort(own), *self.sort(everywhere - own)]

    def list_contexts(self, mutant: Mutant) -> set[str]:
        """Who has run the lines: tests and their fixtures, and with an empty name whoever loaded modules."""
        known = self.contexts.get(mutant.path, {})
        return {context for line in mutant.lines for context in known.get(line, ())}

    def is_run_at_loading(self, mutant: Mutant) -> bool:
        """Whether its effect is in what loaded modules hold."""
        return not mutant.is_inside or "" in self.list_contexts(mutant)

    def sort(self, tests: Iterable[str]) -> list[str]:
        """The quickest first."""
        return sorted(tests, key=lambda one: (self.seconds[one], one))


class _Timing:
    """A plugin that writes down how long every test took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.began = 0.0

    def pytest_runtest_setup(self) -> None:
        self.began = time.process_time()

    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        self.seconds[item.nodeid] = time.process_time() - self.began


def measure(tests: Sequence[str], homes: Sequence[str], folder: Path) -> Measured:
    """Run the tests once, in a child, unless it is in the folder. Raises SystemExit when one of them fails.

    ``homes`` are folders: to measure modules by their names, coverage would load some of what they need twice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "seconds.json"

    def run() -> int:
        os.environ["COVERAGE_FILE"] = str(folder / "coverage")
        timing, what = _Timing(), [f"--cov={one}" for one in homes]
        status = pytest.main([*_QUIET, *what, "--cov-context=test", "--cov-report=", *tests], plugins=[timing])
        file.write_text(json.dumps(timing.seconds))
        return status

    if not file.exists() and _wait(_fork(run, quiet=False)) != 0:
        file.unlink(missing_ok=True)
        raise SystemExit("the tests fail without any change")
    data = coverage.CoverageData(str(folder / "coverage"))
    data.read()
    lines = {str(Path(one).relative_to(ROOT)): data.contexts_by_lineno(one) for one in data.measured_files()}
    return Measured(json.loads(file.read_text()), lines)


# One change


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the one module that is changed."""

    def __init__(self, path: str, code: CodeType) -> None:
        self._name = path.removesuffix(".py").replace("/", ".")
        self._path = path
        self._code = code

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        """Ours, or nobody's."""
        del path, target
        return importlib.util.spec_from_loader(fullname, self) if fullname == self._name else None

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed code."""
        module.__file__ = str(ROOT / self._path)
        exec(self._code, module.__dict__)  # noqa: S102


def _apply(mutant: Mutant, functions: Sequence[FunctionType], *, anew: bool) -> None:
    """Give the functions that are loaded the changed code; what was run at loading is loaded anew, with its users."""
    code = mutant.compile()
    if not anew and _swap(code, functions):
        return
    for name in [name for name in sys.modules if name.partition(".")[0] in ("ottr", "tests")]:
        del sys.modules[name]
    sys.meta_path.insert(0, Changed(mutant.path, code))


def _swap(code: CodeType, functions: Sequence[FunctionType]) -> bool:
    """False where it cannot be: a function that now closes over something else."""
    fresh = {(one.co_qualname, one.co_firstlineno): one for one in _list_codes(code)}
    try:
        for function in functions:
            known = function.__code__
            if known.co_filename == code.co_filename:
                function.__code__ = fresh[known.co_qualname, known.co_firstlineno]
    except ValueError:
        return False
    return True


def _list_codes(code: CodeType) -> Iterator[CodeType]:
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield one
            yield from _list_codes(one)


class _Choice:
    """A plugin that runs these tests only, in this order, and knows which one failed."""

    def __init__(self, wanted: Sequence[str]) -> None:
        self._wanted = wanted
        self.failed = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed = self.failed or (report.nodeid if report.failed else "")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        found = {item.nodeid: item for item in items}
        items[:] = [found[one] for one in self._wanted if one in found]


def _test(
    mutant: Mutant,
    functions: Sequence[FunctionType],
    tests: Sequence[str],
    noticed: Path | None = None,
    *,
    anew: bool = True,
) -> int:
    """0: nobody noticed; who did is written to a file, if there is one."""
    signal.alarm(_MOST_S)
    resource.setrlimit(resource.RLIMIT_CPU, (_MOST_CPU_S, _MOST_CPU_S))
    _apply(mutant, functions, anew=anew)
    files = sorted({one.partition("::")[0] for one in tests})
    choice = _Choice(tests)
    with tempfile.TemporaryDirectory() as folder:
        status = pytest.main([*_QUIET, "-x", "--basetemp", folder, *files], plugins=[choice])
    if noticed is not None and status:
        with noticed.open("a") as file:
            file.write(f"{mutant.path}:{mutant.line}: {mutant.what}\t{choice.failed or 'at loading'}\n")
    return status


def _fork(work: Callable[[], int], *, quiet: bool) -> int:
    """A child that does this and ends with its status."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    if quiet:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
    status = 70
    try:
        status = int(work())
    finally:
        os._exit(status)


def _wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# All of them


@dataclass(slots=True)
class Run:
    """What is needed to try changes, and what became of them."""

    measured: Measured
    functions: Sequence[FunctionType]
    jobs: int
    candidates: set[str]
    noticed: Path | None
    running: dict[int, Mutant] = field(default_factory=dict)
    survivors: int = 0
    unended: int = 0
    """Noticed because the tests did not end."""

    def check_unchanged(self, path: str) -> None:
        """Raises SystemExit when tests fail without a change, all of it loaded anew."""
        tests = self.measured.sort(self.candidates)
        nothing = Mutant(path, 0, "", 0, -1, range(0), is_inside=False)
        code = _wait(_fork(lambda: _test(nothing, self.functions, tests), quiet=True))
        if code != 0:
            raise SystemExit(f"{path}: the tests fail without any change ({code})")

    def try_all(self, mutants: Iterable[Mutant]) -> None:
        """Each in a child, some side by side."""
        for mutant in mutants:
            if len(self.running) == self.jobs:
                self._collect()
            self._start(mutant)
        while self.running:
            self._collect()

    def _start(self, mutant: Mutant) -> None:
        tests, anew = self.measured.choose(mutant, self.candidates), self.measured.is_run_at_loading(mutant)
        work = partial(_test, mutant, self.functions, tests, self.noticed, anew=anew)
        self.running[_fork(work, quiet=True)] = mutant

    def _collect(self) -> None:
        child, status = os.wait()
        mutant, code = self.running.pop(child), os.waitstatus_to_exitcode(status)
        if code in _BROKEN:
            raise SystemExit(f"{mutant.path}:{mutant.line}: {mutant.what}: the run itself failed ({code})")
        self.unended += code < 0
        if code in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            self.survivors += 1
            print(f"{mutant.path}:{mutant.line}: {mutant.what}", flush=True)


def _load(tests: Sequence[str]) -> list[FunctionType]:
    """Load all that tests need, once for all children; return the functions of Ottr."""
    if pytest.main([*_QUIET, "--collect-only", "-qq", *tests]) != 0:
        raise SystemExit("the tests cannot be loaded")
    gc.unfreeze()  # the tests freeze what they load, and what is frozen is not found
    gc.collect()
    home = str(ROOT / "ottr")
    every = (one for one in gc.get_objects() if isinstance(one, FunctionType))
    found = [one for one in every if one.__code__.co_filename.startswith(home)]
    gc.freeze()
    if not found:
        raise SystemExit("nothing of Ottr is found in memory, so nothing would be changed")
    return found


def _select(path: Sequence[str], most: int, seed: int) -> list[Mutant]:
    mutants = [mutant for one in path for mutant in list_mutants(one)]
    if not most or most >= len(mutants):
        return mutants
    chosen = random.Random(seed).sample(mutants, most)  # noqa: S311 not a secret
    return sorted(chosen, key=lambda one: (one.path, one.line))


def main() -> int:
    """Run as many changes as asked for; status 1 when one of them survives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--most", type=int, default=0, help="of each part, chosen by chance; 0: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--noticed", type=Path, help="file for the changes that were noticed, and by which test")
    parser.add_argument("--measured", type=Path, help="folder that keeps the coverage for the next run")
    given = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        tests = sorted({test for part in given.parts for test in PARTS[part][1]})
        homes = sorted({str(Path(path).parent) for part in given.parts for path in PARTS[part][0]})
        measured = measure(tests, homes, (given.measured or Path(folder)) / "-".join(given.parts))
        functions = _load(tests)
        for part in given.parts:
            paths, files = PARTS[part]
            candidates = {one for one in measured.seconds if one.partition("::")[0] in files}
            mutants = _select(paths, given.most, given.seed)
            run = Run(measured, functions, given.jobs, candidates, given.noticed)
            run.check_unchanged(paths[0])
            run.try_all(mutants)
            print(f"{part}: {len(mutants)} changes, {run.survivors} survived, {run.unended} did not end", flush=True)
            survivors += run.survivors
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{used.ru_utime + used.ru_stime:.0f} s of CPU", flush=True)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
