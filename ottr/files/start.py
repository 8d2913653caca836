# SPDX-License-Identifier: Apache-2.0
"""The operator's first files, for `ottr init`: a commented start, or those of a lab."""

from __future__ import annotations

import io
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML

from ottr.errors import ConfigurationError

_PATHS = frozenset({"ca_bundle", "trust", "known_hosts", "private_key_file", "file"})
"""Keys of ottr.yaml whose values are paths."""
_WORDS = frozenset({"system"})
_NAMES = ("ottr.yaml", "routing.yaml", "inventory")


def write_start(folder: Path) -> list[Path]:
    """Write a commented ottr.yaml, routing.yaml and inventory/ into a folder; return what was written.

    Raises ConfigurationError, with nothing written, when one of them is there already.
    """
    template = resources.files("ottr.files") / "templates"
    return _write(folder, [(path, file.read_text(encoding="utf-8")) for path, file in _walk(template)])


def take_over_lab(lab: Path, folder: Path) -> list[Path]:
    """Write the operator's files of a lab into a folder, paths leading to the lab; return what was written.

    Raises ConfigurationError, with nothing written, when there is no lab, or one of the files already.
    """
    missing = [name for name in _NAMES if not (lab / name).exists()]
    if missing:
        hint = "`ottr lab` makes one and says where; keep it open"
        raise ConfigurationError(f"{lab} is not a lab: it has no {', no '.join(missing)}", hint=hint)
    files = [(path, file.read_text(encoding="utf-8")) for name in _NAMES for path, file in _walk(lab / name, name)]
    return _write(folder, [(path, _lead_to(lab, text) if path == "ottr.yaml" else text) for path, text in files])


def _walk(place: Traversable, name: str = "") -> Iterator[tuple[str, Traversable]]:
    """Files at and below a place, with their path from it."""
    if place.is_file():
        yield name, place
    elif place.is_dir():
        for child in sorted(place.iterdir(), key=lambda child: child.name):
            yield from _walk(child, str(PurePosixPath(name, child.name)))


def _write(folder: Path, files: list[tuple[str, str]]) -> list[Path]:
    for name in _NAMES:
        if (folder / name).exists():
            raise ConfigurationError(
                f"{folder / name} is there already, and nothing is overwritten",
                hint="choose an empty folder, or move it away",
            )
    written = []
    try:
        for name, text in files:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
            written.append(path)
    except OSError as error:
        raise ConfigurationError(f"{folder / name}: cannot be written: {error.strerror}") from error
    return written


def _lead_to(lab: Path, text: str) -> str:
    """Settings whose relative paths lead to the lab; comments stay."""
    yaml = YAML()
    yaml.width = 4096
    settings = yaml.load(text)
    _lead(lab.absolute(), settings)
    stream = io.StringIO()
    yaml.dump(settings, stream)
    return stream.getvalue()


def _lead(lab: Path, node: Any) -> None:
    if isinstance(node, list):
        for item in node:
            _lead(lab, item)
    if isinstance(node, dict):
        for key, value in node.items():
            if key in _PATHS and isinstance(value, str) and value not in _WORDS:
                node[key] = str(lab / Path(value).expanduser())
            elif key in _PATHS and isinstance(value, list):
                node[key] = [str(lab / Path(item).expanduser()) for item in value]
            else:
                _lead(lab, value)
