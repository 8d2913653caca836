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


APT = """\
#!/bin/sh
# Stands for apt-get: says what it was asked for, and what a package's scripts would be told about services.
echo "apt-get $*"
cat /usr/sbin/policy-rc.d
case $* in *install*) exit 100;; esac
"""

IN_A_NAMESPACE = """\
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work"
mount -t overlay -o "lowerdir=/usr/sbin,upperdir=$1/upper,workdir=$1/work" overlay /usr/sbin
rm -f /usr/sbin/policy-rc.d
[ -z "$3" ] || echo "$3" >/usr/sbin/policy-rc.d
"$2" demo
echo "status $?"
cat /usr/sbin/policy-rc.d || echo none
"""


@pytest.mark.parametrize("before", ["", "#!/bin/sh the machine's own"])
def test_packages_are_installed_while_no_service_may_start(checkout: Path, before: str) -> None:
    """The machine's policy comes back, even when the installation fails. /usr/sbin is a copy of the real one."""
    programs = checkout / "bin"
    programs.mkdir()
    (programs / "apt-get").write_text(APT)
    (programs / "apt-get").chmod(0o755)
    overlay = checkout / "overlay"
    overlay.mkdir()

    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", IN_A_NAMESPACE, "sh", overlay, checkout / "scripts" / "setup", before],
        env={**os.environ, "NO_APT": "", "PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == f"status 100\n{before or 'none'}\n"
    update, install = done.stderr.split("apt-get ")[1:3]
    assert "update" in update
    assert "install --no-install-recommends ottr-no-such-package" in install
    assert "exit 101" in update
    assert "exit 101" in install


STUB = """\
#!/bin/sh
# Stands for Python: everything is there, and it is told to make an environment.
case $* in *"venv --clear"*) echo "made" >&2; exit 7;; esac
"""


def test_the_bare_demo_asks_for_no_package(checkout: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", checkout)
    (checkout / "python").write_text(STUB)
    (checkout / "python").chmod(0o755)

    done = subprocess.run(
        [checkout / "scripts" / "setup", "bare"],
        env={**os.environ, "NO_APT": "1", "PYTHON": str(checkout / "python")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 7
    assert done.stderr.splitlines()[-1] == "made"
    assert "apt-get" not in done.stderr


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
