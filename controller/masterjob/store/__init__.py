"""The SQL store: the election's database port on PostgreSQL, MariaDB/MySQL and SQLite.

SQLAlchemy, the drivers, the migrations and all SQL are in this package only. Every operation of the protocol is
one autocommit statement on the database's own clock, and the rows that it affects are the answer. The only
transaction is the switch, which enables and disables a lock. An unknown outcome raises `StoreUnavailable`; it is
never guessed.

    database.py     the database that a URL names: the entry point
    queries/        the statements of the protocol, grouped by table
    admin.py        operations of people and resources on locks
    fencing.py      the check of a term inside a job's own transaction
    notifier.py     notifications between instances, by NOTIFY or polling
    recovery.py     creates tables again that are missing later
    schema.py       creates and upgrades the tables (migrations/)
    connection/     connections that never block longer than their timeout, and what differs between databases

What must not be here: decisions of the election (when to renew, whom to evict, what to claim), its threads,
configuration, and logs that contain a password.
"""
