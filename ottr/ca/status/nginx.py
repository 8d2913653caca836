# SPDX-License-Identifier: Apache-2.0
"""The configuration with which nginx serves the published tree as ``ottr ca serve`` would."""

from __future__ import annotations

import re
from pathlib import Path

from ottr.ca.status.service import Status
from ottr.errors import SettingsError

_PLACE = re.compile(r"(unix:/[\w./-]+|[\w.-]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5})")
_SAFE_FOLDER = re.compile(r"/[\w./-]*")

_FILES = """\
# Written by `ottr ca publish`; include it in the server block that answers for {base_url} over plain http.
root {folder}/www;
etag on;

location /crl/ {{
    types {{ }}
    default_type application/pkix-crl;
    expires 5m;
    add_header Cache-Control "public, must-revalidate";
}}

location /ca/ {{
    types {{ application/pkix-cert der; }}
    default_type application/x-pem-file;
    expires 5m;
    add_header Cache-Control "public, must-revalidate";
}}
"""

_ANSWERS = """\

# The path is the request, decoded, and runs of slashes taken for one. A file is as old as its answer, and so
# "Expires" is the nextUpdate that is signed. With sendfile the headers would go out as a packet of their own, which
# costs more than to copy the thousand bytes of an answer.
location /ocsp/ {{
    limit_except GET {{ deny all; }}
    sendfile off;
    types {{ }}
    default_type application/ocsp-response;
    expires modified +{lifetime_s}s;
    add_header Cache-Control "public, no-transform, must-revalidate";
    try_files $uri.ors {otherwise};
}}
"""

_RESPONDER = """\

# What has no file: POST, nonces, several certificates at once, other hashes. Without a path after the address,
# nginx passes the request on as it came.
location = /ocsp {{
    proxy_pass http://{responder};
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    client_max_body_size 16k;
}}

location @responder {{
    proxy_pass http://{responder};
    proxy_http_version 1.1;
    proxy_set_header Connection "";
}}
"""


def write_configuration(status: Status, folder: Path, responder: str = "") -> str:
    """The text of a file for a ``server`` block. Raises SettingsError for what nginx would misread."""
    root = str(folder.absolute())
    if not _SAFE_FOLDER.fullmatch(root):
        raise SettingsError(f"{root}: nginx would misread this name", hint="take letters, digits, dots, dashes")
    if responder and not _PLACE.fullmatch(responder):
        raise SettingsError(f"{responder!r} is not host:port of a responder")
    text = _FILES.format(folder=root, base_url=status.authority.settings.base_url or "the CA")
    if not status.responder.settings.enabled:
        return text
    lifetime_s = int(status.responder.settings.lifetime_s)
    text += _ANSWERS.format(lifetime_s=lifetime_s, otherwise="@responder" if responder else "=404")
    return text + (_RESPONDER.format(responder=responder) if responder else "")
