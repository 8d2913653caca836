# SPDX-License-Identifier: Apache-2.0
"""Whether CAA records let this CA issue (RFC 8659, with accounturi and validationmethods of RFC 8657)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dns.rdtypes.ANY.CAA import CAA

from ottr.ca.acme.problems import Problem
from ottr.ca.acme.settings import ValidationSettings
from ottr.ca.acme.validation.lookup import LookupFailed, ask

_KNOWN = frozenset({"issue", "issuewild", "iodef"})


@dataclass(frozen=True, slots=True)
class Claim:
    """Who asks, and how the name was proven."""

    account_url: str
    method: str
    wildcard: bool


def check(name: str, claim: Claim, settings: ValidationSettings) -> None:
    """Climb from the name to the first CAA set and judge it. A failing lookup is a no. Raises Problem."""
    labels = name.split(".")
    for depth in range(len(labels)):
        parent = ".".join(labels[depth:])
        try:
            answer = ask(parent, "CAA", settings)
        except LookupFailed as error:
            raise Problem("caa", str(error)) from error
        records = [record for record in answer or () if isinstance(record, CAA)]
        if records:
            _judge(parent, records, claim, settings)
            return


def _judge(parent: str, records: list[CAA], claim: Claim, settings: ValidationSettings) -> None:
    tags = [(record.tag.decode("ascii", "replace").lower(), record.value, record.flags) for record in records]
    if any(flags & 128 and tag not in _KNOWN for tag, _, flags in tags):
        raise Problem("caa", f"{parent} has a critical CAA property that is not known")
    wild = [value for tag, value, _ in tags if tag == "issuewild"]
    usual = [value for tag, value, _ in tags if tag == "issue"]
    values = wild if claim.wildcard and wild else usual
    if values and not any(_allows(value, claim, settings) for value in values):
        raise Problem("caa", f"CAA of {parent} does not let this CA issue")


def _allows(value: bytes, claim: Claim, settings: ValidationSettings) -> bool:
    domain, *parameters = value.decode("ascii", "replace").split(";")
    if domain.strip().lower() not in settings.caa_identities:
        return False
    wanted = _read_parameters(parameters)
    methods = wanted.get("validationmethods", claim.method).split(",")
    return wanted.get("accounturi", claim.account_url) == claim.account_url and claim.method in methods


def _read_parameters(texts: list[str]) -> Mapping[str, str]:
    pairs = (text.partition("=") for text in texts)
    return {key.strip().lower(): value.strip() for key, _, value in pairs if key.strip()}
