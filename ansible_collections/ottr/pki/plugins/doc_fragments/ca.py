# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    """What every module that asks the private CA has."""

    DOCUMENTATION = r"""
options:
  folder:
    description:
      - The folder of the CA on the control node, as C(ottr ca init) has made it.
      - Without it E(OTTR_CA).
    type: path
  passphrase:
    description:
      - What opens the keys of the CA, or the PIN of its token. Take it from a vault.
      - It goes to Ottr through a socket that is this user's alone, and is in no argument list, no log and no result.
      - Without it and O(passphrase_file), E(OTTR_CA_PASSPHRASE) or the systemd credential C(ottr-ca-passphrase).
    type: str
  passphrase_file:
    description:
      - A file on the control node with the passphrase as its first line, which nobody else may read.
    type: path
  log_file:
    description:
      - A file on the control node that Ottr's log lines are appended to. No secret is ever in one.
    type: path
requirements:
  - ottr, in the Python that runs the play (C(ansible_playbook_python)).
notes:
  - The CA is asked on the control node. Paths of CSRs and certificates are those of the host, or of where
    C(delegate_to) says; a connection is made for them only.
  - All tasks of a play share one process of Ottr, which opens the CA once.
attributes:
  action:
    description: Indicates this has a corresponding action plugin, so that some parts of the options can be executed on the controller.
    support: full
  async:
    description: Supports being used with the C(async) keyword.
    support: none
  platform:
    description: Target OS or families that can be operated against.
    support: full
    platforms: posix
"""

    CHANGING = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
    details:
      - The CA decides and checks all it would otherwise, and signs and writes nothing.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: full
    details:
      - Shows what changes about the certificate, and about the file if there is one. Never a key.
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
    support: full
"""

    FILE = r"""
options:
  path:
    description:
      - Where to write it on the host. Without this it is returned and written nowhere.
    type: path
  backup:
    description:
      - Keep a copy of the file that is replaced.
    type: bool
    default: false
"""
