# SPDX-License-Identifier: Apache-2.0
"""What simulators of devices build on: the twin of ``ottr.transports``. Nothing here knows any device."""
