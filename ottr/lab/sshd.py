# SPDX-License-Identifier: Apache-2.0
"""A private OpenSSH server on up to 16 addresses, for key login as the user who runs the lab."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from ottr.errors import LabError
from ottr.lab.process import Process, find_program
from ottr.lab.sessions import MARK, end_sessions

ADDRESSES_PER_SSHD = 16
"""MAX_LISTEN_SOCKS of OpenSSH's sshd.c."""

# SHLVL: Debian's bash reads ~/.bashrc for a command that sshd runs, unless it is told that it is a deeper shell.
_CONFIGURATION = """\
{extra}
{listen}
HostKey {host_key}
AuthorizedKeysFile {authorized_keys}
PidFile none
StrictModes no
UsePAM {pam}
UseDNS no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
PrintLastLog no
AllowTcpForwarding yes
MaxStartups 1000
PerSourceMaxStartups none
MaxSessions 50
SetEnv SHLVL=3 "{mark}"
Subsystem sftp internal-sftp
LogLevel INFO
"""


def write_key_pair(path: Path) -> str:
    """Write an Ed25519 key pair for OpenSSH to ``path`` (0600) and ``path``.pub; return the public line."""
    private = Ed25519PrivateKey.generate()
    path.touch(mode=0o600)
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    path.with_name(f"{path.name}.pub").write_text(f"{public}\n")
    return public


class Sshd:
    """An sshd that lets ``authorized_key`` (a public line) in as ``user``, the user who runs the lab.

    What logins started ends with the block, known by ``mark`` (default: the folder).
    ``host_public_key`` is its public line, ``known_hosts`` what a client must know. ``extra`` are lines of
    sshd_config that win over ours; ``within`` is a command prefix that enters another namespace.
    """

    def __init__(
        self,
        folder: Path,
        addresses: Sequence[str],
        port: int,
        authorized_key: str,
        *,
        mark: str = "",
        extra: str = "",
        within: Sequence[str] = (),
    ) -> None:
        if len(addresses) > ADDRESSES_PER_SSHD:
            raise LabError(f"one sshd listens on at most {ADDRESSES_PER_SSHD} addresses, not {len(addresses)}")
        self.folder = folder
        self.addresses = tuple(addresses)
        self.port = port
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self.host_key = folder / "host_key"
        self.host_public_key = ""
        self._authorized_key = authorized_key
        self._mark = mark or str(folder)
        self._extra = extra
        command = (*within, find_program("sshd"), "-D", "-e", "-f", str(folder / "sshd_config"))
        self.process = Process(command, log=folder / "sshd.log", listens=[(addresses[0], port)], ends_descendants=True)

    def __enter__(self) -> Self:
        self.prepare()
        self.process.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.process.stop()
        end_sessions(self._mark)

    @property
    def known_hosts(self) -> str:
        """Lines for a known_hosts file, one an address."""
        return "".join(f"[{address}]:{self.port} {self.host_public_key}\n" for address in self.addresses)

    def prepare(self) -> None:
        """Write configuration and keys."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.host_key.exists():
            write_key_pair(self.host_key)
        self.host_public_key = self.host_key.with_name(f"{self.host_key.name}.pub").read_text().strip()
        (self.folder / "authorized_keys").write_text(f"{self._authorized_key}\n")
        listen = "\n".join(f"ListenAddress {address}:{self.port}" for address in self.addresses)
        (self.folder / "sshd_config").write_text(
            _CONFIGURATION.format(
                listen=listen,
                host_key=self.host_key,
                authorized_keys=self.folder / "authorized_keys",
                pam="yes" if _is_locked(self.user) else "no",
                mark=f"{MARK}={self._mark}",
                extra=self._extra,
            )
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd's privilege separation insists on it

    def change_host_key(self) -> None:
        """Restart with another host key, as a machine set up anew (or somebody else's) would show."""
        self.host_key.unlink()
        self.prepare()
        self.process.restart()


def _is_locked(user: str) -> bool:
    """Whether the account has no password at all ("!"): sshd then lets a key in only with PAM."""
    try:
        lines = Path("/etc/shadow").read_text().splitlines()
    except OSError:
        return False
    return any(line.startswith(f"{user}:!") for line in lines)
