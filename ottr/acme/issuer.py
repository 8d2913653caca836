# SPDX-License-Identifier: Apache-2.0
"""A CA reached by ACME (RFC 8555), for all devices and threads of a run."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from ottr import x509
from ottr.acme import IssueRequest, OrderLog
from ottr.acme.account import Accounts
from ottr.acme.account_files import AccountFiles
from ottr.acme.authorization import authorize
from ottr.acme.certificate import check_leaf, check_request, download_certificate, parse_leaf
from ottr.acme.directory import Directory, fetch_directory
from ottr.acme.network import Network
from ottr.acme.once import Once
from ottr.acme.order import Order, Wish, await_order, create_order, finalize_order, find_order
from ottr.acme.patience import Patience
from ottr.acme.renewal import build_certificate_id, fetch_renewal_info
from ottr.acme.revocation import revoke_certificate
from ottr.acme.session import Session
from ottr.dns import Publisher
from ottr.errors import ChallengeFailed, WrongCertificate
from ottr.model import Clock, IssuedCertificate, RenewalInfo, Waiter
from ottr.settings import IssuerSettings
from ottr.transports.http import HttpClient

logger = logging.getLogger(__name__)


def utc_now() -> datetime:
    """Return now as aware UTC."""
    return datetime.now(UTC)


class AcmeIssuer:
    """Implements ``ottr.acme.Issuer``. Its methods raise IssuanceError and may be called by many threads at once."""

    def __init__(
        self,
        settings: IssuerSettings,
        publisher: Publisher,
        state_dir: Path,
        *,
        clock: Clock = utc_now,
        wait: Waiter = time.sleep,
    ) -> None:
        """Touch nothing yet: directory and account are fetched when first needed."""
        self._settings = settings
        self._publisher = publisher
        self._clock = clock
        self._wait = wait
        http = HttpClient(ca_bundle=settings.ca_bundle, timeout_s=settings.timeout_s, pool_size=settings.connections)
        self._network = Network(http)
        self._accounts = Accounts(settings, AccountFiles(state_dir, settings.name), self._network)
        self._directory: Once[Directory] = Once()

    def issue(self, request: IssueRequest, log: OrderLog) -> IssuedCertificate:
        """Order, prove, finalize, download and check; go on with the order the log knows."""
        csr = check_request(request)
        session = self._open_session()
        self.check_clock()
        for order in self._orders(session, request, log):
            issued = self._complete(session, order, csr, request, log)
            if issued is not None:
                return issued
        raise WrongCertificate(
            "the CA gave this order to somebody else as well, twice, and certified another key",
            hint="another client of the same account orders the same names: let one of the two have them",
        )

    def offers_renewal_info(self) -> bool:
        """Whether the directory has ``renewalInfo``."""
        return bool(self.directory().renewal_info)

    def check_clock(self) -> None:
        """Compare with the CA's last answer; there is one."""
        self.directory()
        self._network.check_clock(self._settings.directory, self._patience())

    def caa_identities(self) -> tuple[str, ...]:
        """As the directory's ``caaIdentities`` says."""
        return self.directory().caa_identities

    def renewal_info(self, leaf_pem: str) -> RenewalInfo | None:
        """Suggested renewal window; None when the CA has none."""
        patience = self._patience()
        base_url = self.directory().renewal_info
        certificate_id = build_certificate_id(_parse(leaf_pem)) if base_url else ""
        if not certificate_id:
            return None
        return fetch_renewal_info(self._network, base_url, certificate_id, patience)

    def revoke(self, leaf_pem: str, reason: int = 0) -> None:
        """Revoke by the account; done already is done."""
        revoke_certificate(self._open_session(), _parse(leaf_pem), reason)

    def change_account_key(self) -> None:
        """Give the account a new key, at the CA and on disk; safe to be killed and repeated."""
        self._accounts.change_key(self.directory(), self._patience())

    def account_url(self) -> str:
        """URL of the account, which is registered if it is not yet."""
        return self._open_session().signer.account_url

    def directory(self) -> Directory:
        """What the CA offers; fetched once."""
        return self._directory.get(lambda: fetch_directory(self._network, self._settings.directory, self._patience()))

    def _patience(self) -> Patience:
        return Patience(self._settings.order_timeout_s, self._clock, self._wait)

    def _open_session(self) -> Session:
        patience = self._patience()
        directory = self.directory()
        return Session(self._network, directory, self._accounts.open(directory, patience), patience)

    def _orders(self, session: Session, request: IssueRequest, log: OrderLog) -> Iterator[Order]:
        """Give the order under way or a new one, and then, if that was not ours alone, one more."""
        url = log.order_url()
        yield (find_order(session, url) if url else None) or self._place(session, request, log)
        yield self._place(session, request, log)

    def _place(self, session: Session, request: IssueRequest, log: OrderLog) -> Order:
        wish = Wish(
            dns_names=request.dns_names,
            profile=request.profile or self._settings.profile,
            profile_required=self._settings.profile_required,
            replaces=_name_replaced(request.replaces_pem),
        )
        order = create_order(session, wish)
        log.ordered(order.url)
        return order

    def _complete(
        self, session: Session, order: Order, csr: x509.Request, request: IssueRequest, log: OrderLog
    ) -> IssuedCertificate | None:
        """Take an order to its certificate; None when somebody else's key came out of it."""
        order, ours = self._settle(session, order, csr, log)
        issued = download_certificate(session, order.certificate_url, self._settings.preferred_chain)
        try:
            leaf = parse_leaf(issued)
            if leaf.spki_der == csr.spki_der:
                check_leaf(leaf, issued, request, self._clock())
                return issued
            if ours:
                raise WrongCertificate("the CA certified another key than the CSR's", hint="report this to the CA")
        except WrongCertificate:
            log.ordered("")
            raise
        # CAs that reuse orders (Boulder) give two requests for the same names the same one: the faster CSR wins
        logger.warning("order %s was finalized with another key; ordering anew", order.url)
        log.ordered("")
        return None

    def _settle(self, session: Session, order: Order, csr: x509.Request, log: OrderLog) -> tuple[Order, bool]:
        if order.status == "pending":
            try:
                authorize(session, order.authorizations, self._publisher, log)
            except ChallengeFailed:
                log.ordered("")
                raise
        if order.status in ("pending", "ready"):
            log.finalizing()
            return finalize_order(session, order, csr.der)
        return await_order(session, order), False


def _name_replaced(leaf_pem: str) -> str:
    """Name the certificate an order follows; empty when there is none, or none that has a name."""
    try:
        return build_certificate_id(x509.parse_certificate(leaf_pem)) if leaf_pem else ""
    except ValueError:
        return ""


def _parse(leaf_pem: str) -> x509.Certificate:
    try:
        return x509.parse_certificate(leaf_pem)
    except ValueError as error:
        raise WrongCertificate(f"the certificate cannot be read: {error}") from error
