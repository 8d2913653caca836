# SPDX-License-Identifier: Apache-2.0
"""README.md is true: its marked commands are run against a lab, and every command it and docs/ name exists."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import typer.main

from ottr.cli.main import build
from ottr.lab import Lab
from tests.acceptance.cli.shell import DEADLINE_S, wait_until

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
EXAMPLE_HOST, EXAMPLE_ISSUER, EXAMPLE_LAB = "web1.example.com", "lets_encrypt", "/tmp/ottr-lab"

_BLOCK = re.compile(r"^<!-- test: (\w+) -->\n```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`(ottr [^`]+)`|^(?:\$ |ExecStart(?:Pre)?=-?\S*/)?(ottr [a-z][^#\n`]*)$", re.MULTILINE)


@dataclass(frozen=True)
class Example:
    """A command of the README with the lines it says come out, in their order; ``...`` is anything."""

    command: str
    expected: tuple[str, ...]


def parse_examples(block: str) -> Iterator[Example]:
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, *expected = part.splitlines()
        yield Example(command, tuple(line for line in expected if line))


def read_blocks(kind: str) -> list[list[Example]]:
    text = (ROOT / "README.md").read_text()
    return [list(parse_examples(body)) for found, body in _BLOCK.findall(text) if found == kind]


def squeeze(line: str) -> str:
    """Columns are as wide as the names of the hosts."""
    return " ".join(line.split())


def check_output(example: Example, output: str) -> None:
    lines = iter([squeeze(line) for line in output.splitlines()])
    for wanted in example.expected:
        pattern = squeeze(wanted).replace("[", "[[]").replace("...", "*")
        assert any(fnmatchcase(line, pattern) for line in lines), f"{example.command}: {wanted!r} is not in\n{output}"


class Reader:
    """Somebody who types what the README says, in a home of their own."""

    def __init__(self, folder: Path) -> None:
        self.lab = folder / "lab"
        self.folder = folder / "work"
        home = folder / "home"
        for path in (self.folder, home):
            path.mkdir()
        kept = {name: os.environ[name] for name in ("LANG",) if name in os.environ}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = kept | {"PATH": path, "HOME": str(home), "COLUMNS": "200"}
        self.names: dict[str, str] = {EXAMPLE_LAB: str(self.lab)}

    def type(self, example: Example) -> None:
        if example.command.startswith("cd "):
            self.folder /= example.command.removeprefix("cd ")
            return
        done = subprocess.run(
            ["bash", "-ec", self._adapt(example.command)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        assert done.returncode == 0, f"{example.command}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
        check_output(Example(example.command, tuple(map(self._adapt, example.expected))), done.stdout)

    def edit(self, lab: Lab) -> None:
        """Put a host, its routes, CA and DNS into the three files, as the README asks of its reader."""
        init = ["ottr", "init", "--lab", str(lab.folder), "edited"]
        subprocess.run(init, cwd=self.folder, env=self.environment, check=True, stdout=subprocess.DEVNULL)
        for name in ("ottr.yaml", "routing.yaml", "inventory/hosts.yml"):
            shutil.move(self.folder / "edited" / name, self.folder / name)
        self.names |= {EXAMPLE_HOST: lab.hosts[0].name, EXAMPLE_ISSUER: "lab"}

    def _adapt(self, text: str) -> str:
        for example, real in self.names.items():
            text = text.replace(example, real)
        return text


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """A reader with the first block's lab held open, as in another terminal."""
    somebody = Reader(tmp_path)
    [[example]] = read_blocks("lab")
    output = tmp_path / "lab.out"
    with output.open("w") as stdout:
        process = subprocess.Popen(
            example.command.replace(EXAMPLE_LAB, str(somebody.lab)).split(),
            env=somebody.environment,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(lambda: "Ctrl-C" in output.read_text() or process.poll() is not None, "the lab is open")
        check_output(example, output.read_text())
        yield somebody
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Lab]:
    """The reader's own host."""
    with Lab(tmp_path / "fleet", 1) as running:
        yield running


def test_the_commands_of_the_readme_do_what_it_says(reader: Reader, fleet: Lab) -> None:
    lab, files, first, recovery = read_blocks("run")
    start = reader.folder

    for example in lab:
        reader.type(example)
    reader.folder = start
    for example in files:
        reader.type(example)
    reader.edit(fleet)
    for example in (*first, *recovery):
        reader.type(example)


def find_commands(text: str) -> Iterator[str]:
    for inline, line in _SPAN.findall(text):
        yield from re.split(r"\s*(?:&&|\|)\s*", (inline or line).strip())


def find_command(group: Any, words: list[str]) -> Any:
    """The command that these words call, however deep it is."""
    found = getattr(group, "commands", {}).get(words[0]) if words else None
    if found is not None and words[0] == "ca":  # it reads its own words
        from ottr.cli.ca import build as build_ca

        found = typer.main.get_command(build_ca())
    return find_command(found, words[1:]) if found is not None else group


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_and_option_that_a_document_names_exists(document: Path) -> None:
    group = typer.main.get_command(build())
    commands = group.commands  # type: ignore[attr-defined]

    for text in find_commands(document.read_text()):
        _, *words = text.split()
        if text.startswith("ottr ") and words[0].isalpha() and words[0].islower():
            assert words[0] in commands, f"{document.name}: {text}"
        taken = find_command(group, words).params
        known = {option for parameter in taken for option in parameter.opts} | {"--help", "-h"}
        unknown = {word.partition("=")[0] for word in words if word.startswith("-")} - known
        assert not unknown, f"{document.name}: {text}"


def test_every_link_between_documents_leads_somewhere() -> None:
    for document in (*DOCUMENTS, ROOT / "CONTRIBUTING.md", ROOT / "ottr/drivers/linux_ssh/README.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def anchors(text: str) -> set[str]:
    """As forges make them of headings."""
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", head.lower()).replace(" ", "-") for head in heads}


def test_every_link_to_a_heading_has_its_heading() -> None:
    for document in DOCUMENTS:
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", document.read_text()):
            other = document.parent / target if target else document
            assert anchor in anchors(other.read_text()), f"{document.name}: {target}#{anchor}"
