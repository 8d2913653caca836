# SPDX-License-Identifier: Apache-2.0
"""Alembic's entry: runs in the transaction ``upgrade`` has opened."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], render_as_batch=True)
context.run_migrations()
