# SPDX-License-Identifier: Apache-2.0
"""PAN-OS firewalls and Panorama, 8.1 to 11.x, over their XML API."""
