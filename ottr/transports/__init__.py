# SPDX-License-Identifier: Apache-2.0
"""What moves bytes: HTTP and SSH. Nothing here knows what the bytes mean."""
