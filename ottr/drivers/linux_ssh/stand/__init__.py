# SPDX-License-Identifier: Apache-2.0
"""This machine for the contract: a real sshd to log in to, and a real nginx that serves. Nothing is simulated."""

from __future__ import annotations

import hashlib
import secrets
import shlex
import shutil
import ssl
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_ssh_private_key,
)

from ottr.errors import AuthenticationFailed, DeviceRejected, DeviceUnreachable, KeyLost
from ottr.lab.network import claim_network
from ottr.lab.nginx import Nginx
from ottr.lab.sshd import Sshd, write_key_pair
from ottr.model import Credentials, Device, Endpoint, Secret
from ottr.testing.stand import Access, Fault
from ottr.x509 import split_pem

VERSIONS = ("this machine",)

_NAMES = ("web1.lab.test", "www.lab.test")
_REST_S = 30.0


@contextmanager
def start(version: str, folder: Path, roots: Path) -> Iterator[Host]:
    """Run sshd and nginx on an address of their own."""
    del version, roots
    public = write_key_pair(folder / "id_ed25519")
    relay = (sys.executable, "-I", "-S", str(Path(__file__).with_name("relay.py")), str(folder))
    command = f"ForceCommand exec {shlex.join(relay)}"
    with (
        claim_network() as network,
        Sshd(folder / "sshd", [network.address(1)], 2222, public, extra=command) as sshd,
        Nginx(folder / "nginx", network.address(1), 8443, _NAMES[0]) as nginx,
    ):
        yield Host(folder, sshd, nginx)


