# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    """What every module that asks Ottr's service has."""

    DOCUMENTATION = r"""
options:
  config:
    description:
      - The settings of Ottr, C(ottr.yaml).
      - Without it the first there is of E(OTTR_CONFIG), C(./ottr.yaml) (from the folder where the play was started),
        C(~/.config/ottr/ottr.yaml) and C(/etc/ottr/ottr.yaml).
    type: path
  staging:
    description:
      - Take the staging twin of every issuer in its place.
    type: bool
    default: false
  log_file:
    description:
      - A file on the control node that Ottr's log lines are appended to. No secret is ever in one.
    type: path
requirements:
  - ottr, in the Python that runs the play (C(ansible_playbook_python)).
notes:
  - The module runs on the control node, and Ansible itself makes no connection to the host. Facts need not be gathered.
  - All tasks of a play share one process of Ottr, which the first of them starts. It ends with the play; what is under
    way on a device then is brought to its end.
  - The host is what the task sees of it. Variables, vaulted ones too, may stand wherever Ansible takes them from;
    C(remote_user), C(become) and the options of C(ansible-playbook) count as they do elsewhere.
  - How many hosts are worked on at once is a matter of C(forks), C(serial) and C(throttle). Devices of one
    C(ha_group) wait for one another.
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
      - The device is logged in to, its service tests itself, a TXT value is written and removed under each name, and
        the CA is asked for its directory. No key and no order are made.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: full
    details:
      - Shows the certificate before and after, never a key.
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
    support: full
    details:
      - Not with O(force=true) where there is that option.
"""

    STEP = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
    details:
      - Says whether the step would be taken. The device is looked at only when no rotation of it is open.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: none
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
    support: full
"""

    READING = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
    details:
      - Changes nothing on any device.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: N/A
    details:
      - Changes nothing on any device.
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
    support: full
"""

    ROLLING = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
    details:
      - Fails when there is nothing to go back from.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: none
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
    support: none
    details:
      - A second time there is nothing to go back from, and the task fails.
"""

    FORCE = r"""
options:
  force:
    description:
      - Rotate a host that is not due too, also one in quarantine, out of its maintenance window, or waiting after a
        failure.
    type: bool
    default: false
"""
