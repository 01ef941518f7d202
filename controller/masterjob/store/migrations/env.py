"""Where Alembic is told which connection to use: the one that `schema` has locked, inside its transaction."""

from alembic import context

from masterjob.store.schema import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
