"""The explorer in a real browser: it shows every call, and every call can be tried in it."""

import asyncio
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from masterjob.web.options import Auth
from masterjob.web.ports import Board
from tests.web.browser import Browser
from tests.web.conftest import LOCK, Client, Serve

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (tests/web/install)")
CALLS = ("disable", "enable", "stepDown", "locks", "lock", "history", "controls")


def look(story: Callable[[Browser], Any]) -> Any:
    async def tell() -> Any:
        assert CHROMIUM is not None
        async with Browser(CHROMIUM) as browser:
            return await story(browser)

    return asyncio.run(tell())


async def open_explorer(browser: Browser, url: str) -> None:
    await browser.go(url)
    await browser.until(f"document.querySelectorAll('.opblock').length === {len(CALLS)}")


async def try_out(browser: Browser, call: str, values: dict[str, str]) -> tuple[str, str]:
    """Open a call, fill in its fields, execute it, and return status and body as the page shows them."""
    block = f"document.querySelector('[id$=\"-{call}\"]')"
    await browser.run(f"{block}.querySelector('.opblock-summary-control').click()")
    await browser.until(f"{block}.querySelector('.btn.execute')")
    for name, value in values.items():
        named = f"row.querySelector('.parameter__name')?.innerText.startsWith({json.dumps(name)})"
        row = f"[...{block}.querySelectorAll('tr')].find(row => {named})"
        field = f"{row}?.querySelector('input[type=text], textarea')"
        await browser.until(field)  # the page draws its rows when it comes round to it
        await browser.run(f"""(() => {{
            const field = {field};
            const set = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), 'value').set;
            set.call(field, {json.dumps(value)});
            field.dispatchEvent(new Event('input', {{bubbles: true}}));
            field.dispatchEvent(new FocusEvent('focusout', {{bubbles: true}}));  // or it waits for more
        }})()""")
    await browser.run(f"{block}.querySelector('.btn.execute').click()")
    live = f"{block}.querySelector('.live-responses-table')"
    await browser.until(f"{live} && {live}.querySelector('.response-col_status').innerText")
    status = await browser.run(f"{live}.querySelector('tbody .response-col_status').innerText.trim()")
    body = await browser.run(f"{live}.querySelector('tbody .highlight-code, tbody .microlight')?.innerText ?? ''")
    return str(status).split()[0], str(body).removeprefix("Download").strip()


@needs_browser
def test_every_call_can_be_tried_in_it(client: Client, board: Board, elect: Callable[..., None]) -> None:
    elect()
    picture = os.environ.get("MASTERJOB_PICTURE")

    async def story(browser: Browser) -> dict[str, tuple[str, str]]:
        await open_explorer(browser, f"http://127.0.0.1:{client.port}/explorer")
        seen = {
            "stepDown": await try_out(browser, "stepDown", {"lockName": LOCK}),
            "disable": await try_out(browser, "disable", {"lockName": LOCK, "reason": "tried out"}),
            "controls": await try_out(browser, "controls", {}),
            "enable": await try_out(browser, "enable", {"lockName": LOCK}),
            "locks": await try_out(browser, "locks", {}),
            "lock": await try_out(browser, "lock", {"lockName": LOCK}),
            "history": await try_out(browser, "history", {"lockName": LOCK}),
        }
        if picture:
            await browser.picture(Path(picture))
        assert browser.complaints == []
        assert all(url.startswith((f"http://127.0.0.1:{client.port}/", "data:")) for url in browser.fetched)
        return seen

    seen = look(story)
    assert {name: status for name, (status, _) in seen.items()} == dict.fromkeys(CALLS, "200")
    assert "asked to step down" in seen["stepDown"][1]
    assert f"Flagged {LOCK} as disabled" in seen["disable"][1]
    assert "tried out" in seen["controls"][1]
    assert f"{LOCK} is flagged for (re)enablement" in seen["enable"][1]
    assert '"a-host-1-2"' in seen["lock"][1]
    assert [event.kind for event in board.history(LOCK)][:3] == ["enabled", "disabled", "step-down asked"]


@needs_browser
def test_where_tokens_are_demanded_one_can_be_given_in_it(serve: Serve, board: Board, tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    path.write_text(f"tokens: [{{name: ann, role: write, token: {'w' * 32}}}]")
    client = serve(auth=Auth.TOKEN, tokens=path).client

    async def story(browser: Browser) -> str:
        await open_explorer(browser, f"http://127.0.0.1:{client.port}/explorer")
        refused = await try_out(browser, "controls", {})
        await browser.run("document.querySelector('.btn.authorize').click()")
        await browser.until("document.querySelector('.auth-container input')")
        await browser.run(f"""(() => {{
            const field = document.querySelector('.auth-container input');
            Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(field, '{"w" * 32}');
            field.dispatchEvent(new Event('input', {{bubbles: true}}));
            document.querySelector('.auth-btn-wrapper .authorize').click();
        }})()""")
        await browser.until("document.querySelector('.auth-btn-wrapper')?.innerText.includes('Logout')")
        await browser.run("document.querySelector('.btn-done').click()")
        await try_out(browser, "disable", {"lockName": LOCK, "reason": "tried out"})
        return refused[0]

    assert look(story) == "401"
    assert board.history(LOCK)[0].actor == "ann"


PAGE = """<body><iframe name="into"></iframe>
<form method="POST" action="TARGET" target="into">
<input name="lockName" value="JOB-SCHEDULER"><input name="reason" value="x"></form>
<script>
document.querySelector("iframe").onload = () => document.body.dataset.form = "sent";
document.querySelector("form").submit();
fetch("TARGET", {method: "POST", mode: "no-cors", body: new URLSearchParams("lockName=JOB-SCHEDULER&reason=x")})
  .catch(() => null).then(() => document.body.dataset.fetch = "sent");
fetch("TARGET", {method: "POST", headers: {"Content-Type": "application/json"}, body: "{}"})
  .catch(() => null).then(() => document.body.dataset.json = "sent");
</script></body>"""


@pytest.fixture
def other_site() -> Iterator[Callable[[str], str]]:
    """Serve a page that does what it can to the URL that it is told, from another port; return its own URL."""
    page = b""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def site(target: str) -> str:
        nonlocal page
        page = PAGE.replace("TARGET", target).encode()
        return f"http://127.0.0.1:{server.server_port}/"

    yield site
    server.shutdown()
    thread.join()
    server.server_close()


@needs_browser
def test_a_page_of_another_site_switches_nothing_in_a_real_browser(
    serve: Serve, board: Board, other_site: Callable[[str], str]
) -> None:
    served = serve()
    path = "/api/MasterControls/disable"

    async def story(browser: Browser) -> None:
        await browser.go(other_site(f"http://127.0.0.1:{served.client.port}{path}"))
        for way in ("form", "fetch", "json"):
            await browser.until(f"document.body?.dataset.{way}")

    look(story)
    assert board.status() == []
    refused = {"method": "POST", "route": path, "code": "403"}
    assert served.metrics.registry.get_sample_value("masterjob_api_requests_total", refused) == 2


def test_its_files_are_those_that_it_needs_and_no_others(client: Client) -> None:
    assert client.get("/explorer/swagger-ui-bundle.js").headers["content-type"].startswith("text/javascript")
    for name in ("swagger-ui.js", "LICENSE", "..%2F__init__.py", "%2E%2E", "nothing"):
        assert client.get(f"/explorer/{name}").status == 404
    assert client.get("/explorer/").headers["location"] == "../explorer"
