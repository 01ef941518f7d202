"""A command as a job, which never outlives its master.

    spec.py     the command as the config file names it
    job.py      the job, behind the election's port
    run.py      the course of one run, from the start of its keeper to the end of all that the command was
    command.py  what to run, and the order of it for the keeper
    keeper.py   a process of its own that starts the command and ends it when the trust does; imports none of ours
    leash.py    our end of a keeper; feeder.py tells every one of them how long the trust lasts
    output.py   what a command writes, line by line in our log

What must not be here: what a term is, or when it ends; that is told.

Source: design section 3.4.
"""
