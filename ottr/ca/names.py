# SPDX-License-Identifier: Apache-2.0
"""Names: read strictly, written canonically, allowed by rules."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from cryptography import x509

from ottr.ca.model import Names
from ottr.errors import NameRefused

MOST_NAMES = 100
"""In one certificate."""
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_LONGEST_DNS = 253
_LOCAL_PART = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}")
_HARMLESS = re.compile(r"[\x21-\x7e]{1,1024}")


def parse_dns(text: str) -> str:
    """Lower-case A-labels, at least two unless there is only one; a wildcard is the whole leftmost label."""
    name = text.lower().removesuffix(".")
    labels = name.removeprefix("*.").split(".")
    if len(name) > _LONGEST_DNS or not all(_LABEL.fullmatch(label) for label in labels):
        raise NameRefused(f"{text!r} is not a DNS name", hint="international names are written as A-labels (xn--...)")
    if labels[-1].isdigit():
        raise NameRefused(f"{text!r} is not a DNS name: it ends like an address")
    if name.startswith("*.") and len(labels) < 2:
        raise NameRefused(f"{text!r} is too wide a wildcard")
    return name


def parse_ip(text: str) -> str:
    """One address as RFC 5952 writes it; no zone, no network."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise NameRefused(f"{text!r} is not an IP address") from error
    if getattr(address, "scope_id", None):
        raise NameRefused(f"{text!r} has a zone, which certificates cannot say")
    return str(address)


def parse_email(text: str) -> str:
    """An RFC 5321 mailbox with a DNS name; the part after the @ in lower case."""
    local, at, domain = text.rpartition("@")
    if not at or not _LOCAL_PART.fullmatch(local) or domain.startswith("*"):
        raise NameRefused(f"{text!r} is not an e-mail address")
    return f"{local}@{parse_dns(domain)}"


def parse_uri(text: str) -> str:
    """An absolute URI with an authority, in printable ASCII."""
    if not _HARMLESS.fullmatch(text):
        raise NameRefused(f"{text!r} is not a URI")
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError as error:
        raise NameRefused(f"{text!r} is not a URI") from error
    if not parts.scheme or not host:
        raise NameRefused(f"{text!r} is not an absolute URI with a host")
    return text


def build_names(
    dns: Iterable[str] = (), ip: Iterable[str] = (), email: Iterable[str] = (), uri: Iterable[str] = ()
) -> Names:
    """Check names and put them in canonical form, without duplicates and in their order. Raises NameRefused."""
    kinds = ((dns, parse_dns), (ip, parse_ip), (email, parse_email), (uri, parse_uri))
    names = Names(*(tuple(dict.fromkeys(parse(text) for text in texts)) for texts, parse in kinds))
    if len(names.texts) > MOST_NAMES:
        raise NameRefused(f"{len(names.texts)} names are too many for one certificate, {MOST_NAMES} are the most")
    return names


def parse_names(texts: Iterable[str]) -> Names:
    """Sort names given as text: ``IP``, ``user@host``, ``scheme://...``, else DNS. Raises NameRefused."""
    sorted_out: dict[str, list[str]] = {"dns": [], "ip": [], "email": [], "uri": []}
    for text in texts:
        sorted_out[_kind(text)].append(text)
    return build_names(**sorted_out)


def _kind(text: str) -> str:
    if "://" in text:
        return "uri"
    if "@" in text:
        return "email"
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return "dns"
    return "ip"


def read_san(extension: x509.SubjectAlternativeName) -> Names:
    """Return the names of an extension. Raises NameRefused for kinds the CA does not sign."""
    kinds: dict[str, list[str]] = {"dns": [], "ip": [], "email": [], "uri": []}
    for name in extension:
        if isinstance(name, x509.DNSName):
            kinds["dns"].append(name.value)
        elif isinstance(name, x509.IPAddress):
            kinds["ip"].append(str(name.value))
        elif isinstance(name, x509.RFC822Name):
            kinds["email"].append(name.value)
        elif isinstance(name, x509.UniformResourceIdentifier):
            kinds["uri"].append(name.value)
        else:
            raise NameRefused(f"names of type {type(name).__name__} are not signed")
    return build_names(**kinds)


def write_san(names: Names) -> x509.SubjectAlternativeName:
    """Return the extension."""
    general: list[x509.GeneralName] = [x509.DNSName(text) for text in names.dns]
    general += [x509.IPAddress(ipaddress.ip_address(text)) for text in names.ip]
    general += [x509.RFC822Name(text) for text in names.email]
    general += [x509.UniformResourceIdentifier(text) for text in names.uri]
    return x509.SubjectAlternativeName(general)


def include_common_name(names: Names, common_name: str) -> Names:
    """The names of a server: a common name that is a host name or address counts as one of them, others do not."""
    if common_name in names.texts:
        return names
    for field, parse in (("ip", parse_ip), ("dns", parse_dns)):
        try:
            text = parse(common_name)
        except NameRefused:
            continue
        present: tuple[str, ...] = getattr(names, field)
        return names if text in present else replace(names, **{field: (*present, text)})
    return names


