"""A headless Chromium, controlled by its own protocol without a driver."""

import asyncio
import base64
import json
import re
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

BROWSER_TIMEOUT = 120.0
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
    "--window-size=1200,1600",
)


class Browser:
    """One page, with the URLs that it fetched and the errors of its scripts."""

    def __init__(self, program: str) -> None:
        self.fetched_urls: list[str] = []
        self.script_errors: list[str] = []
        self._profile_dir = tempfile.TemporaryDirectory(prefix="masterjob-browser-", ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={self._profile_dir.name}", "about:blank"],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self._last_call_id = 0
        self._pending_calls: dict[int, asyncio.Future[Any]] = {}

    async def __aenter__(self) -> Self:
        port = await asyncio.to_thread(self._read_port)
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            page = next(each for each in await answer.json() if each["type"] == "page")
        self._websocket = await self._session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0)
        self._listen_task = asyncio.create_task(self._listen())
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self.call(f"{domain}.enable")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listen_task.cancel()
        await self._websocket.close()
        await self._session.close()
        self._process.kill()
        self._process.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._profile_dir.cleanup()

    def _read_port(self) -> int:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if matched := re.search(r"listening on ws://127\.0\.0\.1:(\d+)/", line):
                return int(matched[1])
        raise AssertionError("the browser did not start")

    async def _listen(self) -> None:
        async for message in self._websocket:
            event = json.loads(message.data)
            if "id" in event:
                self._pending_calls.pop(event["id"]).set_result(event)
            elif event["method"] == "Network.requestWillBeSent":
                self.fetched_urls.append(event["params"]["request"]["url"])
            elif event["method"] == "Log.entryAdded":
                self.script_errors.append(event["params"]["entry"]["text"])
            elif event["method"] == "Runtime.exceptionThrown":
                self.script_errors.append(str(event["params"]["exceptionDetails"]))

    async def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol."""
        self._last_call_id += 1
        response = self._pending_calls[self._last_call_id] = asyncio.get_running_loop().create_future()
        await self._websocket.send_json({"id": self._last_call_id, "method": method, "params": parameters})
        result = await asyncio.wait_for(response, BROWSER_TIMEOUT)
        assert "error" not in result, result
        return result["result"]

    async def navigate(self, url: str) -> None:
        """Open a page."""
        await self.call("Page.navigate", url=url)

    async def evaluate(self, script: str) -> Any:
        """Return the value of an expression; a promise is awaited."""
        result = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def wait_for(self, script: str) -> None:
        """Wait until an expression is true; it is checked at every change of the page."""
        await self.evaluate(f"""new Promise((done, fail) => {{
            const look = () => {{ if ({script}) {{ watch.disconnect(); done(true); }} }};
            const watch = new MutationObserver(look);
            watch.observe(document, {{subtree: true, childList: true, attributes: true, characterData: true}});
            const seen = () => document.body.innerText;
            setTimeout(() => fail(new Error("it did not come true: " + seen())), {BROWSER_TIMEOUT * 500});
            look();
        }})""")

    async def save_screenshot(self, path: Path) -> None:
        """Save a screenshot of the page."""
        result = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(result["data"]))
