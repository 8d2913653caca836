# SPDX-License-Identifier: Apache-2.0
"""``sys crypto``: keys made on the device, CSRs for them, certificates and keys installed from files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ottr.drivers.f5.simulator.answers import COMMON, Refusal, absent, exists, from_url, full_path, name_of, to_url
from ottr.drivers.f5.simulator.calls import Call
from ottr.drivers.f5.simulator.configuration import CERTIFICATE, KEY, Object
from ottr.drivers.f5.simulator.disk import CSR_FOLDER
from ottr.drivers.f5.simulator.material import (
    SUBJECT,
    describe_name,
    describe_private_key,
    describe_public_key,
    make_csr,
    make_key,
    read_chain,
    read_key,
    write_key,
)
from ottr.drivers.f5.simulator.showing import check_query, kind, listing, select
from ottr.drivers.f5.simulator.state import State
from ottr.drivers.f5.simulator.store import (
    alternative_names,
    check_name,
    file_path,
    fingerprint,
    gmt,
    new_file,
    read_source,
    replaced_file,
)

Content = dict[str, Any]
_KEY_AREA, _CERT_AREA, _CSR_AREA = "sys/crypto/key", "sys/crypto/cert", "sys/crypto/csr"
_OF = {_KEY_AREA: KEY, _CERT_AREA: CERTIFICATE}
_REQUEST = (*SUBJECT, "challengePassword", "subjectAlternativeName")
_TMSH = {
    "common-name": "commonName",
    "email-address": "emailAddress",
    "challenge-password": "challengePassword",
    "subject-alternative-name": "subjectAlternativeName",
    "key-type": "keyType",
    "key-size": "keySize",
    "curve-name": "curveName",
}
"""tmsh's names, which REST takes for these, too."""
_CONSUMERS = ("enterprise-manager", "iquery", "iquery-big3d", "ltm", "webserver")


def answer_crypto(state: State, call: Call) -> Content:
    """Answer a request for keys, certificates or CSRs. Raises Refusal."""
    if len(call.rest) > 1:
        raise Refusal(404, f"Public URI path not registered: /mgmt/{call.area}/{'/'.join(call.rest)}")
    body = {_TMSH.get(name, name): value for name, value in call.body.items()}
    if call.method == "POST" and not call.rest:
        if "command" in body:
            return _install(state, call, body)
        return _make_csr(state, call, body) if call.collection == _CSR_AREA else _make_key(state, call, body)
    if call.method not in ("GET", "DELETE"):
        raise Refusal(405, f"Method {call.method} is not allowed")
    if not call.rest and call.method == "GET":
        return listing(state, call, call.collection, _list(state, call.collection))
    if not call.rest:
        raise Refusal(400, "DELETE of the whole collection is not possible")
    path = from_url(call.rest[0])
    if call.collection == _CSR_AREA:
        return _one_csr(state, call, path)
    found = state.configuration.get(_OF[call.collection], path)
    if call.method == "GET":
        check_query(call)
        return select(call, _show(state, call.collection, path, found))
    with state.configuration.edit():
        state.configuration.remove(_OF[call.collection], path)
    return {}


def _list(state: State, area: str) -> list[Content]:
    if area == _CSR_AREA:
        return [_show_csr(state, full_path(name)) for name in state.disk.names(CSR_FOLDER)]
    return [_show(state, area, path, found) for path, found in sorted(state.configuration.of(_OF[area]).items())]


def _head(state: State, area: str, path: str) -> Content:
    # Both names hold the path here; on a create they hold what was asked for.
    link = state.link(f"tm/{area}/{to_url(path)}")
    return {"kind": kind(area), "name": path, "fullPath": path, "selfLink": link}


def _show(state: State, area: str, path: str, found: Object) -> Content:
    head = {**_head(state, area, path), "generation": found["generation"]}
    if area == _CERT_AREA:
        return {**head, **_show_certificate(state, path, found)}
    key = read_key(found["_pem"])
    if key is None:
        raise Refusal(500, f"no key in {path}")
    name, size, curve = describe_private_key(key)
    more = {} if curve == "none" else {"curveName": curve}
    return {**head, "keySize": str(size), "keyType": name, "securityType": "normal", **more}


def _show_certificate(state: State, path: str, found: Object) -> Content:
    leaf = read_chain(found["_pem"])[0]
    subject = {
        name: str(leaf.subject.get_attributes_for_oid(oid)[0].value)
        for name, oid in SUBJECT.items()
        if leaf.subject.get_attributes_for_oid(oid)
    }
    kind_of, size, _curve = describe_public_key(leaf)
    raw = {
        "certificateKeySize": str(size),
        "expiration": gmt(leaf.not_valid_after_utc),
        "issuer": describe_name(leaf.issuer),
        "publicKeyType": "RSA" if kind_of == "rsa-public" else "EC",
    }
    link = state.link(f"tm/{_CERT_AREA}/{to_url(path)}/cert-validators")
    shown = {**subject, "fingerprint": fingerprint(leaf), "apiRawValues": raw}
    if names := alternative_names(leaf):
        shown["subjectAlternativeName"] = names
    return {**shown, "certValidatorsReference": {"link": link, "isSubcollection": True}}