@dataclass(frozen=True, slots=True)
class NameRules:
    """Which names somebody may have; what no rule allows is refused.

    ``dns``: ``example.com`` is that name, ``*.example.com`` every name below it, wildcards included, ``*`` every name.
    ``ip``: networks. ``email``: globs. ``uri``: globs, of which what is for the host matches nothing beyond it.
    ``common_names``: globs, for subjects that are not host names.
    """

    dns: tuple[str, ...] = ()
    ip: tuple[str, ...] = ()
    email: tuple[str, ...] = ()
    uri: tuple[str, ...] = ()
    common_names: tuple[str, ...] = ()
    whole_subject: bool = False
    """Whether attributes beside the common name are taken over where the profile knows them."""

    def check(self, names: Names) -> None:
        """Raise NameRefused naming the first that is not allowed."""
        for name in self.refuse(names):
            raise NameRefused(f"{name} is not a name this requester may have")

    def refuse(self, names: Names) -> tuple[str, ...]:
        """The names that are not allowed."""
        kinds = (
            (names.dns, self._allows_dns),
            (names.ip, self._allows_ip),
            (names.email, lambda text: _matches(text, self.email)),
            (names.uri, lambda text: any(_covers_uri(glob, text) for glob in self.uri)),
        )
        return tuple(text for texts, allows in kinds for text in texts if not allows(text))

    def check_common_name(self, text: str) -> None:
        """Raise NameRefused for a common name that is not one of the names and that no glob matches."""
        if not _matches(text, self.common_names):
            raise NameRefused(f"{text!r} is not a common name this requester may have")

    def _allows_dns(self, name: str) -> bool:
        return any(_covers(rule.lower(), name) for rule in self.dns)

    def _allows_ip(self, text: str) -> bool:
        address = ipaddress.ip_address(text)
        return any(address in ipaddress.ip_network(network) for network in self.ip)


ANY_NAME = NameRules(("*",), ("0.0.0.0/0", "::/0"), ("*",), ("*",), ("*",), whole_subject=True)
"""For the operator."""


def _covers(rule: str, name: str) -> bool:
    return rule in ("*", name) if not rule.startswith("*.") else name.endswith(rule[1:])


def _covers_uri(glob: str, text: str) -> bool:
    """Host and path apart, for `*` matches a slash; a URI's host ends where any program may think it ends."""
    parts = zip(_cut_uri(text, "/?#\\"), _cut_uri(glob, "/"), strict=True)
    return glob == "*" or all(fnmatch.fnmatchcase(one, pattern) for one, pattern in parts)


def _cut_uri(uri: str, ends: str) -> tuple[str, str]:
    scheme, _, rest = uri.partition("://")
    end = next((place for place, char in enumerate(rest) if char in ends), len(rest))
    return f"{scheme}://{rest[:end]}", rest[end:]


def _matches(text: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(text, glob) for glob in globs)


@dataclass(frozen=True, slots=True)
class Constraints:
    """Subtrees of RFC 5280 section 4.2.1.10 that an issuer's certificate carries: DNS names and IP networks.

    A kind of which nothing is permitted and nothing excluded is free.
    """

    permitted_dns: tuple[str, ...] = ()
    excluded_dns: tuple[str, ...] = ()
    permitted_ip: tuple[str, ...] = ()
    excluded_ip: tuple[str, ...] = ()

    def build(self) -> x509.NameConstraints | None:
        """The extension; None when nothing is constrained."""
        permitted = _subtrees(self.permitted_dns, self.permitted_ip)
        excluded = _subtrees(self.excluded_dns, self.excluded_ip)
        return x509.NameConstraints(permitted or None, excluded or None) if permitted or excluded else None


def _subtrees(dns: tuple[str, ...], ip: tuple[str, ...]) -> list[x509.GeneralName]:
    return [
        *(x509.DNSName(parse_dns(name)) for name in dns),
        *(x509.IPAddress(ipaddress.ip_network(network)) for network in ip),
    ]


def find_unconstrained(names: Names, constraints: x509.NameConstraints) -> tuple[str, ...]:
    """The DNS names and addresses that constraints do not let through (RFC 5280 section 6.1.4)."""
    permitted, excluded = constraints.permitted_subtrees or [], constraints.excluded_subtrees or []
    inside, outside = _dns_trees(permitted), _dns_trees(excluded)
    barred_dns = (
        text
        for text in names.dns
        if (inside and not any(_below(text, tree) for tree in inside)) or any(_touches(text, tree) for tree in outside)
    )
    within, without = _networks(permitted), _networks(excluded)
    barred_ip = (text for text in names.ip if (within and not _lies_in(text, within)) or _lies_in(text, without))
    return (*barred_dns, *barred_ip)


def _dns_trees(names: Iterable[x509.GeneralName]) -> list[str]:
    return [name.value for name in names if isinstance(name, x509.DNSName)]


def _networks(names: Iterable[x509.GeneralName]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    values = (name.value for name in names if isinstance(name, x509.IPAddress))
    return [value for value in values if isinstance(value, (ipaddress.IPv4Network, ipaddress.IPv6Network))]


def _below(name: str, tree: str) -> bool:
    return f".{name}".endswith(f".{tree}")


def _touches(name: str, tree: str) -> bool:
    """Whether a name, or one of those a wildcard stands for, is in a subtree."""
    return _below(name, tree) or (name.startswith("*.") and _below(tree, name[2:]))


def _lies_in(text: str, networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    address = ipaddress.ip_address(text)
    return any(address in network for network in networks)
