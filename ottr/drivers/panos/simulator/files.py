# SPDX-License-Identifier: Apache-2.0
"""``type=export`` and ``type=import``: certificates, keys, configurations."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from xml.etree.ElementTree import SubElement

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from ottr.drivers.panos.simulator.answers import (
    Element,
    MalformedXml,
    Refusal,
    attachment,
    parse_xml,
    result,
    write_xml,
)
from ottr.drivers.panos.simulator.certificates import describe, fits, load_chain, load_key, same_kind
from ottr.drivers.panos.simulator.editing import needed
from ottr.drivers.panos.simulator.places import CERTIFICATE, SHARED, entry_path, locate
from ottr.drivers.panos.simulator.schema import check_name
from ottr.drivers.panos.simulator.state import State
from ottr.drivers.panos.simulator.tree import Path, ensure, find
from ottr.simulation.requests import Response

_PRIVATE = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)
_EXPORT_FORMATS = ("pem", "pkcs10", "pkcs12", "der")


def export_file(state: State, form: Mapping[str, str], target: Path | None) -> Response:
    """Give a file away. Private keys stay unless the device was set up otherwise. Raises Refusal."""
    category = needed(form, "category")
    if category == "configuration":
        return attachment(write_xml(state.configuration.running).encode(), "running-config.xml")
    if category != "certificate":
        raise _illegal("category", category)
    name = needed(form, "certificate-name")
    kind = _format(form, "exporting")
    entry = _exported_entry(state, form, target, name)
    if form.get("include-key", "no") == "yes":
        return _export_key(state, name, entry, form)
    if kind == "pkcs10":
        content = entry.findtext("csr", "")
    else:
        content = entry.findtext("public-key", "") if kind == "pem" else ""
    if not content:
        raise Refusal(14, f"Certificate {name} cannot be exported as {kind}")
    file_name = state.settings.unconfirmed.csr_file_name if kind == "pkcs10" else "cert_{name}.crt"
    return attachment(content.encode(), file_name.format(name=name))


def _exported_entry(state: State, form: Mapping[str, str], target: Path | None, name: str) -> Element:
    root = state.configuration.candidate
    honours = state.settings.unconfirmed.export_honours_location
    place = (locate(root, form, state.settings.panorama) if honours else None) or target or SHARED
    entry = find(root, entry_path(place, CERTIFICATE, name))
    if entry is None:
        raise Refusal(state.settings.unconfirmed.absent_export_code, f"Certificate {name} not found", shape="msg")
    return entry


def _export_key(state: State, name: str, entry: Element, form: Mapping[str, str]) -> Response:
    state.exported_keys.append(name)
    passphrase, key = needed(form, "passphrase"), state.keys.of(entry)
    if not state.settings.keys_exportable or key is None:
        raise Refusal(15, f"Private key of {name} is blocked from export", shape="msg")
    encryption = BestAvailableEncryption(passphrase.encode())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return attachment(entry.findtext("public-key", "").encode() + private, f"cert_{name}.pem")


def import_file(
    state: State, user: str, form: Mapping[str, str], content: bytes | None, target: Path | None
) -> Response:
    """Take a file into the candidate. Raises Refusal."""
    category = needed(form, "category")
    if content is None:
        raise Refusal(400, "No file was uploaded", shape="spaced")
    if category == "configuration":
        return _import_configuration(state, user, form, content)
    kinds: Mapping[str, Callable[[Element, str], None]] = {
        "certificate": lambda entry, name: _put_certificate(state, entry, name, content),
        "private-key": lambda entry, name: _put_key(state, entry, name, content, form),
        "keypair": lambda entry, name: _put_pair(state, entry, name, content, form),
    }
    if category not in kinds:
        raise _illegal("category", category)
    name = needed(form, "certificate-name")
    _format(form, "importing")
    check_name(name, state.settings.name_limit, "upload -> certificate")
    state.need_no_config_lock(user)
    place = locate(state.configuration.candidate, form, state.settings.panorama) or target or SHARED
    with state.configuration.edit(user, "UPLOAD") as candidate:
        kinds[category](ensure(candidate, entry_path(place, CERTIFICATE, name)), name)
    return result(f"Successfully imported {name} into candidate configuration")


def _put_certificate(state: State, entry: Element, name: str, content: bytes) -> None:
    if state.faults.take("import_fails"):
        raise Refusal(None, f"Import of {name} failed. Failed to extract certificate")
    chain, key = load_chain(content, name), state.keys.of(entry)
    if key is None and state.settings.version >= (10, 1) and not state.settings.unconfirmed.keyless_import:
        raise Refusal(None, f"Import of {name} failed. private key doesn't exist for csr")
    if key is not None and not fits(key, chain[0]):
        refused = state.settings.unconfirmed.mismatch_refused or not same_kind(key, chain[0])
        if refused:
            raise Refusal(None, f"Import of {name} failed. Mismatched public and private keys")
    _describe(state, entry, chain)
    csr = entry.find("csr")
    if csr is not None and not state.settings.unconfirmed.csr_kept:
        entry.remove(csr)


def _describe(state: State, entry: Element, chain: list[x509.Certificate]) -> None:
    state.chains[chain[0].fingerprint(hashes.SHA256()).hex()] = "".join(
        certificate.public_bytes(Encoding.PEM).decode() for certificate in chain
    )
    describe(entry, chain, whole_chain=state.settings.unconfirmed.public_key_holds_chain)


def _put_key(state: State, entry: Element, name: str, content: bytes, form: Mapping[str, str]) -> None:
    # No look at the certificate: the device takes a key that does not belong to it.
    key = load_key(content, name, needed(form, "passphrase"))
    for old in entry.findall("private-key"):
        entry.remove(old)
    SubElement(entry, "private-key").text = state.keys.keep(key)


def _put_pair(state: State, entry: Element, name: str, content: bytes, form: Mapping[str, str]) -> None:
    chain = load_chain(content, name)
    found = _PRIVATE.search(content)
    _put_key(state, entry, name, found[0] if found else b"", form)
    key = state.keys.of(entry)
    if key is None or not fits(key, chain[0]):
        raise Refusal(None, f"Import of {name} failed. Mismatched public and private keys")
    _describe(state, entry, chain)


def _import_configuration(state: State, user: str, form: Mapping[str, str], content: bytes) -> Response:
    if state.accounts.admin(user).custom_role:
        raise Refusal(16, "Unauthorized request")
    name = form.get("file-name", "") or "imported.xml"
    try:
        tree = parse_xml(content.decode())
    except (MalformedXml, UnicodeDecodeError) as error:
        raise Refusal(None, f"{name} is not a valid configuration") from error
    state.configuration.saved[name] = tree
    return result(f"{name} saved")


def _format(form: Mapping[str, str], doing: str) -> str:
    kind = form.get("format", "")
    if not kind:
        text = f'Parameter "format" is required while {doing} certificate'
        raise Refusal(400, text, shape="spaced")
    if kind not in _EXPORT_FORMATS:
        raise _illegal("format", kind)
    return kind


def _illegal(name: str, value: str) -> Refusal:
    return Refusal(400, f'Illegal value for parameter "{name}" [{value}].', shape="spaced")