class RelayLine:
    """See ``ottr.testing.stand.Line``. A request is a script; relay.py sees them and cuts the line."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._watched = 0
        for name in ("requests", "received", "cut"):
            (folder / name).touch()

    def requests(self) -> tuple[str, ...]:
        """Command lines, which every user of the host can see, and a line for each script."""
        return tuple((self._folder / "requests").read_text().splitlines())

    def received(self) -> bytes:
        """What scripts have printed."""
        return (self._folder / "received").read_bytes()

    def begin_watch(self) -> None:
        """Count from here."""
        self._watched = self._count()

    def end_watch(self) -> tuple[bool, ...]:
        """Any script may have changed the host."""
        return (True,) * (self._count() - self._watched)

    def cut_before(self, number: int) -> None:
        """Connections end in the place of this script, and all after it."""
        self._plan("before", number)

    def lose_answer(self, number: int) -> None:
        """The connection ends when this script has run to its end."""
        self._plan("lost", number)

    def mend(self) -> bool:
        """End the cut; tell whether there was such a script."""
        (self._folder / "cut").write_text("")
        was_cut = self._folder / "was_cut"
        happened = was_cut.exists()
        was_cut.unlink(missing_ok=True)
        return happened

    def _plan(self, how: str, number: int) -> None:
        (self._folder / "cut").write_text(f"{how} {self._count() + number}")

    def _count(self) -> int:
        return self.requests().count("(a script)")


class Host:
    """See ``ottr.testing.stand.Subject``."""

    def __init__(self, folder: Path, sshd: Sshd, nginx: Nginx) -> None:
        self._folder, self._sshd, self._nginx = folder, sshd, nginx
        self._passphrase = secrets.token_hex(16)
        self._key, self._other_key = folder / "key.pem", folder / "other"
        self._known_hosts, self._other_hosts = folder / "known_hosts", folder / "other_hosts"
        _encrypt(folder / "id_ed25519", self._key, self._passphrase)
        stranger = write_key_pair(self._other_key)
        self._known_hosts.write_text(sshd.known_hosts)
        self._other_hosts.write_text(f"[{nginx.address}]:{sshd.port} {stranger}\n")
        self.line = RelayLine(folder)
        self.endpoint = Endpoint(nginx.address, nginx.port, _NAMES[0])
        self.access = self._reach()

    @property
    def strangers(self) -> Mapping[str, Access]:
        """By its host key."""
        nobody = str(self._folder / "nobody")
        return {
            "another host key than the known one": self._reach(known_hosts=[str(self._other_hosts)]),
            "a host key nobody knows": self._reach(known_hosts=[nobody]),
            "a wrong pin": self._change_device(ottr_host_key=f"SHA256:{'A' * 43}"),
        }

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What a Linux host can say no to, without a namespace of its own."""
        login = replace(self.access.credentials, private_key_file=str(self._other_key), private_key_passphrase=None)
        failing = ["sh", "-c", "echo it does not work; exit 1"]
        nowhere = {name: str(self._folder / "nowhere" / name) for name in ("fullchain", "key")}
        return (
            Fault("the service's test fails", DeviceRejected, access=self._reach(test_command=failing)),
            Fault("the reload fails", DeviceRejected, access=self._reach(reload_command=failing)),
            Fault("no such folder", DeviceRejected, access=self._reach(**nowhere)),
            Fault("the key is gone", KeyLost, begin=self._lose_keys, at_install=True),
            Fault("another login", AuthenticationFailed, access=replace(self.access, credentials=login)),
            Fault("nobody listens", DeviceUnreachable, access=self._change_device(ansible_port=2223)),
        )

    def settle(self) -> None:
        """Wait until nginx serves what its files say, by its new worker alone."""
        deadline = time.monotonic() + _REST_S
        while not self._rests() and time.monotonic() < deadline:
            time.sleep(0.01)

    def state_hash(self) -> str:
        """Over what is in the folder of certificates, when it was written, and which worker serves it."""
        paths = sorted(path for path in self._nginx.key.parent.rglob("*") if path.name != "lock")
        found = [(path, path.lstat()) for path in paths]
        parts = [f"{path} {status.st_mode} {status.st_uid} {status.st_mtime_ns}" for path, status in found]
        parts += [f"{path.readlink()}" for path, _ in found if path.is_symlink()]
        return hashlib.sha256("\0".join([*parts, *self._read_workers()]).encode()).hexdigest()

    def labels(self) -> frozenset[str]:
        """The folders of the generations."""
        return frozenset(path.name for path in self._generations())

    def private_keys(self) -> tuple[str, ...]:
        """All that it has made."""
        paths = [path / "privkey.pem" for path in self._generations()]
        return tuple(path.read_text() for path in paths if path.exists())

    def secrets(self) -> frozenset[str]:
        """What opens our key file, and the line that is secret in it."""
        return frozenset({self._passphrase, (self._folder / "id_ed25519").read_text().splitlines()[2]})

    def _generations(self) -> list[Path]:
        return [path for path in Path(f"{self._nginx.key}.ottr").glob("ottr-*") if path.is_dir()]

    def _lose_keys(self) -> None:
        bound = (Path(f"{self._nginx.key}.ottr") / "current").resolve()
        for path in self._generations():
            if path != bound:
                shutil.rmtree(path)

    def _rests(self) -> bool:
        if not self._nginx.rests():
            return False
        with suppress(OSError):
            served = ssl.get_server_certificate((self.endpoint.host, self.endpoint.port), timeout=_REST_S)
            # Asked again: a new worker may have begun since, and the former one may answer the next time.
            return served.strip() == split_pem(self._nginx.fullchain.read_text())[0].strip() and self._nginx.rests()
        return False

    def _read_workers(self) -> list[str]:
        """Process id and title of each."""
        master = self._nginx.process.pid
        workers = []
        for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split():
            with suppress(OSError):
                workers.append(f"{pid} {Path(f'/proc/{pid}/cmdline').read_text()}")
        return workers

    def _reach(self, **options: Any) -> Access:
        nginx = self._nginx
        device = Device("web1", "linux", nginx.address, _NAMES, variables={"ansible_port": self._sshd.port})
        given = {
            "service": "nginx",
            "fullchain": str(nginx.fullchain),
            "key": str(nginx.key),
            "test_command": list(nginx.test_command),
            "reload_command": list(nginx.reload_command),
            "known_hosts": [str(self._known_hosts)],
        }
        login = Credentials(
            self._sshd.user, private_key_file=str(self._key), private_key_passphrase=Secret(self._passphrase)
        )
        return Access(device, {**given, **options}, login)

    def _change_device(self, **variables: Any) -> Access:
        device = self.access.device
        return replace(self.access, device=replace(device, variables={**device.variables, **variables}))


def _encrypt(key: Path, target: Path, passphrase: str) -> None:
    private = load_ssh_private_key(key.read_bytes(), None)
    how = BestAvailableEncryption(passphrase.encode())
    target.touch(mode=0o600)
    target.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))
