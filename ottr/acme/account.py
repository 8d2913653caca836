# SPDX-License-Identifier: Apache-2.0
"""The account (RFC 8555 section 7.3): registered once, kept, one for all devices of an issuer."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace

from acme import messages
from josepy import jwk

from ottr.acme.account_files import AccountFiles, Registration
from ottr.acme.directory import Directory
from ottr.acme.jws import Signer
from ottr.acme.network import Network
from ottr.acme.once import Once
from ottr.acme.patience import Patience
from ottr.acme.problem import build_own, code_of
from ottr.errors import AcmeProblem, IssuanceError
from ottr.settings import ExternalAccount, IssuerSettings
from ottr.transports.http import HttpResponse

logger = logging.getLogger(__name__)

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+=*")


class Accounts:
    """Opens the account of one issuer: the first thread of the first process registers, all others get the same."""

    def __init__(self, settings: IssuerSettings, files: AccountFiles, network: Network) -> None:
        self._settings = settings
        self._files = files
        self._network = network
        self._opened: Once[Signer] = Once()

    def open(self, directory: Directory, patience: Patience) -> Signer:
        """Return the account, registered if it must be. Raises IssuanceError."""

        def open_locked() -> Signer:
            with self._files.locked():
                return self._open(directory, patience)

        return self._opened.get(open_locked)

    def change_key(self, directory: Directory, patience: Patience) -> None:
        """Give the account a new key (RFC 8555 section 7.3.5). Raises IssuanceError; safe to be killed and repeated.

        The new key is on disk before the CA hears of it, so that whichever of the two the CA knows after a crash is
        found by asking (``_settle_key``). Not to be done while a run uses the account in another process.
        """
        if not directory.key_change:
            raise AcmeProblem(f"issuer {self._settings.name}: the CA does not offer a change of the account key")
        with self._files.locked():
            old = self._open(directory, patience)
            new = Signer(self._files.create_key(self._files.next_key_path))
            change = json.dumps({"account": old.account_url, "oldKey": old.public_jwk}).encode()
            inner = json.dumps(new.sign(change, directory.key_change)).encode()
            self._post(directory.key_change, inner, old, directory, patience)
            self._files.adopt_next_key()
        self._opened.forget()

    def _open(self, directory: Directory, patience: Patience) -> Signer:
        registration = self._files.load_registration()
        if registration is None:
            return self._register(directory, patience)
        if registration.directory != self._settings.directory:
            raise IssuanceError(
                f"{self._files.folder} holds an account of {registration.directory}, and the directory of issuer"
                f" {self._settings.name} is {self._settings.directory}",
                hint="give the other CA an issuer name of its own in ottr.yaml",
            )
        signer = Signer(self._settle_key(directory, patience), registration.url)
        if registration.contact != self._settings.contact:
            self._update_contact(signer, registration, directory, patience)
        return signer

    def _register(self, directory: Directory, patience: Patience) -> Signer:
        self._check_terms(directory)
        key = self._load_or_create_key()
        external_account = self._settings.external_account
        if external_account is None and directory.external_account_required:
            raise build_own(
                "externalAccountRequired", f"issuer {self._settings.name}: the CA binds accounts to customers"
            )
        binding = _bind(external_account, key, directory, self._settings.name) if external_account else None
        request = messages.NewRegistration.from_data(
            contact=self._settings.contact,
            terms_of_service_agreed=self._settings.terms_of_service_agreed,
            external_account_binding=binding,
        )
        response = self._post(directory.new_account, request.json_dumps().encode(), Signer(key), directory, patience)
        url = _location(response, directory.new_account)
        self._files.save_registration(Registration(url, self._settings.directory, self._settings.contact))
        logger.info("issuer %s: account %s", self._settings.name, url)
        return Signer(key, url)

    def _check_terms(self, directory: Directory) -> None:
        if directory.terms_of_service and not self._settings.terms_of_service_agreed:
            raise build_own(
                "userActionRequired",
                f"issuer {self._settings.name}: its terms of service are not agreed to: {directory.terms_of_service}",
                hint=f"read them, then set terms_of_service_agreed: true for {self._settings.name} in ottr.yaml",
            )

    def _load_or_create_key(self) -> jwk.JWKEC:
        if self._files.key_path.exists():
            return self._files.load_key(self._files.key_path)
        return self._files.create_key(self._files.key_path)

    def _settle_key(self, directory: Directory, patience: Patience) -> jwk.JWKEC:
        """Load the key; after a key change that was cut short, ask the CA whether it took the new one."""
        if self._files.next_key_path.exists():
            signer = Signer(self._files.load_key(self._files.next_key_path))
            if self._is_known(signer, directory, patience):
                self._files.adopt_next_key()
            else:
                self._files.drop_next_key()
        return self._files.load_key(self._files.key_path)

    def _is_known(self, signer: Signer, directory: Directory, patience: Patience) -> bool:
        """Ask for the account of a key without making one (RFC 8555 section 7.3.1)."""
        payload = messages.NewRegistration(only_return_existing=True).json_dumps().encode()
        try:
            self._post(directory.new_account, payload, signer, directory, patience)
        except AcmeProblem as problem:
            if code_of(problem.type) == "accountDoesNotExist":
                return False
            raise
        return True

    def _update_contact(
        self, signer: Signer, registration: Registration, directory: Directory, patience: Patience
    ) -> None:
        """Tell the CA the contact of the settings; when it refuses, certificates are more important."""
        payload = json.dumps({"contact": self._settings.contact}).encode()
        try:
            self._post(signer.account_url, payload, signer, directory, patience)
        except IssuanceError as error:
            logger.warning("issuer %s: the contact was not updated: %s", self._settings.name, error)
            return
        self._files.save_registration(replace(registration, contact=self._settings.contact))

    def _post(self, url: str, payload: bytes, signer: Signer, directory: Directory, patience: Patience) -> HttpResponse:
        return self._network.post(
            url, payload, signer=signer, new_nonce_url=directory.new_nonce, patience=patience, repeatable=True
        )


def _bind(external: ExternalAccount, key: jwk.JWKEC, directory: Directory, issuer: str) -> dict[str, object]:
    """Build the external account binding (RFC 8555 section 7.3.4). The HMAC key never gets into an error."""
    try:
        if not _BASE64URL.fullmatch(external.hmac_key.reveal()):  # the decoder skips what it does not know
            raise ValueError
        return messages.ExternalAccountBinding.from_data(
            key.public_key(),
            external.kid,
            external.hmac_key.reveal(),
            messages.Directory({"newAccount": directory.new_account}),
            external.algorithm,
        )
    except (ValueError, TypeError):
        raise IssuanceError(
            f"issuer {issuer}: external_account cannot be used",
            hint="hmac_key is base64url text as the CA showed it, algorithm one of HS256, HS384, HS512",
        ) from None


def _location(response: HttpResponse, url: str) -> str:
    location = response.headers.get("Location", "")
    if not location:
        raise AcmeProblem(f"POST {url}: the answer names no Location", status=response.status)
    return location
