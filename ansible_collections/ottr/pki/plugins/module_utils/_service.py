# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

# Note that this module is private to this collection. It is the only one that knows Ottr's Python package.

"""The way to Ottr: one process serves a whole play, and every host asks it for what its own task wants."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
import traceback

try:
    from ottr.inventory import variables

    OTTR_IMPORT_ERROR = None
except ImportError:
    variables = None
    OTTR_IMPORT_ERROR = traceback.format_exc()

START_TIMEOUT_S = 60.0


class ServiceError(Exception):
    """Ottr cannot be asked at all."""


def is_wanted(name):
    """Whether a variable is one of those that Ottr reads."""
    return name in variables.NAMES or name in variables.SECRETS or name.startswith(variables.PREFIXES)


def is_secret(name):
    """Whether a variable is a secret, vaulted or not."""
    return name in variables.SECRETS or name.endswith(variables.SECRET_SUFFIXES)


def open_state(config):
    """The parts of Ottr that know the state, to be closed. Raises ServiceError."""
    try:
        from pathlib import Path

        from ottr.app import App, Options
        from ottr.errors import OttrError
    except ImportError as error:
        raise ServiceError("the Python package ottr cannot be imported: %s" % error) from error
    app = App(Options(config=Path(config) if config else None), os.environ)
    try:
        dummy = app.stores
    except OttrError as error:
        app.close()
        raise ServiceError("%s (%s)" % (error, error.hint) if error.hint else str(error)) from error
    return app


def load_devices(config):
    """Every device the state knows of. Raises ServiceError."""
    app = open_state(config)
    try:
        from ottr.app import utc_now
        from ottr.play.devices import describe_devices

        return describe_devices(app, utc_now())
    finally:
        app.close()


def load_certificates(config, names):
    """The certificates of the named devices, C(None) where nothing is known. Raises ServiceError."""
    app = open_state(config)
    try:
        from ottr.app import utc_now
        from ottr.play.certificates import describe_certificate

        return [describe_certificate(app.stores.certificates, name, utc_now()) for name in names]
    finally:
        app.close()


class Service:
    """Ottr, started for this play by whoever asks first."""

    def __init__(self, folder, play, config=None, staging=False, log_file=None):
        """C(folder) is private to the process C(play), which runs the play, and goes away with it."""
        self.start = {"play": play, "config": config, "staging": staging, "log_file": log_file}
        key = hashlib.sha256(json.dumps(self.start, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = os.path.join(folder, "ottr-%s" % key)

    def ask(self, request):
        """Return the answer. Raises ServiceError."""
        try:
            with self.connect() as connection, connection.makefile("rwb") as stream:
                stream.write(json.dumps(request).encode() + b"\n")
                stream.flush()
                line = stream.readline()
        except OSError as error:
            raise ServiceError("Ottr cannot be asked: %s" % error) from error
        if not line:
            raise ServiceError("Ottr ended without an answer: %s" % self.last_words())
        return json.loads(line)

    def connect(self):
        """A connection to the process of this play, which is started when there is none."""
        connection = self.try_to_connect()
        if connection is not None:
            return connection
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        with open(os.path.join(self.folder, "lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            connection = self.try_to_connect()
            return self.launch() if connection is None else connection

    def try_to_connect(self):
        """A connection, or None when nobody listens. By way of the folder: a socket's own name must be short."""
        path = os.path.join(self.folder, "socket")
        connection = socket.socket(socket.AF_UNIX)
        try:
            handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            connection.close()
            return None
        try:
            by_handle = "/proc/self/fd/%d/socket" % handle
            connection.connect(by_handle if os.path.exists(by_handle) else path)
        except OSError:
            connection.close()
            return None
        finally:
            os.close(handle)
        return connection

    def launch(self):
        with open(os.path.join(self.folder, "errors"), "wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "ottr.play"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=make_environment(os.environ),
                start_new_session=True,
            )
        with process.stdin as stream:
            stream.write(json.dumps(dict(self.start, folder=self.folder)).encode() + b"\n")
        deadline = time.monotonic() + START_TIMEOUT_S
        while process.poll() is None and time.monotonic() < deadline:
            connection = self.try_to_connect()
            if connection is not None:
                return connection
            time.sleep(0.01)
        raise ServiceError("Ottr does not start: %s" % self.last_words())

    def last_words(self):
        try:
            with open(os.path.join(self.folder, "errors"), encoding="utf-8", errors="replace") as errors:
                lines = errors.read().strip().splitlines()
        except OSError:
            lines = []
        return lines[-1] if lines else "nothing was said"


def make_environment(given):
    """A locale that is UTF-8, and this Python's own way to Ottr: -P leaves out what a checkout puts on the path."""
    environment = dict(given)
    locale = given.get("LC_ALL") or given.get("LC_CTYPE") or given.get("LANG") or ""
    if "utf" not in locale.lower():
        environment["LC_ALL"] = "C.UTF-8"
    return environment
