"""The elector: a pure state machine. Events and a time go in, actions come out.

Threads and a database drive it in production (`masterjob.election.runner`), virtual time in the simulator of the
tests: so one core can try hundreds of thousands of faults per minute.

    elector.py     passes each event to one of these six parts, after the clock has been considered
    heartbeat.py   keeps one session alive for each timing: opens, renews, retries, notices the end of trust
    candidate.py   state one: waits for a vacancy, takes a fair share, claims
    master.py      state two: runs the job, stops it, releases; compares what it holds with the database
    evictor.py     watches the sessions of other instances and evicts the dead ones
    quarantine.py  waits after the database was promoted, until claims are safe
    retiming.py    moves a lock whose timing has changed to the session of the new timing
    run_history.py what the history says of the runs of jobs
    state.py       what the parts share: locks, sessions, commands in flight and how each continues
    liveness.py    the rule for when a session is dead
    known_database.py  what is known of the database's incarnation
    batches.py     what to do with a batch that failed
    session.py     the arithmetic of trust
    events.py      what goes in
    actions.py     what comes out
    commands.py    the actions that are calls to the database, each with the type of its reply

What must not be here: threads, clocks, sleeping, I/O, logging.
"""
