"""The explorer in a real browser: it shows every call, and each can be tried in it."""

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

from masterjob.web.config import AuthMode
from masterjob.web.interfaces import LockOperations
from tests.web.browser import Browser
from tests.web.conftest import LOCK_NAME, ApiClient, ServeApi

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (tests/web/install)")
OPERATION_IDS = ("disable", "enable", "stepDown", "locks", "lock", "history", "report", "controls", "forget")


def run_in_browser(scenario: Callable[[Browser], Any]) -> Any:
    async def run_scenario() -> Any:
        assert CHROMIUM is not None
        async with Browser(CHROMIUM) as browser:
            return await scenario(browser)

    return asyncio.run(run_scenario())


async def open_explorer(browser: Browser, url: str) -> None:
    await browser.navigate(url)
    await browser.wait_for(f"document.querySelectorAll('.opblock').length === {len(OPERATION_IDS)}")


async def execute_call(browser: Browser, operation_id: str, values: dict[str, str]) -> tuple[str, str]:
    """Open a call, fill in its fields, execute it, and return status and body as the page shows them."""
    block = f"document.querySelector('[id$=\"-{operation_id}\"]')"
    await browser.evaluate(f"{block}.querySelector('.opblock-summary-control').click()")
    await browser.wait_for(f"{block}.querySelector('.btn.execute')")
    for name, value in values.items():
        name_matches = f"row.querySelector('.parameter__name')?.innerText.startsWith({json.dumps(name)})"
        row = f"[...{block}.querySelectorAll('tr')].find(row => {name_matches})"
        field = f"{row}?.querySelector('input[type=text], textarea')"
        await browser.wait_for(field)  # the page draws its rows asynchronously
        await browser.evaluate(f"""(() => {{
            const field = {field};
            const set = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), 'value').set;
            set.call(field, {json.dumps(value)});
            field.dispatchEvent(new Event('input', {{bubbles: true}}));
            field.dispatchEvent(new FocusEvent('focusout', {{bubbles: true}}));  // or it waits for more
        }})()""")
    await browser.evaluate(f"{block}.querySelector('.btn.execute').click()")
    responses = f"{block}.querySelector('.live-responses-table')"
    await browser.wait_for(f"{responses} && {responses}.querySelector('.response-col_status').innerText")
    status = await browser.evaluate(f"{responses}.querySelector('tbody .response-col_status').innerText.trim()")
    body = await browser.evaluate(
        f"{responses}.querySelector('tbody .highlight-code, tbody .microlight')?.innerText ?? ''"
    )
    return str(status).split()[0], str(body).removeprefix("Download").strip()


@needs_browser
def test_every_call_can_be_tried_in_it(
    client: ApiClient, lock_admin: LockOperations, elect: Callable[..., None]
) -> None:
    elect()
    screenshot_path = os.environ.get("MASTERJOB_PICTURE")

    async def scenario(browser: Browser) -> dict[str, tuple[str, str]]:
        await open_explorer(browser, f"http://127.0.0.1:{client.port}/explorer")
        results = {
            "stepDown": await execute_call(browser, "stepDown", {"lockName": LOCK_NAME}),
            "disable": await execute_call(browser, "disable", {"lockName": LOCK_NAME, "reason": "tried out"}),
            "controls": await execute_call(browser, "controls", {}),
            "enable": await execute_call(browser, "enable", {"lockName": LOCK_NAME}),
            "locks": await execute_call(browser, "locks", {}),
            "lock": await execute_call(browser, "lock", {"lockName": LOCK_NAME}),
            "history": await execute_call(browser, "history", {"lockName": LOCK_NAME}),
            "report": await execute_call(browser, "report", {"lockName": LOCK_NAME}),
        }
        assert browser.script_errors == []
        # The browser itself reports a refused call as an error.
        results["forget"] = await execute_call(browser, "forget", {"lockName": LOCK_NAME})
        if screenshot_path:
            await browser.save_screenshot(Path(screenshot_path))
        assert all(url.startswith((f"http://127.0.0.1:{client.port}/", "data:")) for url in browser.fetched_urls)
        return results

    results = run_in_browser(scenario)
    assert {name: status for name, (status, _) in results.items()} == {
        **dict.fromkeys(OPERATION_IDS, "200"),
        "forget": "409",  # it has a master
    }
    assert "asked to step down" in results["stepDown"][1]
    assert f"Flagged {LOCK_NAME} as disabled" in results["disable"][1]
    assert "tried out" in results["controls"][1]
    assert f"{LOCK_NAME} is flagged for (re)enablement" in results["enable"][1]
    assert '"a-host-1-2"' in results["lock"][1]
    assert [event.kind for event in lock_admin.history(LOCK_NAME)][:3] == [
        "enabled",
        "disabled",
        "step-down asked",
    ]


