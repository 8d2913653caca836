# SPDX-License-Identifier: Apache-2.0
"""The set-up refuses rather than installs where it is told to."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose list of packages has one that no Debian has."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    with (tmp_path / "scripts" / "debian-packages").open("a") as packages:
        packages.write("ottr-no-such-package  demo\nottr-not-for-the-demo  test\n")
    return tmp_path


def test_missing_packages_are_listed_with_the_command_that_installs_them(checkout: Path) -> None:
    done = subprocess.run(
        [checkout / "scripts" / "setup", "demo"],
        env={**os.environ, "NO_APT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "apt-get install --no-install-recommends" in done.stderr
    assert "ottr-no-such-package" in done.stderr
    assert "ottr-not-for-the-demo" not in done.stderr
    assert not (checkout / ".venv").exists()


def test_a_python_that_is_too_old_is_refused(checkout: Path) -> None:
    done = subprocess.run(
        [checkout / "scripts" / "setup", "demo"],
        env={**os.environ, "PYTHON": "false"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "Python 3.11 or later is needed" in done.stderr


def test_every_package_is_for_something() -> None:
    lines = [line.split() for line in (ROOT / "scripts" / "debian-packages").read_text().splitlines()]
    purposes = {package: set(words) for package, *words in lines if package != "#"}

    assert all(words and words <= {"demo", "test", "bench"} for words in purposes.values())
    assert {name for name, words in purposes.items() if "demo" in words} >= {
        "openssh-server",
        "nginx",
        "bind9",
        "pebble",
    }
