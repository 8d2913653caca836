# SPDX-License-Identifier: Apache-2.0
"""SSH sessions with strict host keys, also through jump hosts. The one home of paramiko.

Algorithms are chosen for cost among the sound ones: curve25519 first (a hybrid key exchange is several times
dearer, and nothing that is worth keeping for years goes through), AES before anything else.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import join
from typing import Any, cast

from paramiko import Channel, SSHException, Transport
from paramiko.ssh_exception import ChannelException, IncompatiblePeer

from ottr.errors import DeviceRejected, DeviceUnreachable, DriverError, UnsupportedDevice
from ottr.model import Credentials, Device
from ottr.transports.host_keys import DEFAULT_KNOWN_HOSTS, HostKey, HostKeyCheck, check_pins, load_known_hosts
from ottr.transports.ssh_config import Hop, resolve_hops
from ottr.transports.ssh_login import DEFAULT_KEYS, Login, log_in

CONNECT_TIMEOUT_S = 15.0
MAX_OUTPUT = 1 << 20

# It logs every failure with a traceback of its own, on top of the exception that we translate.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)

_IDLE_POLL_S = 5.0
_CONNECT_FAILED = 2  # SSH_OPEN_CONNECT_FAILED, RFC 4254 section 5.1
_KEX = (
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "mlkem768x25519-sha256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group14-sha256",
)
_CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
)
_MACS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512")


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended; output that is not UTF-8 has replacement characters."""

    status: int
    stdout: str
    stderr: str


class SshSession:
    """An open, authenticated connection to one machine. Raises DriverError and nothing else."""

    def __init__(self, transport: Transport, name: str) -> None:
        self._transport = transport
        self.name = name

    def alive(self) -> bool:
        """Whether the connection is up, as far as this side knows."""
        return self._transport.is_active()

    def run(self, argv: Sequence[str], stdin: bytes = b"", timeout_s: float = 60.0) -> Completed:
        """Run one command; the arguments reach it as they are, whatever is in them."""
        with self.start(join(argv), timeout_s) as channel, translated(self.name, f"run {argv[0]}"):
            channel.sendall(stdin)
            channel.shutdown_write()
            deadline = time.monotonic() + timeout_s
            stdout = receive(channel.recv, channel, deadline)
            stderr = receive(channel.recv_stderr, channel, deadline)
            status = channel.recv_exit_status()
        if status == -1:
            raise DeviceUnreachable(f"{self.name} ended the connection while {argv[0]} was running")
        return Completed(status, stdout.decode(errors="replace"), stderr.decode(errors="replace"))

    @contextmanager
    def start(self, command: str, timeout_s: float) -> Iterator[Channel]:
        """Start a command line for the login shell there, and give its channel; the caller has quoted it."""
        with translated(self.name, "start a command"):
            channel = self._transport.open_session(timeout=timeout_s)
            channel.settimeout(timeout_s)
            channel.exec_command(command)
        with contextlib.closing(channel):
            yield channel


def receive(read: Callable[[int], bytes], channel: Channel, deadline: float) -> bytes:
    """Read a stream of a channel to its end."""
    data = bytearray()
    while True:
        channel.settimeout(max(deadline - time.monotonic(), 0.001))
        piece = read(65536)
        if not piece:
            return bytes(data)
        data += piece
        if len(data) > MAX_OUTPUT:
            raise DeviceRejected(f"more than {MAX_OUTPUT} bytes of output")


