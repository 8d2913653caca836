# SPDX-License-Identifier: Apache-2.0
"""File objects: certificates and keys as the configuration holds them, and their files in the file store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from ottr.drivers.f5.simulator.answers import Refusal, full_path, partition_of
from ottr.drivers.f5.simulator.configuration import CERTIFICATE, KEY, Configuration, Object
from ottr.drivers.f5.simulator.disk import FILE_STORE, Disk
from ottr.drivers.f5.simulator.material import (
    checksum,
    describe_name,
    describe_private_key,
    describe_public_key,
    describe_serial,
    read_chain,
    read_key,
)
from ottr.drivers.f5.simulator.settings import Settings

_STORE = {CERTIFICATE: "certificate", KEY: "certificate_key"}


def new_file(pem: str, source: str, user: str, now: float, number: int) -> Object:
    """A new file object. ``source`` is a path on the device."""
    when = _time(now)
    made = {"createdBy": user, "createTime": when, "updatedBy": user, "lastUpdateTime": when}
    return {"_pem": pem, "_id": number, "_revision": 1, "sourcePath": f"file://{source}", **made}


def replaced_file(former: Object, pem: str, source: str, user: str, now: float) -> Object:
    """A file object with new content."""
    made = {"sourcePath": f"file://{source}", "updatedBy": user, "lastUpdateTime": _time(now)}
    return {**former, "_pem": pem, "_revision": former["_revision"] + 1, **made}


def read_source(disk: Disk, source: str, collection: str) -> str:
    """The PEM in a file on the device, a key's or a certificate's. Raises Refusal."""
    content = disk.read(source)
    if content is None:
        raise Refusal(400, f"01070734:3: Configuration error: file {source} does not exist or cannot be read.")
    pem = content.decode("latin-1")
    if (read_key(pem) if collection == KEY else read_chain(pem) or None) is None:
        kind = "key" if collection == KEY else "certificate"
        raise Refusal(400, f"01070712:3: Caught configuration exception (0), unable to read {kind} file {source}.")
    return pem


def cache_path(collection: str, path: str, found: Object) -> str:
    """Where the file object's file is."""
    partition = f"{partition_of(path)}_d"
    name = f"{path.replace('/', ':')}_{found['_id']}_{found['_revision']}"
    return f"{FILE_STORE}/{partition}/{_STORE[collection]}_d/{name}"


def write_store(disk: Disk, configuration: Configuration) -> None:
    """Bring the file store to what the running configuration has."""
    wanted = {
        cache_path(collection, path, found): found["_pem"]
        for collection in _STORE
        for path, found in configuration.of(collection).items()
    }
    partitions = {partition_of(path) for collection in _STORE for path in configuration.of(collection)}
    for folder in {f"{FILE_STORE}/{partition}_d/{kind}_d" for partition in partitions for kind in _STORE.values()}:
        for name in disk.names(folder):
            if f"{folder}/{name}" not in wanted:
                disk.remove(f"{folder}/{name}")
    for place, pem in wanted.items():
        if disk.read(place) != pem.encode():
            disk.write(place, pem.encode(), 0o640)


def show_file(collection: str, path: str, found: Object, settings: Settings) -> dict[str, Any]:
    """What REST shows of a file object beside name, kind and link."""
    pem: str = found["_pem"]
    shown = {
        "checksum": checksum(pem),
        "createTime": found["createTime"],
        "createdBy": found["createdBy"],
        "lastUpdateTime": found["lastUpdateTime"],
        "mode": 33188 if collection == CERTIFICATE else 33184,
        "revision": found["_revision"],
        "size": len(pem.encode()),
        "sourcePath": found["sourcePath"],
        "updatedBy": found["updatedBy"],
    }
    if collection == KEY:
        key = read_key(pem)
        if key is None:
            raise Refusal(500, f"no key in {path}")
        kind, size, curve = describe_private_key(key)
        return {**shown, "keyType": kind, "keySize": size, "curveName": curve, "securityType": "normal"}
    return {**shown, **_describe(read_chain(pem), settings)}


def _describe(chain: list[x509.Certificate], settings: Settings) -> dict[str, Any]:
    leaf = chain[0]
    kind, size, curve = describe_public_key(leaf)
    shown: dict[str, Any] = {
        "certificateKeyCurveName": curve,
        "certificateKeySize": size,
        "expirationDate": int(leaf.not_valid_after_utc.timestamp()),
        "expirationString": gmt(leaf.not_valid_after_utc),
        "isBundle": "true" if len(chain) > 1 else "false",
        "issuer": describe_name(leaf.issuer),
        "keyType": kind,
        "serialNumber": describe_serial(leaf.serial_number, settings.unconfirmed.serial_form),
        "subject": describe_name(leaf.subject),
        "version": 3,
    }
    if settings.unconfirmed.new_certificate_attributes:
        shown["fingerprint"] = fingerprint(leaf)
        if names := alternative_names(leaf):
            shown["subjectAlternativeName"] = names
    return shown


def fingerprint(leaf: x509.Certificate) -> str:
    """``SHA256/AA:BB:...``."""
    return f"SHA256/{leaf.fingerprint(SHA256()).hex(':').upper()}"


def alternative_names(leaf: x509.Certificate) -> str:
    """``DNS:a, IP Address:192.0.2.1``, empty without any."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    dns = [f"DNS:{name}" for name in names.get_values_for_type(x509.DNSName)]
    return ", ".join(dns + [f"IP Address:{ip}" for ip in names.get_values_for_type(x509.IPAddress)])


def gmt(when: datetime) -> str:
    """``Oct  7 14:15:29 2029 GMT``, as OpenSSL writes a time."""
    return f"{when:%b} {when.day:2} {when:%H:%M:%S} {when.year} GMT"


def _time(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def file_path(name: str, partition: str) -> str:
    """The full path of a file object. Raises Refusal for a name the device does not take."""
    check_name(name)
    return full_path(name, partition)


def check_name(name: str) -> None:
    """Raises Refusal for a name the device does not take."""
    if "*" in name:
        raise Refusal(400, 'the "create" command does not accept wildcard configuration identifiers')
    bare = name.rpartition("/")[2]
    if not bare or len(bare) > 255 or not (bare[0].isalnum() or bare[0] == "_"):
        raise Refusal(400, f"01020057:3: The name ({name}) is invalid.")
    if not all(character.isalnum() or character in "._-" for character in bare) or not name.isascii():
        raise Refusal(400, f"01020057:3: The string with more than 0 characters and invalid characters ({name}).")
