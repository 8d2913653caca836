#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

# This is a virtual module: the action plugin of the same name does all of it.

from __future__ import annotations

DOCUMENTATION = r"""
---
module: ca_certificate
short_description: Have the private CA of Ottr issue or renew a certificate
version_added: 0.1.0
author:
  - The Ottr authors (@ottr)
description:
  - Certifies the key of a CSR, or a key that the CA makes and holds.
  - A certificate that the CA has issued for the same key, profile, names and subject is returned again while it is
    valid, not revoked and not due. It is due after the share C(renew_fraction) of its life, which C(ca.yaml) says.
  - What a profile does not allow is not in the certificate, whatever a CSR asks for. The names of a CSR are not checked
    against anything, for the operator asks.
extends_documentation_fragment:
  - ansible.builtin.files
  - ottr.pki.ca
  - ottr.pki.ca.changing
  - ottr.pki.ca.file
options:
  csr_path:
    description:
      - A CSR (PKCS#10, PEM) on the host, as M(community.crypto.openssl_csr) makes one.
      - One of O(csr_path), O(csr_content) and O(names) is needed.
    type: path
  csr_content:
    description:
      - The CSR itself.
    type: str
  names:
    description:
      - Have the CA make a key and hold it, for these names (DNS names, addresses, C(user@host), C(scheme://host/...)).
        An empty list goes with O(subject).
      - The key is in no result; C(ottr ca export) gives it out, and writes down that it did. What is due is renewed with a
        new key, by this module as by C(ottr ca renew --due).
    type: list
    elements: str
  subject:
    description:
      - The subject, as C(CN=alice,O=Example). Without it that of the CSR, or the first of the names. The profile decides
        what of it is taken over.
    type: str
    default: ""
  profile:
    description:
      - What kind of certificate, V(server), V(client), V(sub_ca) or a profile of C(ca.yaml).
    type: str
    default: server
  days:
    description:
      - A shorter life than the profile's. Changing it alone changes nothing before the certificate is due.
    type: float
  key_type:
    description:
      - Of the key the CA makes. Changing it alone changes nothing.
    type: str
    default: ec256
    choices: [ec256, ec384, ec521, rsa2048, rsa3072, rsa4096, ed25519]
  force:
    description:
      - Issue a certificate even when there is one that is not due. The module is not idempotent then.
    type: bool
    default: false
  path:
    description:
      - Where to write the certificate and its issuers on the host, in PEM. Without this they are written nowhere.
seealso:
  - module: ottr.pki.ca_revoke
  - module: ottr.pki.ca_bundle
  - module: community.crypto.openssl_csr
"""

EXAMPLES = r"""
---
- name: Certify a key that was made on the host
  ottr.pki.ca_certificate:
    folder: /srv/ca
    passphrase: "{{ vaulted_ca_passphrase }}"
    csr_path: /etc/ssl/private/www.csr
    path: /etc/ssl/certs/www.pem
    mode: "0644"
  notify: Reload nginx

- name: Have the CA make a key and hold it
  ottr.pki.ca_certificate:
    folder: /srv/ca
    passphrase_file: /etc/ottr/ca-passphrase
    names: [printer.example.com, 192.0.2.7]
    days: 30
  run_once: true
  register: printer

- name: Show until when it is valid
  ansible.builtin.debug:
    msg: "{{ printer.info.not_after }}"
"""

RETURN = r"""
---
certificate:
  description: The certificate in PEM, V(none) in check mode when it would be issued.
  returned: success
  type: str
chain:
  description: Its issuers in PEM, without the root.
  returned: success
  type: str
full_chain:
  description: Both.
  returned: success
  type: str
serial:
  description: Serial number in lower-case hex.
  returned: success
  type: str
  sample: 7a1d75f09eb4e088
not_after:
  description: End of its validity.
  returned: success
  type: str
  sample: "2027-02-20T01:13:37Z"
reason:
  description: Why it was issued, V(never_issued), V(lifetime_fraction) or V(forced), or that it is V(not_due).
  returned: success
  type: str
  sample: not_due
info:
  description:
    - What the CA knows of the certificate, as C(ottr ca show --output json) says it.
    - Serial numbers and fingerprints are lower-case hex, times ISO 8601 UTC.
  returned: success
  type: dict
  contains:
    serial:
      description: Serial number.
      type: str
      returned: always
      sample: 7a1d75f09eb4e088
    issuer:
      description: Which of the CA's issuers has signed it.
      type: str
      returned: always
      sample: intermediate-1
    subject:
      description: Subject (RFC 4514).
      type: str
      returned: always
      sample: CN=www.example.com
    names:
      description: Its subject alternative names.
      type: list
      elements: str
      returned: always
    profile:
      description: The profile it was issued under.
      type: str
      returned: always
      sample: server
    status:
      description: V(valid), V(held) or V(revoked).
      type: str
      returned: always
      sample: valid
    reason:
      description: Why it was revoked, V(none) if it was not.
      type: str
      returned: always
    revoked_at:
      description: Since when it is revoked or held.
      type: str
      returned: always
    not_before:
      description: Begin of its validity.
      type: str
      returned: always
    not_after:
      description: End of its validity.
      type: str
      returned: always
    issued_at:
      description: When it was issued.
      type: str
      returned: always
    requester:
      description: Who asked for it.
      type: str
      returned: always
      sample: operator
    sha256:
      description: Fingerprint.
      type: str
      returned: always
    key_held:
      description: Whether the CA holds its key.
      type: bool
      returned: always
    auto_renew:
      description: Whether C(ottr ca renew --due) renews it.
      type: bool
      returned: always
backup_file:
  description: The copy that was kept of the file before.
  returned: changed and if O(backup=true)
  type: str
hint:
  description: What to do about a failure.
  returned: on failure, if there is anything
  type: str
"""
