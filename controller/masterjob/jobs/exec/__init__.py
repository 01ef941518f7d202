"""A command as a job, which never outlives its master.

    spec.py     the command as the config file names it
    job.py      the job, behind the election's port
    run.py      the course of one run, from the start of its shim to the end of all that the command was
    command.py  what to run, and the order of it for the shim
    shim.py   a process of its own that starts the command and ends it when the trust does; imports none of ours
    shim_client.py  our end of a shim; trust_feed.py tells every one of them how long the trust lasts
    output.py   what a command writes, line by line in our log

What must not be here: what a term is, or when it ends; that is told.

Source: design section 3.4.
"""
