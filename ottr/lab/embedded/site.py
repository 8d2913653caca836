# SPDX-License-Identifier: Apache-2.0
"""The web site of a host: a TLS server in a process of its own, which reads its files anew at SIGHUP."""

from __future__ import annotations

import os
import select
import signal
import ssl
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ottr.simulation.requests import Response
from ottr.simulation.server import TlsServer

PID_FILE = "site.pid"
SCRIPT = "site"
_SCRIPT = """\
#!/bin/sh
# The service of this host. "test": do its files belong together? "reload": have it read them.
cd "${0%/*}" || exit 1
case $1 in
test)
    certified=$(openssl x509 -in tls/fullchain.pem -noout -pubkey) || exit 1
    own=$(openssl pkey -in tls/privkey.pem -pubout) || exit 1
    [ "$certified" = "$own" ] || { echo "the key is not that of the certificate" >&2; exit 1; }
    ;;
reload) kill -s HUP "$(cat site.pid)" ;;
*) echo "usage: site test|reload" >&2; exit 2 ;;
esac
"""


@dataclass(frozen=True, slots=True)
class Site:
    """Where it is and what it reads; its command is a script of POSIX sh in its folder."""

    folder: Path
    address: str
    port: int
    name: str

    @property
    def fullchain(self) -> Path:
        """The leaf and its issuers, PEM."""
        return self.folder / "tls" / "fullchain.pem"

    @property
    def key(self) -> Path:
        """The key, PEM."""
        return self.folder / "tls" / "privkey.pem"

    @property
    def test_command(self) -> Sequence[str]:
        """Looks whether the files fit."""
        return ("/bin/sh", str(self.folder / SCRIPT), "test")

    @property
    def reload_command(self) -> Sequence[str]:
        """Has it read the files; what does not fit is not shown, and the former stays."""
        return ("/bin/sh", str(self.folder / SCRIPT), "reload")

    def write_script(self) -> None:
        """Write the script behind both commands."""
        (self.folder / SCRIPT).write_text(_SCRIPT)


class Sites:
    """Sites in child processes that live as long as this one. To be started before there are threads."""

    def __init__(self) -> None:
        self._lifeline, self._held = os.pipe()
        self._children: list[int] = []

    def start(self, site: Site) -> None:
        """Serve it; when this returns it answers. Raises OSError when it cannot."""
        ready, told = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(self._held)
            _run(site, self._lifeline, told)
        self._children.append(child)
        os.close(told)
        with os.fdopen(ready, "rb") as answer:
            if not answer.read():
                raise OSError(f"{site.name} cannot serve at {site.address}:{site.port}")

    def stop(self) -> None:
        """End them all."""
        os.close(self._held)
        for child in self._children:
            os.waitpid(child, 0)
        os.close(self._lifeline)


def _run(site: Site, lifeline: int, told: int) -> NoReturn:
    status = 1
    try:
        _serve(site, lifeline, told)
        status = 0
    except (OSError, ssl.SSLError) as error:
        print(f"{site.name}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(status)  # nothing of the parent's is ours to clean up


def _serve(site: Site, lifeline: int, told: int) -> None:
    page = Response(200, f"{site.name}\n".encode(), "text/plain")
    server = TlsServer(site.address, site.port, lambda _: page)
    server.show(None, _load(site))
    signals = _receive_signals()
    server.start()
    (site.folder / PID_FILE).write_text(f"{os.getpid()}\n")
    os.write(told, b"ready")
    os.close(told)
    while lifeline not in select.select([lifeline, signals], [], [])[0]:
        os.read(signals, 512)
        try:
            server.show(None, _load(site))
        except (OSError, ssl.SSLError) as error:
            print(f"{site.name}: the former certificate stays: {error}", file=sys.stderr, flush=True)


def _receive_signals() -> int:
    """A descriptor that can be read from when SIGHUP has come: one that comes just before a wait is not lost."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGHUP, lambda *_: None)
    return reader


def _load(site: Site) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(site.fullchain, site.key)
    return context
