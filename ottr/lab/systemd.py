# SPDX-License-Identifier: Apache-2.0
"""A system manager of its own: systemd as PID 1 of a namespace, which knows the given units only. Needs root."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from ottr.lab.process import Process, find_program

_PROGRAM = "/lib/systemd/systemd"

# A control group of its own, seen as the root of all groups: systemd makes its groups there. Those of labs that were
# killed go first.
_ENTER = """\
set -eu
folder=$1
mount --make-rprivate /
mount -t cgroup2 none "$folder/cgroup"
own=$folder/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
for left in "${own%/}"/ottr-lab-*; do
    [ -e "/proc/${left##*-}" ] || find "$left" -depth -type d -exec rmdir {} \\; 2>/dev/null || true
done
own=${own%/}/ottr-lab-$$
echo "$own" >"$folder/group"
mkdir "$own"
echo $$ >"$own/cgroup.procs"
exec unshare --pid --cgroup --fork --kill-child sh -c "$2" systemd "$folder"
"""

_BOOT = f"""\
set -eu
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
umount -R "$1/cgroup"
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 none /sys/fs/cgroup
export container=ottr SYSTEMD_UNIT_PATH="$1/units" SYSTEMD_GENERATOR_PATH=/nonexistent
exec {_PROGRAM} --system --unit=lab.target --show-status=no
"""

_LEAVE = """\
mount --make-rprivate /
mount -t cgroup2 none "$1/cgroup"
for _ in $(seq 100); do
    find "$2" -depth -type d -exec rmdir {} \\; 2>/dev/null
    [ -d "$2" ] || exit 0
    sleep 0.2
done
exit 1
"""

_TARGETS = ("sysinit", "basic", "shutdown", "timers")
"""What units want unless they say otherwise."""


def is_possible() -> bool:
    """Whether this machine lets its root have control groups of its own: most containers do not."""
    enter = 'mount --make-rprivate / && mount -t cgroup2 none "$1" && d=$1/ottr-lab-$$ && mkdir "$d" && rmdir "$d"'
    with tempfile.TemporaryDirectory(prefix="ottr-lab-") as folder:
        command = (find_program("unshare"), "--mount", "sh", "-c", enter, "enter", folder)
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


class Systemd:
    """Runs ``units`` (name, such as ``web.service``, to its text); ``within`` is the prefix of commands inside."""

    def __init__(self, folder: Path, units: Mapping[str, str]) -> None:
        self.folder = folder
        self._units = units
        self._ready = folder / "ready"
        command = (find_program("unshare"), "--mount", "sh", "-c", _ENTER, "enter", str(folder), _BOOT)
        # unshare waits for its child and hears nothing else; with it the whole namespace goes.
        self.process = Process(command, log=folder / "systemd.log", ready=self._ready, stop_signal=signal.SIGKILL)

    def __enter__(self) -> Self:
        self._write()
        try:
            self.process.__enter__()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.process.stop()
        self._leave()

    @property
    def within(self) -> tuple[str, ...]:
        """Command prefix that enters the namespaces."""
        here = f"/proc/{self.process.pid}/ns"
        return (find_program("nsenter"), f"--mount={here}/mnt", f"--pid={here}/pid_for_children", "--")

    def _leave(self) -> None:
        """Take the control group away; there is none when nothing was started at all."""
        written = self.folder / "group"
        if written.exists():
            group = written.read_text().strip()
            leave = (find_program("unshare"), "--mount", "sh", "-c", _LEAVE, "leave", str(self.folder), group)
            subprocess.run(leave, check=True)

    def _write(self) -> None:
        units = self.folder / "units"
        units.mkdir(parents=True)
        (self.folder / "cgroup").mkdir()
        names = " ".join(self._units)
        done = f"[Unit]\nAfter={names}\n[Service]\nType=oneshot\nExecStart=touch {self._ready}\n"
        targets = {f"{name}.target": "[Unit]\nDefaultDependencies=no\n" for name in _TARGETS}
        lab = {"lab.target": f"[Unit]\nWants={names} ready.service\n", "ready.service": done}
        for name, text in {**targets, **lab, **self._units}.items():
            (units / name).write_text(text)
