# SPDX-License-Identifier: Apache-2.0
"""The shapes of iControl REST's answers, and names as they are in paths; the README of this driver has the sources."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ottr.simulation.requests import Response

COMMON = "Common"
_JSON = "application/json; charset=UTF-8"


class Refusal(Exception):
    """The device says no. ``more`` is put into the body beside code and message."""

    def __init__(self, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status, self.message, self.more = status, message, more


def answer(content: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(status, json.dumps(content).encode(), _JSON)


def refused(refusal: Refusal) -> Response:
    """An error body."""
    extra = refusal.more or {"errorStack": [], "apiError": 3 if ":3:" in refusal.message else 26214401}
    return answer({"code": refusal.status, "message": refusal.message, **extra}, refusal.status)


def page(status: int, title: str, headers: Mapping[str, str] | None = None) -> Response:
    """What httpd answers by itself."""
    return Response(status, f"<html><head><title>{title}</title></head></html>".encode(), "text/html", headers or {})


def absent(label: str, path: str) -> Refusal:
    """404 for an object that is not there."""
    return Refusal(404, f"01020036:3: The requested {label} ({path}) was not found.")


def exists(label: str, path: str, status: int = 409) -> Refusal:
    """409 for a name that is taken."""
    partition = partition_of(path)
    return Refusal(status, f"01020066:3: The requested {label} ({path}) already exists in partition {partition}.")


def unknown_property(name: str) -> Refusal:
    """400 for a body with something else in it."""
    return Refusal(400, f'"{name}" unknown property')


def unavailable(path: str) -> Refusal:
    """404 for a path that means nothing."""
    return Refusal(404, f"Public URI path not registered: {path}", referer="127.0.0.1", kind=":resterrorresponse")


def full_path(name: str, partition: str = COMMON) -> str:
    """``/Common/x`` for ``x`` or ``/Common/x``."""
    return name if name.startswith("/") else f"/{partition}/{name}"


def partition_of(path: str) -> str:
    """The partition of ``/Common/x``."""
    return path.split("/")[1]


def name_of(path: str) -> str:
    """``x`` of ``/Common/folder/x``."""
    return path.rpartition("/")[2]


def from_url(segment: str) -> str:
    """``/Common/x`` for ``~Common~x`` or ``x``."""
    return full_path(segment.replace("~", "/"))


def to_url(path: str) -> str:
    """``~Common~x`` for ``/Common/x``."""
    return path.replace("/", "~")
