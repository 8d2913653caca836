# SPDX-License-Identifier: Apache-2.0
"""What the device checks before a change of its configuration counts, a transaction's as a whole."""

from __future__ import annotations

from collections.abc import Iterator

from ottr.drivers.f5.simulator.answers import Refusal, absent, name_of, partition_of
from ottr.drivers.f5.simulator.configuration import (
    CERTIFICATE,
    CLIENT_SSL,
    KEY,
    LABELS,
    PARTITION,
    VIRTUAL,
    Object,
    Tree,
)
from ottr.drivers.f5.simulator.material import describe_private_key, matches, read_chain, read_key
from ottr.drivers.f5.simulator.settings import Unconfirmed


def check(after: Tree, before: Tree, unconfirmed: Unconfirmed) -> None:
    """Raises Refusal when ``after`` is no configuration that the device would take in place of ``before``."""
    for path, profile in after.get(CLIENT_SSL, {}).items():
        _check_profile(path, profile, after, before, unconfirmed)
    for path, virtual in after.get(VIRTUAL, {}).items():
        _check_virtual(path, virtual, after, before)
    for collection, objects in after.items():
        for path in objects.keys() - before.get(collection, {}).keys():
            if collection not in (PARTITION, "sys/folder") and f"/{partition_of(path)}" not in _partitions(after):
                raise Refusal(400, f"01020036:3: The requested folder (/{partition_of(path)}) was not found.")
    if unconfirmed.certificate_before_key:
        _check_removed_keys(after, before)


def _partitions(tree: Tree) -> set[str]:
    return {f"/{name_of(path)}" for path in tree.get(PARTITION, {})}


def _check_profile(path: str, profile: Object, after: Tree, before: Tree, unconfirmed: Unconfirmed) -> None:
    kinds: list[str] = []
    for entry in profile["certKeyChain"]:
        for collection, name in _references(entry):
            if name not in after.get(collection, {}):
                raise _dangling(collection, name, path, before, unconfirmed)
        key = read_key(after[KEY][entry["key"]]["_pem"])
        chain = read_chain(after[CERTIFICATE][entry["cert"]]["_pem"])
        if key is None or not chain or not matches(key, chain[0]):
            pair = f"key({entry['key']}) and certificate({entry['cert']})"
            raise Refusal(400, f"01070317:3: profile {path}'s {pair} do not match.")
        kinds.append(describe_private_key(key)[0])
    if len(kinds) != len(set(kinds)):
        raise Refusal(400, f"01071ac9:3: Client SSL profile ({path}): more than one certificate of the same key type.")


def _references(entry: Object) -> Iterator[tuple[str, str]]:
    yield CERTIFICATE, entry["cert"]
    yield KEY, entry["key"]
    if entry.get("chain", "none") != "none":
        yield CERTIFICATE, entry["chain"]


def _dangling(collection: str, name: str, user: str, before: Tree, unconfirmed: Unconfirmed) -> Refusal:
    if name not in before.get(collection, {}):
        return Refusal(400, absent(LABELS[collection], name).message)
    used = f"in use by {user}." if unconfirmed.in_use_text == "in use by" else "in use."
    return Refusal(400, f"01071349:3: File object by name ({name}) is {used}")


def _check_virtual(path: str, virtual: Object, after: Tree, before: Tree) -> None:
    profiles = [name for name, context in virtual["_profiles"].items() if context == "clientside"]
    for name in profiles:
        if name not in after.get(CLIENT_SSL, {}):
            if name in before.get(CLIENT_SSL, {}):
                raise Refusal(
                    400, f"01070265:3: The Client SSL Profile ({name}) cannot be deleted because it is in use"
                )
            raise Refusal(400, absent(LABELS[CLIENT_SSL], name).message)
    default = [name for name in profiles if after[CLIENT_SSL][name].get("sniDefault") == "true"]
    if len(profiles) > 1 and len(default) != 1:
        message = f"0107149c:3: Virtual server {path} must have one clientssl/serverssl profile as SNI default."
        raise Refusal(400, message)


def _check_removed_keys(after: Tree, before: Tree) -> None:
    for path in before.get(KEY, {}).keys() - after.get(KEY, {}).keys():
        for name in (path.removesuffix(".key"), f"{path.removesuffix('.key')}.crt"):
            if name in after.get(CERTIFICATE, {}):
                raise Refusal(400, f"01071349:3: Key file ({path}) is in use by certificate ({name}).")
