# SPDX-License-Identifier: Apache-2.0
"""The parameters of a request, wherever they stand: URL, form or multipart body."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from types import MappingProxyType
from urllib.parse import parse_qsl

from ottr.drivers.panos.simulator.answers import Refusal
from ottr.simulation.requests import Request

SECRETS = frozenset({"key", "password", "passphrase", "x-pan-key", "authorization", "file"})
"""Parameters and headers that the log masks, in lower case."""

_LOCATION = frozenset({"vsys", "target-tpl", "target-tpl-vsys", "target-vsys"})
PARAMETERS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "keygen": frozenset({"user", "password"}),
        "version": frozenset(),
        "config": frozenset({"action", "xpath", "element", "newname"}),
        "op": frozenset({"cmd"}) | _LOCATION,
        "commit": frozenset({"action", "cmd"}),
        "export": frozenset({"category", "certificate-name", "format", "include-key", "passphrase", "from", "to"})
        | _LOCATION,
        "import": frozenset({"category", "certificate-name", "format", "passphrase", "file-name", "file"}) | _LOCATION,
    }
)
"""What each type takes, besides ``type``, ``key`` and ``target``."""
_ALWAYS = frozenset({"type", "key", "target"})


@dataclass(frozen=True, slots=True)
class Form:
    """The parameters, the uploaded file if there is one, and the secret parameters that came in the URL."""

    fields: Mapping[str, str]
    file: bytes | None
    secrets_in_url: frozenset[str]


def parse_form(request: Request, *, match_case: bool) -> Form:
    """Read a request's parameters. Raises Refusal."""
    pairs, file = list(request.query), None
    kind = request.headers.get("content-type", "")
    if kind.startswith("multipart/form-data"):
        fields, file = _parse_multipart(request.body, kind)
        pairs += fields
    elif request.body:
        if not kind.startswith("application/x-www-form-urlencoded"):
            raise Refusal(400, f"Content type {kind or 'none'} is not supported", shape="spaced")
        pairs += parse_qsl(request.body.decode(errors="replace"), keep_blank_values=True)
    in_url = frozenset(name.lower() for name, value in request.query if name.lower() in SECRETS and value)
    return Form(_fold(pairs, match_case=match_case), file, in_url)


def _fold(pairs: list[tuple[str, str]], *, match_case: bool) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in pairs:
        known = name.lower() if not match_case or name.lower() == "key" else name
        if fields.get(known, value) != value:
            raise Refusal(400, f"Parameter [{known}] is given twice.", shape="spaced")
        fields[known] = value
    return fields


def _parse_multipart(body: bytes, kind: str) -> tuple[list[tuple[str, str]], bytes | None]:
    boundary = kind.partition("boundary=")[2].partition(";")[0].strip()
    if not boundary or boundary.startswith('"'):
        raise Refusal(400, "No file was uploaded", shape="spaced")  # the device does not know quoted boundaries
    fields, file = [], None
    for part in body.split(b"--" + boundary.encode())[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        disposition = BytesHeaderParser().parsebytes(head).get("Content-Disposition", "")
        found = re.search(r'[;\s]name="?([^";]+)"?', disposition)
        content = content.removesuffix(b"\r\n")
        if found and "filename=" in disposition:
            file = content if found[1] == "file" else file
        elif found:
            fields.append((found[1], content.decode(errors="replace")))
    return fields, file


def check_parameters(form: Form) -> str:
    """The request's type. Raises Refusal when it is missing, unknown, or comes with parameters it does not take."""
    kind = form.fields.get("type", "")
    if not kind:
        raise Refusal(400, 'Missing value for parameter "type".', shape="spaced")
    if kind not in PARAMETERS:
        raise Refusal(400, f'Illegal value for parameter "type" [{kind}].', shape="spaced")
    for name in form.fields:
        if name not in PARAMETERS[kind] | _ALWAYS:
            raise Refusal(400, f"Illegal parameter [{name}].", shape="spaced")
    return kind
