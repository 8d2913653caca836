# SPDX-License-Identifier: Apache-2.0
"""The seam towards a CA: what a rotation asks of an issuer, and what an order leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ottr.model import IssuedCertificate, KeyType, RenewalInfo, SigningRequest, TxtRecord


@dataclass(frozen=True, slots=True)
class IssueRequest:
    """One certificate to be ordered."""

    csr: SigningRequest
    dns_names: tuple[str, ...]
    key_type: KeyType
    profile: str = ""
    replaces_pem: str = ""
    """The certificate this one follows (RFC 9773 section 5); empty when there is none of the same CA."""


class OrderLog(Protocol):
    """Where an order writes down what another process needs to go on with it, before it acts."""

    def order_url(self) -> str:
        """URL of the order that is under way; empty when there is none."""

    def ordered(self, url: str) -> None:
        """An order exists. Empty: the order is given up."""

    def presenting(self, record: TxtRecord) -> None:
        """A TXT value is about to be added: it and all before it are on the disk when this returns."""

    def finalizing(self) -> None:
        """The CSR is about to be sent: the order is on the disk when this returns."""

    def removed(self, record: TxtRecord) -> None:
        """A TXT value is gone."""


class Issuer(Protocol):
    """A CA. Raises IssuanceError and nothing else."""

    def issue(self, request: IssueRequest, log: OrderLog) -> IssuedCertificate:
        """Order, prove, finalize, download and check; goes on with the order the log knows."""

    def offers_renewal_info(self) -> bool:
        """Whether the CA suggests renewal windows at all (RFC 9773 section 3)."""

    def account_url(self) -> str:
        """URL of the account, which is registered if it is not yet."""

    def change_account_key(self) -> None:
        """Give the account a new key (RFC 8555 section 7.3.5); safe to be killed and repeated."""

    def check_clock(self) -> None:
        """Raise IssuerUnavailable where this machine's clock is too far from the CA's to order anything."""

    def caa_identities(self) -> tuple[str, ...]:
        """Names by which CAA records mean this CA (RFC 8555 section 7.1.1); empty: it does not say."""

    def renewal_info(self, leaf_pem: str) -> RenewalInfo | None:
        """Suggested renewal window (RFC 9773); None when the CA has none."""

    def revoke(self, leaf_pem: str, reason: int = 0) -> None:
        """Revoke by the account (RFC 8555 section 7.6), reason code of RFC 5280 section 5.3.1."""
