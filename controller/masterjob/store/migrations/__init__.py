"""The history of the tables, a file a step; Alembic runs what a database has not had yet."""
