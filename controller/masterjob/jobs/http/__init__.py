"""HTTP hooks as a job: POST to one URL at the start, and to another at the stop.

    spec.py     the hooks as the config file names them
    headers.py  their headers
    call.py     what the service receives; one call with its retries
    check.py    whether the service still runs the job: one check, and what follows from its result
    request.py  one request that another thread can cancel
    run.py      one run: the start call, the checks, then the stop call

What must not be here: what the service behind the hooks does. It keeps the term's number, and refuses older ones.
"""
