# SPDX-License-Identifier: Apache-2.0
"""All of revocation status for one CA."""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Self

from ottr.ca.authority import Authority
from ottr.ca.status.cache import Cache
from ottr.ca.status.crls import CrlIssuer, Kind
from ottr.ca.status.responder import Responder
from ottr.ca.status.settings import read_crl_settings, read_ocsp_settings
from ottr.errors import AuthorityError

_LOG = logging.getLogger(__name__)
_LOOK_S = 1.0
"""How often a server looks for CRLs and answers to make before somebody asks for them."""


class Status:
    """CRLs and OCSP answers of one CA. Safe for threads; leave the ``with`` block at the end."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        ocsp = read_ocsp_settings(authority.settings)
        crl = read_crl_settings(authority.settings)
        self.cache = Cache(ocsp.most_cached)
        self.crls = CrlIssuer(authority, crl)
        self.responder = Responder(authority, ocsp, self.cache)
        self.watch = self.responder.watch
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End what runs in the background, and give back what is held."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
        self.watch.close()

    def keep(self) -> None:
        """Do what is due, again and again, in a thread of its own until ``close``."""
        self._thread = threading.Thread(target=self._keep, name="ca-status", daemon=True)
        self._thread.start()

    def tend(self) -> None:
        """Make the CRLs that are due, and sign the answers half of whose life is over. Raises AuthorityError."""
        for issuer in self.crls.list_issuers():
            self.crls.get(issuer.id)
            if self.crls.settings.deltas:
                self.crls.get(issuer.id, Kind.DELTA)
        for request, entry in self.cache.take_due(self.authority.clock()):
            self.responder.refresh(request, entry)

    def _keep(self) -> None:
        failing = False
        while True:
            try:
                self.tend()
                failing = False
            except AuthorityError as error:  # half of their life is left to try again in
                if not failing:
                    _LOG.error("CRLs and OCSP answers cannot be made now: %s", error)
                failing = True
            if self._stopped.wait(_LOOK_S):
                return
