# SPDX-License-Identifier: Apache-2.0
"""A mount namespace with users, sudo rules and a small disk of its own: the real machine is not touched. Needs root."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ottr.errors import LabError
from ottr.lab.nginx import Nginx
from ottr.lab.process import Process, find_program
from ottr.lab.sessions import MARK
from ottr.lab.sshd import Sshd

SUDO_USER = "ottr"
"""May use sudo without a password."""
ASKED_USER = "ottr-asked"
"""May use sudo, with the password."""
REFUSED_USER = "ottr-refused"
"""May not use sudo."""
_USERS = (SUDO_USER, ASKED_USER, REFUSED_USER)
_FIRST_UID = 47100

_PAM = "auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_unix.so\n"
_SUDOERS = f"""\
Defaults !lecture, timestamp_timeout=0, env_keep += "{MARK}"
root ALL=(ALL:ALL) ALL
{SUDO_USER} ALL=(ALL:ALL) NOPASSWD: ALL
{ASKED_USER} ALL=(ALL:ALL) ALL
"""

# Everything below is mounted over; what is not listed is the real machine's, read as ever.
_MOUNTS = """\
set -eu
cd "$1"; shift
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/log
mkdir /run/sshd /run/home
for name in passwd group shadow sudoers pam.d/sshd pam.d/sudo; do
    mount --bind "etc/$name" "/etc/$name"
done
mount -t tmpfs -o mode=755 tmpfs /etc/sudoers.d
for user in ottr ottr-asked ottr-refused; do
    mkdir -m 700 -p "/run/home/$user/.ssh"
    install -m 600 authorized_keys "/run/home/$user/.ssh/authorized_keys"
    chown -R "$user:" "/run/home/$user"
done
for disk in "$@"; do
    mount -t tmpfs -o mode=755,size=256k tmpfs "$disk"
done
touch ready
exec sleep infinity
"""
_READY = "ready"


_SSHD_LINES = """\
UsePAM yes
PasswordAuthentication yes
AuthorizedKeysFile /run/home/%u/.ssh/authorized_keys"""


class Namespace:
    """A namespace held open by one process; ``within`` is the command prefix that runs a program inside.

    The users ``SUDO_USER``, ``ASKED_USER`` and ``REFUSED_USER`` have the password ``password`` and let
    ``authorized_key`` (a public line) in. Each of ``small_disks`` is an empty file system of 256 KiB there.
    """

    password = "correct horse battery staple"  # noqa: S105 theirs alone, inside the namespace

    def __init__(self, folder: Path, authorized_key: str, *, small_disks: Sequence[Path] = ()) -> None:
        self.folder = folder
        self._authorized_key = authorized_key
        disks = [str(disk) for disk in small_disks]
        command = (find_program("unshare"), "--mount", "sh", "-c", _MOUNTS, "mounts", str(folder), *disks)
        self.process = Process(command, log=folder / "namespace.log", ready=folder / _READY)

    def __enter__(self) -> Self:
        self._write()
        self.process.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.process.stop()

    @property
    def within(self) -> tuple[str, ...]:
        """Command prefix that enters the namespace."""
        return (find_program("nsenter"), f"--mount=/proc/{self.process.pid}/ns/mnt", "--")

    @property
    def root(self) -> Path:
        """The namespace's file system, as seen from outside."""
        return Path(f"/proc/{self.process.pid}/root")

    def seen(self, path: Path) -> Path:
        """Where an absolute path of the namespace is found from outside."""
        return self.root / path.relative_to("/")

    def bring_in(self, *paths: Path) -> None:
        """Copy files to where the namespace has a disk of its own mounted over them."""
        for path in paths:
            shutil.copy2(path, self.seen(path))

    def fill(self, disk: Path) -> Path:
        """Fill a small disk to the last byte and return the file that does it, as seen from outside."""
        filler = self.seen(disk) / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(b"\0" * 4096):
                    pass
            except OSError:
                return filler
        return filler

    def _write(self) -> None:
        (self.folder / "etc" / "pam.d").mkdir(parents=True)
        (self.folder / _READY).unlink(missing_ok=True)
        (self.folder / "authorized_keys").write_text(f"{self._authorized_key}\n")
        ids = {user: _FIRST_UID + number for number, user in enumerate(_USERS)}
        etc = self.folder / "etc"
        passwd = "".join(f"{user}:x:{uid}:{uid}::/run/home/{user}:/bin/bash\n" for user, uid in ids.items())
        group = "".join(f"{user}:x:{uid}:\n" for user, uid in ids.items())
        password_hash = _hash(self.password)
        shadow = "".join(f"{user}:{password_hash}:19000:0:99999:7:::\n" for user in ids)
        (etc / "passwd").write_text(Path("/etc/passwd").read_text() + passwd)
        (etc / "group").write_text(Path("/etc/group").read_text() + group)
        for name, text, mode in (
            ("shadow", Path("/etc/shadow").read_text() + shadow, 0o600),
            ("sudoers", _SUDOERS, 0o440),
        ):
            (etc / name).touch(mode=mode)
            (etc / name).write_text(text)
        for service in ("sshd", "sudo"):
            (etc / "pam.d" / service).write_text(_PAM)


def _hash(password: str) -> str:
    done = subprocess.run(
        [find_program("openssl"), "passwd", "-6", "-stdin"], input=password, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LabError(f"openssl passwd failed: {done.stderr.strip()}")
    return done.stdout.strip()


@dataclass(frozen=True, slots=True)
class NamespaceHost:
    """A host whose users, sudo rules and TLS folder's disk are its own."""

    namespace: Namespace
    sshd: Sshd
    nginx: Nginx


@contextmanager
def run_namespace_host(folder: Path, address: str, server_name: str, authorized_key: str) -> Iterator[NamespaceHost]:
    """Run sshd (port 2222) and nginx (port 8443) in a namespace; nginx's certificate files are on a small disk."""
    nginx_folder = folder / "nginx"
    disk = nginx_folder / "tls"
    disk.mkdir(parents=True)
    with ExitStack() as stack:
        namespace = stack.enter_context(Namespace(folder / "namespace", authorized_key, small_disks=[disk]))
        within = namespace.within
        sshd = Sshd(folder / "sshd", [address], 2222, authorized_key, extra=_SSHD_LINES, within=within)
        stack.enter_context(sshd)
        nginx = Nginx(nginx_folder, address, 8443, server_name, within=within)
        nginx.prepare()
        namespace.bring_in(nginx.fullchain, nginx.key)
        stack.enter_context(nginx.process)
        yield NamespaceHost(namespace, sshd, nginx)
