# SPDX-License-Identifier: Apache-2.0
"""The clauses of secrecy: private keys stay on the device, and secrets get nowhere."""

from __future__ import annotations

import base64
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from ottr.errors import DriverError
from ottr.testing.failures import list_faults, provoke
from ottr.testing.trial import Trial, expect
from ottr.x509 import parse_certificate

_SPACE = (b"\\r", b"\\n", b"\r", b"\n", b" ", b"\t")
"""What may stand between the lines of base64, also as JSON and shells write it."""


def keys_stay_on_the_device(trial: Trial) -> None:
    """No private key, and nothing that is encoded as one, is in anything the device sends during a rotation."""
    keys: set[str] = set()
    public: set[bytes] = set()
    for _ in range(2):
        rotation = trial.rotate()
        trial.install(rotation)
        keys.update(trial.subject.private_keys())
        public.add(parse_certificate(rotation.issued.leaf_pem).spki_der)
        trial.roll_back(rotation)
        trial.clean_up(rotation.request.label)
    known = {_read_public(pem) for pem in keys}
    expect(public <= known, "the stand's private_keys has not the keys of these rotations")
    received = trial.subject.line.received()
    expect(received, "the stand's line has received nothing")
    expect(b"PRIVATE KEY-----" not in received, "the device was made to send a private key")
    for pem in keys:
        expect(not _holds(received, pem), "the device was made to send the number that its private key is made of")


def secrets_stay_secret(trial: Trial) -> None:
    """No password, token or private key is in a log line, an error with its causes, what is returned, or a URL."""
    secrets: set[str] = set()
    request = trial.ask()
    with _listening() as said:
        with trial.connect() as session:
            before, csr = session.inspect(), session.create_csr(request)
            session.install(request, trial.sign(csr))
            secrets.update(_list_secrets(trial))
        said.append(("what was returned", f"{before} {csr} {session!r}"))
        for fault in list_faults(trial):
            error = provoke(trial, fault)
            if error is not None:
                said.append((f"the error of {fault.name}", _write(error)))
        for name, access in trial.subject.strangers.items():
            try:
                with trial.connect(access):
                    pass
            except DriverError as error:
                said.append((f"the error of {name}", _write(error)))
    said += [("a URL or a command line", request) for request in trial.subject.line.requests()]
    secrets.update(_list_secrets(trial))
    expect(secrets, "the stand names no secret")
    for where, text in said:
        expect(not any(secret in text for secret in secrets), f"a secret is in {where}")


def _list_secrets(trial: Trial) -> set[str]:
    subject = trial.subject
    given = [fault.access.credentials.password for fault in subject.faults if fault.access]
    keys = [line for pem in subject.private_keys() for line in pem.splitlines()[1:2]]
    return {*subject.secrets(), *keys, *(password.reveal() for password in given if password)} - {""}


@contextmanager
def _listening() -> Iterator[list[tuple[str, str]]]:
    """Collect every log line, of whatever level."""
    said: list[tuple[str, str]] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append((f"a log line of {record.name}", logging.Formatter().format(record)))

    root, ours, listener = logging.getLogger(), logging.getLogger("ottr"), Listener(1)
    levels = [(logger, logger.level) for logger in (root, ours)]
    root.addHandler(listener)
    try:
        for logger, _ in levels:
            logger.setLevel(1)
        yield said
    finally:
        root.removeHandler(listener)
        for logger, level in levels:
            logger.setLevel(level)


def _write(error: Exception) -> str:
    """An error as a log, a result and a traceback would have it."""
    return f"{error} {getattr(error, 'hint', '')} {error!r} {''.join(traceback.format_exception(error))}"


def _read_public(pem: str) -> bytes:
    key = load_pem_private_key(pem.encode(), None)
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _holds(data: bytes, pem: str) -> bool:
    """Whether the secret number of a key is there as bytes, in hex or in base64, however it was cut into lines."""
    number = _read_number(pem)
    squeezed = data
    for space in _SPACE:
        squeezed = squeezed.replace(space, b"")
    forms = [base64.b64encode(number[n : n + (len(number) - n) // 3 * 3]) for n in range(3)]
    in_hex = number.hex().encode()
    return number in data or in_hex in squeezed.lower().replace(b":", b"") or any(form in squeezed for form in forms)


def _read_number(pem: str) -> bytes:
    key = load_pem_private_key(pem.encode(), None)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        number = key.private_numbers().private_value
    elif isinstance(key, rsa.RSAPrivateKey):
        number = key.private_numbers().p
    else:
        raise TypeError("a key of a kind that no certificate of Ottr's has")
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
