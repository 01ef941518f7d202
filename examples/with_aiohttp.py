"""MasterJob in an aiohttp application: the job is a coroutine on the application's own loop.

MASTERJOB_DATABASE_URL=sqlite:////tmp/demo.sqlite3 python examples/with_aiohttp.py [PORT]
"""

import asyncio
import sys
from collections.abc import AsyncIterator

from aiohttp import web

from masterjob import Master, MasterJob, Term, start_master

master_key = web.AppKey("master", Master)


async def tick(term: Term) -> None:
    """Print once a second until cancelled, which happens when the term ends. No stop is needed."""
    while True:
        await asyncio.sleep(1)
        print(f"tick in term {term.number}", flush=True)


async def run_election(app: web.Application) -> AsyncIterator[None]:
    app[master_key] = start_master(lock_name="TICK", master_job=MasterJob(start=tick), handle_signals=False)
    yield
    await app[master_key].aclose()


async def show_status(request: web.Request) -> web.Response:
    master = request.app[master_key]
    why = await asyncio.to_thread(lambda: master.why)  # `why` may query the database
    return web.json_response({"isMaster": master.is_master, "why": why})


def create_application() -> web.Application:
    app = web.Application()
    app.cleanup_ctx.append(run_election)
    app.router.add_get("/", show_status)
    return app


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    web.run_app(create_application(), host="127.0.0.1", port=port)
