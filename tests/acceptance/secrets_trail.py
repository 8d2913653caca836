# SPDX-License-Identifier: Apache-2.0
"""What a run leaves behind, and a search in it for secrets in every form they may have there."""

from __future__ import annotations

import base64
import json
import logging
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import paramiko.buffered_pipe
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ottr.lab.process import Process, find_program
from tests.acceptance.faults import await_true

_SHORTEST = 12


def forms_of_text(secret: str) -> set[bytes]:
    """A password, a token or a URL as it may be written somewhere."""
    raw = secret.encode()
    forms = {raw, quote(secret, safe="").encode(), json.dumps(secret)[1:-1].encode(), raw.hex().encode()}
    return forms | _base64_anywhere(raw)


def forms_of_bytes(secret: bytes) -> set[bytes]:
    """Key material: itself, in hex, and in base64 wherever it begins in a longer text."""
    grouped = ":".join(f"{byte:02x}" for byte in secret).encode()
    hexadecimal = secret.hex().encode()
    return {secret, hexadecimal, hexadecimal.upper(), grouped, grouped.upper()} | _base64_anywhere(secret)


def forms_of_key(pem: bytes) -> set[bytes]:
    """A private key of an elliptic curve: its file, its lines, and the number that must stay secret."""
    key = load_pem_private_key(pem, None)
    assert isinstance(key, EllipticCurvePrivateKey)
    scalar = key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8, "big")
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    traditional = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    forms = forms_of_bytes(scalar) | {der, traditional}
    for form in (der, traditional):
        text = base64.b64encode(form)
        # Lines that are more than the same start of all such keys, and not all public key.
        begin, end = (form.index(scalar) * 4 // 3, (form.index(scalar) + len(scalar)) * 4 // 3)
        lines = [text[at : at + 64] for at in range(0, len(text), 64) if at < end and at + 64 > begin + _SHORTEST]
        forms |= {text, *lines}
    return forms


def _base64_anywhere(secret: bytes) -> set[bytes]:
    """Base64 of a piece of a longer text, without the ends that depend on what is around it."""
    forms = set()
    for before in range(3):
        text = base64.b64encode(b"\0" * before + secret)
        piece = text[(before * 4 + 2) // 3 : (before + len(secret)) * 4 // 3].rstrip(b"=")
        forms |= {piece, piece.replace(b"+", b"-").replace(b"/", b"_")}
    return {form for form in forms if len(form) >= _SHORTEST}


class Trail:
    """Pieces of what was received, printed, logged and written, by where."""

    def __init__(self) -> None:
        self._pieces: dict[str, bytearray] = {}
        self._lock = threading.Lock()

    def add(self, where: str, data: bytes) -> None:
        with self._lock:
            self._pieces.setdefault(where, bytearray()).extend(data)

    def add_files(self, *folders: Path, without: Iterable[Path] = ()) -> None:
        """Every file below some folders, except those that hold secrets by their nature."""
        left_out = {path.resolve() for path in without}
        for folder in folders:
            for path in sorted(folder.rglob("*")):
                if path.is_file() and path.resolve() not in left_out:
                    self.add(str(path), str(path).encode() + b"\n" + path.read_bytes())

    def size(self, where: str) -> int:
        return len(self._pieces.get(where, b""))

    def find(self, secrets: dict[str, set[bytes]]) -> set[tuple[str, str]]:
        """Name of each secret that is there, and where."""
        return {
            (name, where)
            for where, piece in self._pieces.items()
            for name, forms in secrets.items()
            if any(form in piece for form in forms)
        }


@contextmanager
def tapped(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Everything that SSH delivers, and every log record of every library as it is before anybody redacts it."""
    feed = paramiko.buffered_pipe.BufferedPipe.feed

    def tap(pipe: paramiko.buffered_pipe.BufferedPipe, data: bytes | str) -> None:
        trail.add("received by SSH", data if isinstance(data, bytes) else data.encode())
        feed(pipe, data)

    handler = _RecordHandler(trail)
    root = logging.getLogger()
    loggers = [logger for logger in root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    # Those that Ottr silences for good, whatever an operator asks for, stay silent.
    known = [logger for logger in loggers if logger.level <= logging.CRITICAL]
    levels = [(logger, logger.level) for logger in (root, *known)]
    with monkeypatch.context() as patch:
        patch.setattr(paramiko.buffered_pipe.BufferedPipe, "feed", tap)
        root.addHandler(handler)
        for logger, _ in levels:
            logger.setLevel(logging.DEBUG)
        try:
            yield
        finally:
            root.removeHandler(handler)
            for logger, level in levels:
                logger.setLevel(level)


class _RecordHandler(logging.Handler):
    def __init__(self, trail: Trail) -> None:
        super().__init__(logging.DEBUG)
        self._trail = trail
        self._formatter = logging.Formatter("%(name)s %(message)s")

    def emit(self, record: logging.LogRecord) -> None:
        self._trail.add("log", f"{self._formatter.format(record)} {record.args!r}\n".encode())


@contextmanager
def traced(trail: Trail, folder: Path, pids: Iterable[int]) -> Iterator[None]:
    """Arguments and environment of every program that these processes and their children start."""
    targets = [word for pid in pids for word in ("-p", str(pid))]
    output = folder / "strace.out"
    output.touch()
    command = (*trace_command(output), *targets)
    process = Process(command, log=folder / "strace.log")
    with process:
        wanted = len(targets) // 2
        await_true(lambda: process.log.read_text().count(" attached") >= wanted, "strace did not attach")
        yield
    trail.add("processes", output.read_bytes())


def trace_command(output: Path) -> tuple[str, ...]:
    """The prefix of a command whose programs are traced."""
    return (find_program("strace"), "-f", "-v", "-s", "100000", "-e", "trace=execve", "-o", str(output))


@contextmanager
def webhook(trail: Trail, path: str) -> Iterator[str]:
    """A chat service that takes every message; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            trail.add("told by webhook", self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204 if self.path == path else 403)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}{path}"
        finally:
            server.shutdown()
            thread.join()


def encrypt(program: Path, password_file: Path, name: str, text: str) -> str:
    """A variable in YAML with its value in a vault."""
    done = subprocess.run(
        [program, "encrypt_string", "--vault-password-file", password_file, "--stdin-name", name],
        input=text,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout
