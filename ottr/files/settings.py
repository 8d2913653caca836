# SPDX-License-Identifier: Apache-2.0
"""Reading ottr.yaml. Every error is a SettingsError that names file, line, key and what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from ottr.errors import SettingsError
from ottr.files.document import Entry, Source, load_document
from ottr.files.fields import (
    is_safe_url,
    read_command,
    read_duration,
    read_each,
    read_fraction,
    read_integer,
    read_moment,
    read_path,
    read_server,
    read_text,
)
from ottr.files.issuers import find_default, read_issuers
from ottr.files.search import SERVICE_FOLDER, SERVICE_STATE, find_settings
from ottr.files.secrets import is_reference, list_variables, read_secret, read_secret_reference
from ottr.files.solvers import read_solvers
from ottr.model import Secret
from ottr.settings import CredentialSource, Freeze, IssuerSettings, NotifySettings, RotationSettings, Settings
from ottr.windows import parse_freeze, parse_window

_TOP = frozenset(
    [
        "issuers",
        "default_issuer",
        "solvers",
        "resolvers",
        "credentials",
        "state",
        "rotation",
        "notify",
        "inventory",
        "routing",
        "known_hosts",
    ]
)
_ROTATION = frozenset(
    [
        "forks",
        "renew_fraction",
        "renew_fraction_short",
        "short_lifetime",
        "quarantine_after",
        "retry_install",
        "keep_history",
        "windows",
        "freezes",
    ]
)
_LOGIN = frozenset(["username", "password", "private_key_file", "private_key_passphrase", "become_password"])
_EVENTS = ("failed", "stranded", "summary")

Read = TypeVar("Read")


def load_settings(path: Path | None, environment: Mapping[str, str]) -> Settings:
    """Read ottr.yaml: the one named, else the one `find_settings` finds; defaults when there is none.

    Raises SettingsError.
    """
    found = find_settings(path, environment)
    if found is not None:
        return _read_settings(load_document(found, SettingsError), found, environment)
    nowhere = Source(Path.cwd() / "ottr.yaml", SettingsError)
    return _read_settings(Entry(nowhere, 1, "", None), None, environment)


def _read_settings(top: Entry, path: Path | None, environment: Mapping[str, str]) -> Settings:
    fields = top.fields(_TOP)
    folder = top.source.path.parent
    issuers: Mapping[str, IssuerSettings] = _given(
        fields, "issuers", lambda entry: read_issuers(entry, environment), {}
    )
    withheld = list_variables(top)
    state_url, state_dir = _read_state(fields.get("state"), folder, environment)
    return Settings(
        path=path,
        issuers=issuers,
        default_issuer=find_default(issuers, fields.get("default_issuer")),
        solvers=_given(fields, "solvers", lambda entry: read_solvers(entry, environment, withheld), ()),
        state_url=state_url,
        state_dir=state_dir,
        inventory=_given(fields, "inventory", lambda entry: read_each(entry, _read_inventory), ()),
        routing=_given(fields, "routing", read_path, folder / "routing.yaml"),
        resolvers=_given(fields, "resolvers", lambda entry: read_each(entry, read_server), ()),
        known_hosts=_given(fields, "known_hosts", lambda entry: read_each(entry, read_path), ()),
        rotation=_given(fields, "rotation", _read_rotation, RotationSettings()),
        notify=_given(fields, "notify", lambda entry: _read_notify(entry, environment), NotifySettings()),
        credentials=_given(fields, "credentials", _read_credentials, ()),
        withheld=withheld,
    )


def _given(fields: Mapping[str, Entry], key: str, read: Callable[[Entry], Read], default: Read) -> Read:
    """What a key says, or the default when the key or its value is not there."""
    entry = fields.get(key)
    return default if entry is None or entry.empty else read(entry)


def _read_state(entry: Entry | None, folder: Path, environment: Mapping[str, str]) -> tuple[Secret, Path]:
    state_dir = SERVICE_STATE if folder == SERVICE_FOLDER else folder / ".ottr"
    url = None
    if entry is not None and not entry.empty:
        whole = isinstance(entry.value, str) or is_reference(entry)
        fields = {"url": entry} if whole else entry.fields({"url", "folder"})
        state_dir = _given(fields, "folder", read_path, state_dir)
        url = fields.get("url")
    if url is None:
        return Secret(f"sqlite:///{state_dir / 'state.db'}"), state_dir
    return _read_state_url(url, folder, environment), state_dir


def _read_state_url(entry: Entry, folder: Path, environment: Mapping[str, str]) -> Secret:
    """A URL of SQLAlchemy; the path in one of SQLite begins beside the file."""
    text = read_secret(entry, environment).reveal()
    kind, separator, rest = text.partition("://")
    if not separator or not rest or kind.split("+")[0] not in ("sqlite", "postgresql"):
        raise entry.error("expected a URL (sqlite:///… or postgresql://…)")
    if kind != "sqlite":
        return Secret(text)
    if not rest.startswith("/") or rest == "/":
        raise entry.error("expected sqlite:///state.db, or sqlite:////var/lib/ottr/state.db for an absolute path")
    return Secret(f"sqlite:///{folder / rest[1:]}")


def _read_inventory(entry: Entry) -> str:
    """A path, or a host list as Ansible takes it: with a comma."""
    text = read_text(entry, "a path, a list of hosts with a comma, or state:")
    return text if "," in text or text == "state:" else str(read_path(entry))


def _read_rotation(entry: Entry) -> RotationSettings:
    fields = entry.fields(_ROTATION)
    base = RotationSettings()
    return RotationSettings(
        forks=_given(fields, "forks", lambda forks: read_integer(forks, 1, 1000), base.forks),
        renew_fraction=_given(fields, "renew_fraction", read_fraction, base.renew_fraction),
        renew_fraction_short=_given(fields, "renew_fraction_short", read_fraction, base.renew_fraction_short),
        short_lifetime_s=_given(fields, "short_lifetime", read_duration, base.short_lifetime_s),
        quarantine_after=_given(
            fields, "quarantine_after", lambda tries: read_integer(tries, 1, 1000), base.quarantine_after
        ),
        retry_install=_given(fields, "retry_install", lambda tries: read_integer(tries, 1, 100), base.retry_install),
        keep_history_s=_given(fields, "keep_history", _read_keeping, base.keep_history_s),
        windows=_given(fields, "windows", lambda windows: read_each(windows, read_window), ()),
        freezes=_given(fields, "freezes", lambda freezes: read_each(freezes, _read_freeze), ()),
    )


def _read_keeping(entry: Entry) -> float | None:
    """A time span, or for ever."""
    return None if entry.value == "forever" else read_duration(entry)


def read_window(entry: Entry) -> str:
    """Return a maintenance window that `ottr.windows` can read."""
    text = read_text(entry, 'a window as "Sat,Sun 22:00-04:00 Europe/Berlin"')
    try:
        parse_window(text)
    except ValueError as error:
        raise entry.error(str(error)) from error
    return text


def _read_freeze(entry: Entry) -> Freeze:
    fields = entry.fields({"start", "end", "reason"})
    if "start" not in fields:
        raise entry.error("start is missing")
    freeze = Freeze(
        start=read_moment(fields["start"]),
        end=_given(fields, "end", lambda end: read_moment(end, end=True), ""),
        reason=_given(fields, "reason", read_text, ""),
    )
    try:
        parse_freeze(freeze)
    except ValueError as error:
        raise entry.error(str(error)) from error
    return freeze


def _read_notify(entry: Entry, environment: Mapping[str, str]) -> NotifySettings:
    fields = entry.fields({"command", "webhook", "on"})
    return NotifySettings(
        command=_given(fields, "command", read_command, ()),
        webhook=_given(fields, "webhook", lambda webhook: _read_webhook(webhook, environment), None),
        on=_given(fields, "on", lambda on: frozenset(read_each(on, _read_event)), frozenset(_EVENTS)),
    )


def _read_webhook(entry: Entry, environment: Mapping[str, str]) -> Secret | None:
    webhook = read_secret(entry, environment)
    if not is_safe_url(webhook.reveal()):
        raise entry.error("expected a URL (https://…)", hint="http:// is taken for loopback addresses only")
    return webhook


def _read_event(entry: Entry) -> str:
    text = read_text(entry)
    if text not in _EVENTS:
        raise entry.expected(f"one of {', '.join(_EVENTS)}")
    return text


def _read_credentials(entry: Entry) -> tuple[CredentialSource, ...]:
    return tuple(_read_login(pattern, login) for pattern, login in entry.items().items())


def _read_login(pattern: str, entry: Entry) -> CredentialSource:
    fields = entry.fields(_LOGIN)
    return CredentialSource(
        pattern=pattern,
        username=_given(fields, "username", read_secret_reference, None),
        password=_given(fields, "password", read_secret_reference, None),
        private_key_file=_given(fields, "private_key_file", read_path, None),
        private_key_passphrase=_given(fields, "private_key_passphrase", read_secret_reference, None),
        become_password=_given(fields, "become_password", read_secret_reference, None),
    )
