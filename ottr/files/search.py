# SPDX-License-Identifier: Apache-2.0
"""Where the operator's files are, when nobody says."""

from __future__ import annotations

import configparser
from collections.abc import Mapping, Sequence
from pathlib import Path

from ottr.errors import InventoryError, SettingsError
from ottr.settings import Settings

SERVICE_FOLDER = Path("/etc/ottr")
SERVICE_STATE = Path("/var/lib/ottr")


def find_settings(path: Path | None, environment: Mapping[str, str]) -> Path | None:
    """Return ottr.yaml: the one named, of ``OTTR_CONFIG``, here, of the user, of the service; None without any.

    Raises SettingsError when one was named and is not there.
    """
    named = path or (Path(environment["OTTR_CONFIG"]) if environment.get("OTTR_CONFIG") else None)
    if named is not None:
        if not named.is_file():
            raise SettingsError(f"{named}: there is no such file", hint="`ottr init` writes a commented start")
        return named.absolute()
    home = Path(environment.get("HOME") or Path.home())
    user = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    places = (Path("ottr.yaml"), user / "ottr" / "ottr.yaml", SERVICE_FOLDER / "ottr.yaml")
    return next((place.absolute() for place in places if place.is_file()), None)


def find_inventory(settings: Settings, given: Sequence[str], environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the inventory sources: as given, of ottr.yaml, of Ansible's own settings, else ``inventory/`` beside.

    Raises InventoryError when there is none.
    """
    if given:
        return tuple(given)
    if settings.inventory:
        return settings.inventory
    beside = settings.routing.parent if settings.path is None else settings.path.parent
    sources = _split(environment.get("ANSIBLE_INVENTORY", ""), Path.cwd()) or _configured(environment)
    if sources:
        return sources
    if (beside / "inventory").exists():
        return (str(beside / "inventory"),)
    raise InventoryError(
        f"there is no inventory: no -i, no ANSIBLE_INVENTORY, no {beside / 'inventory'}",
        hint="`ottr init` writes a commented start",
    )


def _configured(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Inventory of the ansible.cfg that Ansible would take: the first found, whatever it says."""
    home = Path(environment.get("HOME") or Path.home())
    places = [Path("ansible.cfg"), home / ".ansible.cfg", Path("/etc/ansible/ansible.cfg")]
    if environment.get("ANSIBLE_CONFIG"):
        places.insert(0, Path(environment["ANSIBLE_CONFIG"]).expanduser())
    place = next((place.absolute() for place in places if place.is_file()), None)
    if place is None:
        return ()
    config = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(";",), strict=False)
    try:
        config.read(place, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise InventoryError(f"{place}: cannot be read as Ansible's settings") from error
    return _split(config.get("defaults", "inventory", fallback=""), place.parent)


def _split(text: str, folder: Path) -> tuple[str, ...]:
    """Sources of Ansible's comma-separated path list, relative ones beginning at a folder."""
    return tuple(str(folder / Path(part.strip()).expanduser()) for part in text.split(",") if part.strip())
