# SPDX-License-Identifier: Apache-2.0
"""The device's shell over SSH, through tmsh: the way in while its web server is away."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from netmiko.exceptions import NetmikoAuthenticationException, NetmikoBaseException, NetmikoTimeoutException
from netmiko.f5 import F5TmshSSH

from ottr.drivers.f5.messages import LOGIN_HINT
from ottr.drivers.f5.shell import Completed, finish_line, read_output
from ottr.errors import AuthenticationFailed, DeviceUnreachable
from ottr.model import Credentials, Device
from ottr.transports.host_keys import DEFAULT_KNOWN_HOSTS, HostKey, HostKeyCheck, check_pins, load_known_hosts

logging.getLogger("netmiko").setLevel(logging.WARNING)  # at DEBUG it writes down whatever is sent

_LOST = (NetmikoBaseException, NetmikoTimeoutException, OSError, EOFError)
_BEGIN = "ottr-begin"
# The prompt alone may be that of the command before.
_END = r"ottr-rc=\d+\s[\s\S]*\(tmos\)#\s*$"


class SshShell:
    """A tmsh session, in which bash is run."""

    def __init__(self, name: str, connection: Any, timeout_s: float) -> None:
        self.name = name
        self._connection = connection
        self._timeout_s = timeout_s

    def run(self, line: str) -> Completed:
        """See Shell."""
        command = f"run /util bash -c 'echo {_BEGIN}; {finish_line(line)}'"
        try:
            output = self._connection.send_command(
                command, expect_string=_END, read_timeout=self._timeout_s, cmd_verify=False
            )
        except _LOST as error:
            raise DeviceUnreachable(f"{self.name} did not answer over SSH: {type(error).__name__}") from error
        # What comes before is the echo of the command, in as many lines as the terminal likes.
        return read_output(
            self.name, re.split(rf"^{_BEGIN}\s*$", str(output).replace("\r", ""), flags=re.MULTILINE)[-1]
        )


class _KnownHosts:
    """Decides about the host key as for every other SSH session of Ottr."""

    def __init__(self, check: HostKeyCheck) -> None:
        self._check = check

    def missing_host_key(self, client: object, hostname: str, key: Any) -> None:
        del client, hostname
        if not self._check.accepts(HostKey(key.get_name(), key.asbytes())):
            raise self._check.refusal()


@contextmanager
def open_tmsh(device: Device, credentials: Credentials, port: int, timeout_s: float) -> Iterator[SshShell]:
    """Log in. Raises DeviceUnreachable, AuthenticationFailed, HostKeyRefused."""
    connection = F5TmshSSH(
        host=device.address,
        port=port,
        device_type="f5_tmsh",
        username=credentials.username,
        password=credentials.password.reveal() if credentials.password else "",
        use_keys=bool(credentials.private_key_file),
        key_file=credentials.private_key_file or None,
        passphrase=credentials.private_key_passphrase.reveal() if credentials.private_key_passphrase else None,
        conn_timeout=min(timeout_s, 30.0),
        auto_connect=False,
    )
    policy: Any = _KnownHosts(_build_check(device, credentials.known_hosts, port))
    connection.key_policy = policy
    try:
        connection.establish_connection()
        connection.session_preparation()
        yield SshShell(device.name, connection, timeout_s)
    except NetmikoAuthenticationException as error:
        raise AuthenticationFailed(
            f"{device.name} refused the login of {credentials.username!r} over SSH", hint=LOGIN_HINT
        ) from error
    except _LOST as error:
        raise DeviceUnreachable(f"{device.name} cannot be reached over SSH: {type(error).__name__}") from error
    finally:
        connection.disconnect()


def _build_check(device: Device, known_hosts: Sequence[Path], port: int) -> HostKeyCheck:
    pins = device.variables.get("ottr_host_key") or ()
    pins = (pins,) if isinstance(pins, str) else tuple(str(pin) for pin in pins)
    check_pins(pins)
    return HostKeyCheck(device.address, port, load_known_hosts(known_hosts or DEFAULT_KNOWN_HOSTS), pins)
