# SPDX-License-Identifier: Apache-2.0
"""Log lines: where they go, what they look like, and that no secret is in them."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import unquote, urlsplit

from ottr.cli.options import LogForm
from ottr.errors import ConfigurationError
from ottr.model import Secret

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
_SHORTEST = 4
"""Shorter secrets would black out half of every line."""


class Redactor:
    """Blacks out the secrets it was told. Others never get as far as a log line; this is for the day one does."""

    def __init__(self) -> None:
        self._secrets: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    def learn(self, value: object) -> None:
        """Remember every ``Secret`` within a value, whatever it is made of."""
        if isinstance(value, Secret):
            text = value.reveal()
            password = unquote(urlsplit(text).password or "") if "://" in text else ""
            found = {part for part in (text, password) if len(part) >= _SHORTEST}
            with self._lock:  # replaced, not changed: another thread may be at a line
                self._secrets |= found
        elif is_dataclass(value):
            for one in fields(value):
                if one.name != "username":  # no secret, and `admin` is a word of many lines
                    self.learn(getattr(value, one.name))
        elif isinstance(value, Mapping):
            for part in value.values():
                self.learn(part)
        elif isinstance(value, list | tuple | set | frozenset):
            for part in value:
                self.learn(part)

    def redact(self, text: str) -> str:
        """The text with asterisks where a secret was."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "********")
        return text


class _Human(logging.Formatter):
    def __init__(self, redactor: Redactor, *, dated: bool) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s" if dated else "ottr: %(message)s")
        self._redactor = redactor
        self._dated = dated

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if not self._dated and record.levelno == logging.WARNING:
            text = text.replace("ottr: ", "ottr: warning: ", 1)
        return self._redactor.redact(text)


class _Json(logging.Formatter):
    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._redactor.redact(record.getMessage()),
        }
        if record.exc_info:
            line["exception"] = self._redactor.redact(self.formatException(record.exc_info))
        return json.dumps(line, sort_keys=True)


class _Stderr(logging.StreamHandler[TextIO]):
    """Asks for stderr at every line: a progress display takes its place for a while."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        raise AttributeError(f"always stderr, never {value!r}")


def set_up_logs(verbose: int, form: LogForm, file: Path | None, redactor: Redactor) -> None:
    """Send log lines to stderr, and to a file. Raises ConfigurationError when the file cannot be written."""
    logging.raiseExceptions = False  # a log line that cannot be written stops no rotation
    level = _LEVELS[min(verbose, len(_LEVELS) - 1)]
    stderr = _Stderr()
    stderr.setLevel(level)
    handlers: list[logging.Handler] = [stderr, *([] if file is None else [_open_file(file)])]
    for handler in handlers:
        dated = verbose > 0 or handler is not stderr
        handler.setFormatter(_Json(redactor) if form is LogForm.JSON else _Human(redactor, dated=dated))
    # Libraries speak only when everything is asked for: what goes wrong in them comes up as an error of ours.
    logging.basicConfig(
        level=logging.DEBUG if verbose > len(_LEVELS) else logging.CRITICAL, handlers=handlers, force=True
    )
    logging.getLogger("ottr").setLevel(min(level, logging.INFO) if file is not None else level)


def _open_file(path: Path) -> logging.FileHandler:
    try:
        return logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--log-file {path}: {error.strerror}") from error
