"""Planted bugs: one or more for every rule of the protocol (docs/design.md, section 3), and what finds each.

    rules.py         the rules
    planting.py      replaces a piece of the real code
    catalog.py       all planted bugs, in the order of the rules; the sample that the normal tests plant
    trust.py, retries.py, session.py, master.py, inventory.py, candidate.py, evictor.py, retiming.py,
    quarantine.py    bugs of the core
    store.py, switch.py    bugs of the statements, in the simulation's imitation of the database
    sql.py           bugs of the real statements
    connections.py   bugs of connections, notifications and the guard
    process.py       bugs of threads, watchdogs and the shim
    search.py        looks for a violation in simulated seeds
    tested.py        runs the tests that stand for the code
    plugin.py        plants a bug in the process of those tests
    table.py         the table of what finds each bug: docs/mutants.md
    __main__.py      ``make mutants``: plants every bug and writes the table
    mechanical.py    ``make mutmut``: gives mechanical mutants to the simulation

The simulation imitates the real statements and threads. So it cannot find the bugs of `sql`, `connections` and
`process`; they are for the tests of that code.
"""
