"""A command as a job. It never outlives its master.

    spec.py         the command as the config file names it
    command.py      what to run, with its environment, and the launch request for the shim
    run.py          one run: its executions in one term, with the pauses before a restart
    execution.py    one execution: from the start of its shim to the end of the command's last process
    shim.py         a separate process that starts the command and ends it with the trust; imports none of our code
    shim_client.py  the controller's end of a shim
    leftovers.py    finds and kills what runs on when a shim, or a controller, is killed
    execution_id.py the variable by which the processes of an execution are found
    cgroup.py       the cgroup of an execution, if we may create one
    processes.py    the processes of this host
    trust_feed.py   the thread that sends the end of the trust to every shim
    output.py       the command's output, line by line in our log

The command runs in a session of its own, with an empty standard input. If it exits with 0, it is started again in
place, after a pause, with a new shim and the environment of that moment; or it is done (``restart``). Any other
exit, or a command that cannot be started, gives the lock to another instance. A command counts as started when it
has lived for its ``startSeconds``, or is done. Until then, each failure makes the elector wait longer before the
next attempt.

On a stop, its process group gets SIGTERM, and SIGKILL shortly before the stop timeout is over. The shim ensures
this even if the controller is frozen or killed.

What must not be here: what a term is, or when it ends.
"""
