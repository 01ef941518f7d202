"""MasterJob in a Django application, all in one file: the election starts with the server.

MASTERJOB_DATABASE_URL=sqlite:////tmp/demo.sqlite3 python examples/with_django.py [PORT]

In your own project, call `start_master` where the server's worker process starts (`post_fork` in gunicorn's
configuration, or the end of `wsgi.py`) rather than in `AppConfig.ready`, which every management command runs too.
"""

import contextlib
import sys
from wsgiref.simple_server import make_server

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from masterjob import Master, MasterJob, Term, start_master

settings.configure(DEBUG=False, ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF=__name__, SECRET_KEY="only an example")

master: Master


def tick(term: Term) -> None:
    while not term.wait(1.0):
        print(f"tick in term {term.number}", flush=True)


def show_status(_request: HttpRequest) -> JsonResponse:
    return JsonResponse({"isMaster": master.is_master, "why": master.why})


urlpatterns = [path("", show_status)]


def main() -> None:
    global master  # noqa: PLW0603
    django.setup()
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    with make_server("127.0.0.1", port, get_wsgi_application()) as server:
        master = start_master(lock_name="TICK", master_job=MasterJob(start=tick))
        with contextlib.suppress(KeyboardInterrupt):  # the job is stopped and the lock released at exit
            server.serve_forever()


if __name__ == "__main__":
    main()
