# SPDX-License-Identifier: Apache-2.0
"""The operator's own files: reading ottr.yaml, and writing the start of all three."""
