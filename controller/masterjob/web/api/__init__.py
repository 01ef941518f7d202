"""The calls of the control API, and how it describes itself.

    routes.py    every call, what it takes and what it answers
    request.py     what a request says, from a form, JSON or the query, bounded
    switches.py  the switch: the two calls of the existing wire contract, and step-down
    locks.py     what can be read: locks, controls, history; single_flight.py has readers share a read
    openapi.py   the description of all that, in OpenAPI 3.1; explorer.py shows it

What must not be here: who may call (`masterjob.web.access`).

Source: design section 6.5.
"""
