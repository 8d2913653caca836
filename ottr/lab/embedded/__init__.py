# SPDX-License-Identifier: Apache-2.0
"""A lab that needs nothing but Python, /bin/sh and openssl: all its servers are our own. See ``lab.EmbeddedLab``."""
