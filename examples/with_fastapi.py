"""MasterJob in a FastAPI application, started and closed by its lifespan.

MASTERJOB_DATABASE_URL=sqlite:////tmp/demo.sqlite3 python examples/with_fastapi.py [PORT]
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, Request

from masterjob import MasterJob, Term, start_master


async def tick(term: Term) -> None:
    """Print once a second until cancelled, which happens when the term ends. No stop is needed."""
    while True:
        await asyncio.sleep(1)
        print(f"tick in term {term.number}", flush=True)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.master = start_master(lock_name="TICK", master_job=MasterJob(start=tick), handle_signals=False)
    yield
    await app.state.master.aclose()


app = FastAPI(lifespan=lifespan)


@app.get("/")
def show_status(request: Request) -> dict[str, object]:  # not a coroutine: `why` may query the database
    master = request.app.state.master
    return {"isMaster": master.is_master, "why": master.why}


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