@contextmanager
def translated(name: str, doing: str) -> Iterator[None]:
    """Turn what the library and the network raise into DriverError."""
    try:
        yield
    except TimeoutError as error:
        raise DeviceUnreachable(f"{name} did not answer in time ({doing})") from error
    except socket.gaierror as error:
        raise DeviceUnreachable(f"the address of {name} cannot be found: {error.strerror}") from error
    except ChannelException as error:
        kind = DeviceUnreachable if error.code == _CONNECT_FAILED else DeviceRejected
        raise kind(f"{name} cannot be reached ({doing}): {error.text}") from error
    except (SSHException, EOFError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "connection lost"
        raise DeviceUnreachable(f"{name} cannot be reached ({doing}): {reason}") from error


@contextmanager
def open_session(
    device: Device,
    credentials: Credentials,
    *,
    known_hosts: Sequence[Path] = (),
    timeout_s: float = CONNECT_TIMEOUT_S,
) -> Iterator[SshSession]:
    """Connect to a device the way Ansible's variables and ~/.ssh/config say, and log in.

    ``known_hosts``: files instead of ssh's own. ``ottr_host_key`` among the device's variables pins keys.
    """
    variables = device.variables
    pins = variables.get("ottr_host_key") or ()
    pins = (pins,) if isinstance(pins, str) else tuple(str(pin) for pin in pins)
    check_pins(pins)
    port = variables.get("ansible_port")
    if port is not None and not str(port).isdecimal():
        raise DriverError(f"ansible_port of {device.name} is not a number: {port!r}")
    hops = resolve_hops(
        device.address,
        port=int(port) if port is not None else None,
        username=credentials.username,
        arguments=_find_arguments(device, credentials),
    )
    with ExitStack() as stack:
        transport: Transport | None = None
        for hop in hops:
            last = hop is hops[-1]
            name = device.name if last else f"jump host {hop.host}"
            check = _build_check(hop, known_hosts, pins if last else ())
            transport = _negotiate(_dial(transport, hop, timeout_s), check, name, timeout_s)
            stack.callback(_close, transport)
            log_in(transport, _build_login(hop, credentials, last=last), name)
        yield SshSession(cast(Transport, transport), device.name)


def _find_arguments(device: Device, credentials: Credentials) -> str:
    """What ssh's command line has beside."""
    if credentials.ssh_arguments is not None:
        return credentials.ssh_arguments.reveal()
    names = ("ansible_ssh_common_args", "ansible_ssh_extra_args")
    return " ".join(str(device.variables.get(name) or "") for name in names)


def _build_check(hop: Hop, known_hosts: Sequence[Path], pins: Sequence[str]) -> HostKeyCheck:
    files = tuple(known_hosts) or hop.known_hosts or DEFAULT_KNOWN_HOSTS
    return HostKeyCheck(hop.known_as, hop.port, load_known_hosts(files), pins)


def _build_login(hop: Hop, credentials: Credentials, *, last: bool) -> Login:
    own = (credentials.private_key_file,) if credentials.private_key_file else ()
    others = hop.identity_files or DEFAULT_KEYS
    if not last:
        # A jump host is ssh's business: its user and keys come from ~/.ssh/config; the device's key may fit as well.
        return Login(hop.username, optional_key_files=(*others, *own), agent=True)
    if own or credentials.password is not None:
        # What the inventory names is used, and nothing besides: looking for more costs time and tries.
        return Login(hop.username, own, credentials.private_key_passphrase, credentials.password)
    return Login(hop.username, optional_key_files=others, agent=True)


def _dial(through: Transport | None, hop: Hop, timeout_s: float) -> Callable[[], Any]:
    """Return what opens a stream to the hop; it may be called again for another try."""

    def dial() -> Any:
        if through is not None:
            place = (hop.host, hop.port)
            return _Tunnel(through.open_channel("direct-tcpip", place, ("127.0.0.1", 0), timeout=timeout_s))
        stream = socket.create_connection((hop.host, hop.port), timeout=timeout_s)
        # Without it each small packet waits for the acknowledgement of the one before (40 ms on Linux).
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return stream

    return dial


class _Tunnel:
    """A channel of a jump host in the place of a socket. A channel complains when it is closed after its transport."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.send = channel.send
        self.recv = channel.recv
        self.settimeout = channel.settimeout
        self._closed = False  # paramiko looks at it, as sockets have it

    def shutdown(self, how: int) -> None:
        del how
        self.close()

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(EOFError, OSError, SSHException):
            self._channel.close()


def _negotiate(dial: Callable[[], Any], check: HostKeyCheck, name: str, timeout_s: float) -> Transport:
    """Connect until the host has shown a key that is accepted. Raises HostKeyRefused, DeviceUnreachable."""
    incompatible: IncompatiblePeer | None = None
    for algorithms in check.rounds():
        with translated(name, "connect"):
            transport = _prepare(dial(), algorithms, timeout_s)
        try:
            with translated(name, "agree on keys"):
                _start(transport, timeout_s)
                shown = transport.get_remote_server_key()
                if check.accepts(HostKey(shown.get_name(), shown.asbytes())):
                    return transport
        except DeviceUnreachable as error:
            _close(transport)
            if not isinstance(error.__cause__, IncompatiblePeer):
                raise
            incompatible = error.__cause__
        except BaseException:
            _close(transport)
            raise
        else:
            _close(transport)
    if check.shown:
        raise check.refusal()
    raise UnsupportedDevice(f"{name} and Ottr have no SSH algorithm in common: {incompatible}") from incompatible


def _prepare(stream: Any, algorithms: Sequence[str], timeout_s: float) -> Transport:
    transport = Transport(stream)
    # paramiko's thread wakes up ten times a second otherwise; `_close` ends a waiting read at once.
    stream.settimeout(_IDLE_POLL_S)
    transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = timeout_s
    options = transport.get_security_options()
    options.kex = _available(_KEX, options.kex)
    options.ciphers = _available(_CIPHERS, options.ciphers)
    options.digests = _available(_MACS, options.digests)
    options.key_types = tuple(algorithms)
    return transport


def _available(wanted: Sequence[str], there: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in wanted if name in there)


def _start(transport: Transport, timeout_s: float) -> None:
    transport.start_client(timeout=timeout_s)
    if transport.host_key is None:
        raise TimeoutError


def _close(transport: Transport) -> None:
    with contextlib.suppress(OSError, EOFError):
        transport.sock.shutdown(socket.SHUT_RDWR)
    transport.close()
