# SPDX-License-Identifier: Apache-2.0
"""Requests and certificates (RFC 8555 sections 7.4 and 7.4.2): are they what was asked for?"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from datetime import datetime
from urllib.parse import urljoin

from ottr import x509
from ottr.acme import IssueRequest
from ottr.acme.network import CLOCK_SKEW
from ottr.acme.session import Session
from ottr.errors import AcmeProblem, WrongCertificate
from ottr.model import IssuedCertificate
from ottr.transports.http import HttpResponse

logger = logging.getLogger(__name__)

MOST_ALTERNATES = 10

_PEM_CHAIN = "application/pem-certificate-chain"
_LINK = re.compile(r'<([^>]*)>\s*;[^,<]*?rel\s*=\s*"?alternate\b', re.IGNORECASE)
_COMMON_NAME = re.compile(r"(?:^|[,+])CN=((?:\\.|[^,+\\])*)")


def check_request(request: IssueRequest) -> x509.Request:
    """Read the CSR; it must sign itself, and have the names and the kind of key asked for. Raises WrongCertificate."""
    try:
        csr = x509.parse_request(request.csr.pem)
    except ValueError as error:
        raise WrongCertificate(f"the device's CSR cannot be used: {error}") from error
    if set(csr.dns_names) != set(request.dns_names):
        raise WrongCertificate(f"the device's CSR is for {_list(csr.dns_names)}, not for {_list(request.dns_names)}")
    if csr.key_type != request.key_type:
        raise WrongCertificate(f"the key of the device's CSR is {csr.key_type or 'unknown'}, not {request.key_type}")
    return csr


def download_certificate(session: Session, url: str, preferred_chain: str) -> IssuedCertificate:
    """Fetch a certificate and its chain: the one whose topmost issuer has the preferred name, if there is one.

    Raises IssuanceError.
    """
    response = session.fetch(url, accept=_PEM_CHAIN)
    default = _split(response, url)
    if not preferred_chain:
        return default
    for issued in _chains(session, default, response, url):
        if _topmost_issuer(issued) == preferred_chain:
            return issued
    logger.warning("the CA offers no chain to %s; its default is used", preferred_chain)
    return default


def parse_leaf(issued: IssuedCertificate) -> x509.Certificate:
    """Read the end-entity certificate. Raises WrongCertificate."""
    try:
        return x509.parse_certificate(issued.leaf_pem)
    except ValueError as error:
        raise WrongCertificate(f"the CA sent a certificate that cannot be read: {error}") from error


def check_leaf(leaf: x509.Certificate, issued: IssuedCertificate, request: IssueRequest, now: datetime) -> None:
    """Names, validity and chain must be in order. Raises WrongCertificate."""
    if set(leaf.dns_names) != set(request.dns_names):
        raise WrongCertificate(f"the CA certified {_list(leaf.dns_names)}, not {_list(request.dns_names)}")
    if not leaf.not_before - CLOCK_SKEW <= now < leaf.not_after:
        raise WrongCertificate(
            f"the CA's certificate is valid from {leaf.not_before:%Y-%m-%dT%H:%M:%SZ} to"
            f" {leaf.not_after:%Y-%m-%dT%H:%M:%SZ}, and now is {now:%Y-%m-%dT%H:%M:%SZ}",
            hint="compare the clock of this machine with the true time",
        )
    if not _is_chain(issued):
        raise WrongCertificate("the CA's chain is not in order: a certificate is not signed by the next one")


def _is_chain(issued: IssuedCertificate) -> bool:
    try:
        return x509.is_chain(issued.leaf_pem, issued.chain_pem)
    except ValueError:
        return False


def _split(response: HttpResponse, url: str) -> IssuedCertificate:
    pems = x509.split_pem(response.body.decode("ascii", errors="replace"))
    if not pems:
        raise AcmeProblem(f"the CA sent no certificate at {url}", status=response.status)
    return IssuedCertificate(leaf_pem=pems[0], chain_pem="".join(pems[1:]))


def _chains(
    session: Session, default: IssuedCertificate, response: HttpResponse, url: str
) -> Iterator[IssuedCertificate]:
    """Give the default chain, then the alternates, each fetched only when it is looked at."""
    yield default
    for link in _LINK.findall(response.headers.get("Link", ""))[:MOST_ALTERNATES]:
        alternate_url = urljoin(url, link)
        yield _split(session.fetch(alternate_url, accept=_PEM_CHAIN), alternate_url)


def _topmost_issuer(issued: IssuedCertificate) -> str:
    """Return the common name of the issuer of the last certificate."""
    try:
        issuer = x509.parse_certificate(x509.split_pem(issued.fullchain_pem)[-1]).issuer
    except ValueError:
        return ""
    name = _COMMON_NAME.search(issuer)
    return re.sub(r"\\(.)", r"\1", name[1]) if name else ""


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(sorted(names)) or "no name"
