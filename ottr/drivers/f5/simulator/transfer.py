# SPDX-License-Identifier: Apache-2.0
"""``shared/file-transfer``: uploads in chunks, downloads of the bulk folder in ranges."""

from __future__ import annotations

import re

from ottr.drivers.f5.simulator.answers import Refusal, answer
from ottr.drivers.f5.simulator.calls import BULK as BULK_AREA
from ottr.drivers.f5.simulator.calls import CSR_TRANSFERS, UPLOADS, Call
from ottr.drivers.f5.simulator.disk import BULK, CSR_FOLDER
from ottr.drivers.f5.simulator.disk import UPLOADS as UPLOAD_FOLDER
from ottr.drivers.f5.simulator.state import State
from ottr.simulation.requests import Response

_RANGE = re.compile(r"(\d+)-(\d+)/(\d+)")
_KIND = ":resterrorresponse"


def answer_transfer(state: State, call: Call) -> Response:
    """Answer an upload or a download. Raises Refusal."""
    if len(call.rest) != 1 or call.area not in (UPLOADS, BULK_AREA, CSR_TRANSFERS):
        raise Refusal(404, "Public URI path not registered", kind=_KIND)
    name = call.rest[0]
    if call.area == UPLOADS and call.method == "POST":
        return _upload(state, call, name)
    if call.area == BULK_AREA and call.method == "GET":
        return _download(call, state.disk.read(f"{BULK}/{_plain(name)}"))
    if call.area == CSR_TRANSFERS and call.method == "GET" and state.settings.unconfirmed.csr_download:
        return _download(call, state.disk.read(f"{CSR_FOLDER}/{_plain(name.rpartition('~')[2])}"))
    raise Refusal(405 if call.area != CSR_TRANSFERS else 404, f"{call.method} is not possible", kind=_KIND)


def _plain(name: str) -> str:
    if ":" in name or name in (".", "..") or "%" in name:
        raise Refusal(400, f"Invalid file name {name}", kind=_KIND)
    return name


def _upload(state: State, call: Call, name: str) -> Response:
    if not call.headers.get("content-type", "").startswith("application/octet-stream"):
        raise Refusal(400, "content-type must be application/octet-stream", kind=_KIND)
    first, total = _check_range(state, call)
    if state.faults.take("upload_broken"):
        state.uploads.pop(name, None)
        return Response(500, call.content, "application/octet-stream")
    if state.faults.take("disk_full"):
        raise Refusal(500, "java.io.IOException: No space left on device", kind=_KIND)
    chunks = state.uploads.setdefault(_plain(name), {})
    if first == 0:
        chunks.clear()
    elif first != sum(map(len, chunks.values())):
        raise Refusal(400, "Chunk byte range is out of order", kind=_KIND)
    chunks[first] = call.content
    done = sum(map(len, chunks.values()))
    if done == total:
        state.disk.write(f"{UPLOAD_FOLDER}/{name}", b"".join(chunks[start] for start in sorted(chunks)), 0o644)
        del state.uploads[name]
    return answer(
        {
            "remainingByteCount": total - done,
            "usedChunks": {str(start): len(chunk) for start, chunk in sorted(chunks.items())},
            "totalByteCount": total,
            "localFilePath": f"{UPLOAD_FOLDER}/{name}",
            "temporaryFilePath": f"{UPLOAD_FOLDER}/tmp/{name}",  # noqa: S108 on the device
            "generation": 0,
            "lastUpdateMicros": int(state.clock() * 1_000_000),
        }
    )


def _check_range(state: State, call: Call) -> tuple[int, int]:
    found = _RANGE.fullmatch(call.headers.get("content-range", ""))
    first, last, total = map(int, found.groups()) if found else (0, 0, 0)
    if not found or last >= total or last - first + 1 != len(call.content):
        status = state.settings.unconfirmed.missing_range_status
        raise Refusal(status, "Content-Range header is missing or wrong", kind=_KIND)
    return first, total


def _download(call: Call, content: bytes | None) -> Response:
    if content is None:
        raise Refusal(404, "java.io.FileNotFoundException", kind=_KIND)
    found = _RANGE.fullmatch(call.headers.get("content-range", ""))
    if not found:
        raise Refusal(400, "Content-Range header is missing or wrong", kind=_KIND)
    first, last = int(found[1]), min(int(found[2]), len(content) - 1)
    if first > last:
        raise Refusal(400, "Content-Range is outside the file", kind=_KIND)
    headers = {"Content-Range": f"{first}-{last}/{len(content)}"}
    return Response(200, content[first : last + 1], "application/octet-stream", headers)