@needs_browser
def test_if_tokens_are_required_one_can_be_entered_in_it(
    serve: ServeApi, lock_admin: LockOperations, tmp_path: Path
) -> None:
    path = tmp_path / "tokens.yaml"
    path.write_text(f"tokens: [{{name: ann, role: write, token: {'w' * 32}}}]")
    client = serve(auth=AuthMode.TOKEN, tokens=path).client

    async def scenario(browser: Browser) -> str:
        await open_explorer(browser, f"http://127.0.0.1:{client.port}/explorer")
        refused = await execute_call(browser, "controls", {})
        await browser.evaluate("document.querySelector('.btn.authorize').click()")
        await browser.wait_for("document.querySelector('.auth-container input')")
        await browser.evaluate(f"""(() => {{
            const field = document.querySelector('.auth-container input');
            Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(field, '{"w" * 32}');
            field.dispatchEvent(new Event('input', {{bubbles: true}}));
            document.querySelector('.auth-btn-wrapper .authorize').click();
        }})()""")
        await browser.wait_for("document.querySelector('.auth-btn-wrapper')?.innerText.includes('Logout')")
        await browser.evaluate("document.querySelector('.btn-done').click()")
        await execute_call(browser, "disable", {"lockName": LOCK_NAME, "reason": "tried out"})
        return refused[0]

    assert run_in_browser(scenario) == "401"
    assert lock_admin.history(LOCK_NAME)[0].actor == "ann"


HOSTILE_PAGE = """<body><iframe name="into"></iframe>
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
    """Serve a page, on another port, that attacks the given URL; return the URL of that page."""
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

    def page_url(target: str) -> str:
        nonlocal page
        page = HOSTILE_PAGE.replace("TARGET", target).encode()
        return f"http://127.0.0.1:{server.server_port}/"

    yield page_url
    server.shutdown()
    thread.join()
    server.server_close()


@needs_browser
def test_a_page_of_another_site_switches_nothing_in_a_real_browser(
    serve: ServeApi, lock_admin: LockOperations, other_site: Callable[[str], str]
) -> None:
    api = serve()
    path = "/api/MasterControls/disable"

    async def scenario(browser: Browser) -> None:
        await browser.navigate(other_site(f"http://127.0.0.1:{api.client.port}{path}"))
        for way in ("form", "fetch", "json"):
            await browser.wait_for(f"document.body?.dataset.{way}")

    run_in_browser(scenario)
    assert lock_admin.status() == []
    refused = {"method": "POST", "route": path, "code": "403"}
    assert api.metrics.registry.get_sample_value("masterjob_api_requests_total", refused) == 2


def test_it_serves_only_the_files_that_it_needs(client: ApiClient) -> None:
    assert client.get("/explorer/swagger-ui-bundle.js").headers["content-type"].startswith("text/javascript")
    for name in ("swagger-ui.js", "LICENSE", "..%2F__init__.py", "%2E%2E", "nothing"):
        assert client.get(f"/explorer/{name}").status == 404
    assert client.get("/explorer/").headers["location"] == "../explorer"
