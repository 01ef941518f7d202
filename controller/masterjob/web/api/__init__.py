"""The calls of the control API.

    routes.py    the route table: each call with its path, handler and OpenAPI operation
    request.py   an authenticated request, and its fields from a form, JSON or the query
    switches.py  disable and enable (the wire contract of an existing system), and step-down
    locks.py     the calls that read: locks, disables, history
    openapi.py   the OpenAPI 3.1 description
    explorer.py  Swagger UI on that description

What must not be here: who may call (`masterjob.web.access`).
"""