def _make_key(state: State, call: Call, body: Content) -> Content:
    if call.collection != _KEY_AREA:
        raise Refusal(400, "certificates are installed, not made, here")
    known = ("name", "partition", "keyType", "keySize", "curveName", "securityType", "options", *_REQUEST)
    _allow(body, known)
    name = call.needed("name")
    path = file_path(name, str(body.get("partition", COMMON)))
    if path in state.configuration.of(KEY):
        raise exists("certificate key file", path, state.settings.unconfirmed.existing_key_status)
    common_name = _gen_csr(body)
    _need_space(state)
    key_type = str(body.get("keyType", "rsa-private"))
    key = make_key(key_type, _size(body.get("keySize", "2048")), str(body.get("curveName", "prime256v1")))
    source = f"/config/ssl/ssl.key/{name_of(path)}"
    with state.configuration.edit():
        made = new_file(write_key(key), source, call.user, state.clock(), state.next_number())
        found = state.configuration.add(KEY, path, made)
    shown = {**_show(state, _KEY_AREA, path, found), "name": name, "fullPath": name}
    if common_name is None:
        return shown
    text = make_csr(key, {**body, "commonName": common_name}, email_and_uri=_more_names(state))
    state.disk.write(f"{CSR_FOLDER}/{name_of(path)}", text.encode())
    return {**shown, "csr": text} if state.settings.unconfirmed.gen_csr_in_response else shown


def _gen_csr(body: Mapping[str, Any]) -> str | None:
    options = body.get("options", [])
    if not isinstance(options, list) or any(set(option) != {"gen-csr"} for option in options):
        raise Refusal(400, "invalid options")
    common_name = str(options[0]["gen-csr"]) if options else None
    if common_name is not None and "*" in common_name:
        raise Refusal(400, 'the "create" command does not accept wildcard configuration identifiers')
    return common_name


def _size(value: Any) -> int:
    if not str(value).isdigit():
        raise Refusal(400, f'invalid property value "key-size":"{value}"')
    return int(value)


def _make_csr(state: State, call: Call, body: Content) -> Content:
    _allow(body, ("name", "partition", "key", "consumer", *_REQUEST))
    name, partition = call.needed("name"), str(body.get("partition", COMMON))
    check_name(name)
    if partition != COMMON and not state.settings.unconfirmed.csr_other_partitions:
        raise Refusal(400, f"01070734:3: Configuration error: a CSR cannot be made in partition {partition}")
    if body.get("consumer", "ltm") not in _CONSUMERS:
        raise Refusal(400, f'invalid property value "consumer":"{body["consumer"]}"')
    place = f"{CSR_FOLDER}/{name_of(name)}"
    if state.disk.read(place) is not None and not state.settings.unconfirmed.csr_overwrites:
        raise exists("certificate signing request", full_path(name))
    path = full_path(call.needed("key"), partition)
    found = state.configuration.of(KEY).get(path)
    key = read_key(found["_pem"]) if found else None
    if key is None:
        raise Refusal(400, absent("certificate key file", path).message)
    if not body.get("commonName"):
        raise Refusal(400, "01070734:3: Configuration error: common-name is required")
    _need_space(state)
    text = make_csr(key, body, email_and_uri=_more_names(state))
    state.disk.write(place, text.encode())
    shown = {name: value for name, value in body.items() if name in (*_REQUEST, "key") and name != "challengePassword"}
    return {**_head(state, _CSR_AREA, full_path(name)), "name": name, "fullPath": name, "generation": 1, **shown}


def _show_csr(state: State, path: str) -> Content:
    return {**_head(state, _CSR_AREA, path), "generation": 1}


def _one_csr(state: State, call: Call, path: str) -> Content:
    place = f"{CSR_FOLDER}/{name_of(path)}"
    if state.disk.read(place) is None:
        raise absent("certificate signing request", path)
    if call.method == "GET":
        return _show_csr(state, path)
    state.disk.remove(place)
    return {}


def _more_names(state: State) -> bool:
    return state.settings.unconfirmed.san_takes_email_and_uri


def _install(state: State, call: Call, body: Content) -> Content:
    if body["command"] != "install" or call.collection == _CSR_AREA:
        raise Refusal(400, f'invalid command "{body["command"]}"')
    _allow(body, ("command", "name", "partition", "from-local-file"))
    collection = _OF[call.collection]
    path = file_path(call.needed("name"), str(body.get("partition", COMMON)))
    source = call.needed("from-local-file")
    _need_space(state)
    pem = read_source(state.disk, source, collection)
    with state.configuration.edit():
        if former := state.configuration.of(collection).get(path):
            content = replaced_file(former, pem, source, call.user, state.clock())
        else:
            content = new_file(pem, source, call.user, state.clock(), state.next_number())
        state.configuration.put(collection, path, content)
    return {"kind": f"tm:{call.collection.replace('/', ':')}:installstate", **call.body}


def _need_space(state: State) -> None:
    if state.faults.take("disk_full"):
        raise Refusal(400, "01070712:3: Caught configuration exception (0), No space left on device.")


def _allow(body: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name in body:
        if name not in known:
            raise Refusal(400, f'"{name}" unknown property')
