"""The connection for Alembic: `schema` passes the one that it has locked, inside its transaction."""

from alembic import context

from masterjob.store.schema import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
