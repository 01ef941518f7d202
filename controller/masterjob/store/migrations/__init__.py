"""The migrations, one file for each; Alembic runs those that a database has not had yet.

additions.py has the tables that older releases need not know.
"""
