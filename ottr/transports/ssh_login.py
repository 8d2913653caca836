# SPDX-License-Identifier: Apache-2.0
"""Proving to an SSH server who we are: key files, the agent, passwords (RFC 4252, RFC 4256)."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)
from paramiko import Agent, AuthenticationException, ECDSAKey, Ed25519Key, PKey, RSAKey, SSHException, Transport

from ottr.errors import AuthenticationFailed, DeviceUnreachable
from ottr.model import Secret

DEFAULT_KEYS = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")

_CLASSES: tuple[tuple[type, type[PKey]], ...] = (
    (Ed25519PrivateKey, Ed25519Key),
    (EllipticCurvePrivateKey, ECDSAKey),
    (RSAPrivateKey, RSAKey),
)


@dataclass(frozen=True, slots=True)
class Login:
    """Everything that may be tried, in this order: the key files, the agent, the password."""

    username: str
    key_files: tuple[str, ...] = ()
    """Have to be there and usable."""
    passphrase: Secret | None = None
    password: Secret | None = None
    optional_key_files: tuple[str, ...] = ()
    """Tried where they are there and need no passphrase."""
    agent: bool = False


def log_in(transport: Transport, login: Login, name: str) -> None:
    """Authenticate. Raises AuthenticationFailed or DeviceUnreachable."""
    tried: list[str] = []
    with closing(_attempts(transport, login)) as attempts:
        for what, attempt in attempts:
            tried.append(what)
            try:
                if not attempt():
                    return
                # A list of methods: accepted so far, and the server wants another one besides.
            except SSHException as error:
                if transport.is_active():
                    continue
                if len(tried) > 1 and isinstance(error, AuthenticationException):
                    break  # the server counts the tries
                raise DeviceUnreachable(f"{name} ended the connection while logging in") from error
    raise AuthenticationFailed(
        f"{name} refused the login of {login.username!r}; tried: {', '.join(tried) or 'nothing, there is no login'}"
    )


def _attempts(transport: Transport, login: Login) -> Generator[tuple[str, Callable[[], list[str]]]]:
    user = login.username
    for file in login.key_files:
        key = load_private_key(file, login.passphrase)
        yield f"key {file}", lambda key=key: transport.auth_publickey(user, key)  # type: ignore[misc]
    if login.agent and os.environ.get("SSH_AUTH_SOCK"):
        with closing(Agent()) as agent:
            for agent_key in agent.get_keys():
                yield "a key of the agent", lambda key=agent_key: transport.auth_publickey(user, key)  # type: ignore[misc]
    for file in login.optional_key_files:
        if not Path(file).expanduser().exists():
            continue
        try:
            key = load_private_key(file, None)
        except AuthenticationFailed:
            continue
        yield f"key {file}", lambda key=key: transport.auth_publickey(user, key)  # type: ignore[misc]
    if login.password is not None:
        secret = login.password
        # paramiko answers a keyboard-interactive server's one question with it where passwords are not taken.
        yield "the password", lambda: transport.auth_password(user, secret.reveal(), fallback=True)


def load_private_key(file: str, passphrase: Secret | None) -> PKey:
    """Load a private key; read and decrypted once in a process. Raises AuthenticationFailed."""
    path = Path(file).expanduser()
    try:
        return _load(path, path.stat().st_mtime_ns, passphrase)
    except OSError as error:
        raise AuthenticationFailed(f"the private key {file} cannot be read: {error.strerror}") from error
    except TypeError as error:  # cryptography's way to say: there is a passphrase, or there should be one
        given = "" if passphrase is None else " not"
        raise AuthenticationFailed(
            f"the private key {file} is{given} protected by a passphrase",
            hint="give it as ansible_ssh_private_key_passphrase, or load the key into ssh-agent",
        ) from error
    except Exception as error:
        raise AuthenticationFailed(
            f"the private key {file} cannot be used: wrong passphrase, or not an Ed25519, ECDSA or RSA key",
        ) from error


@lru_cache(maxsize=64)
def _load(path: Path, _mtime_ns: int, passphrase: Secret | None) -> PKey:
    data = path.read_bytes()
    password = passphrase.reveal().encode() if passphrase is not None else None
    load = load_ssh_private_key if b"BEGIN OPENSSH" in data else load_pem_private_key
    private = load(data, password)
    for kind, key_class in _CLASSES:
        if isinstance(private, kind):
            plain = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
            key = key_class.from_private_key(io.StringIO(plain.decode()))
            certificate = path.with_name(f"{path.name}-cert.pub")
            if certificate.exists():
                key.load_certificate(str(certificate))
            return key
    raise ValueError("unsupported key type")
