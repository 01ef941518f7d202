"""The migrations, one file for each; Alembic runs those that a database has not had yet."""
