"""A headless Chromium, spoken to over its own protocol: no driver besides."""

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

PATIENCE = 60.0
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
    """One page. What it fetched, and what its scripts complained of, is kept."""

    def __init__(self, program: str) -> None:
        self.fetched: list[str] = []
        self.complaints: list[str] = []
        self._home = tempfile.TemporaryDirectory(prefix="masterjob-browser-", ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={self._home.name}", "about:blank"],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self._number = 0
        self._answers: dict[int, asyncio.Future[Any]] = {}

    async def __aenter__(self) -> Self:
        port = await asyncio.to_thread(self._port)
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            page = next(each for each in await answer.json() if each["type"] == "page")
        self._line = await self._session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0)
        self._listener = asyncio.create_task(self._listen())
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self.call(f"{domain}.enable")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.cancel()
        await self._line.close()
        await self._session.close()
        self._process.kill()
        self._process.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._home.cleanup()

    def _port(self) -> int:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if found := re.search(r"listening on ws://127\.0\.0\.1:(\d+)/", line):
                return int(found[1])
        raise AssertionError("the browser did not start")

    async def _listen(self) -> None:
        async for message in self._line:
            said = json.loads(message.data)
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            elif said["method"] == "Network.requestWillBeSent":
                self.fetched.append(said["params"]["request"]["url"])
            elif said["method"] == "Log.entryAdded":
                self.complaints.append(said["params"]["entry"]["text"])
            elif said["method"] == "Runtime.exceptionThrown":
                self.complaints.append(str(said["params"]["exceptionDetails"]))

    async def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol."""
        self._number += 1
        answer = self._answers[self._number] = asyncio.get_running_loop().create_future()
        await self._line.send_json({"id": self._number, "method": method, "params": parameters})
        said = await asyncio.wait_for(answer, PATIENCE)
        assert "error" not in said, said
        return said["result"]

    async def go(self, url: str) -> None:
        """Open a page."""
        await self.call("Page.navigate", url=url)

    async def run(self, script: str) -> Any:
        """Return what an expression is, a promise's end included."""
        said = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    async def until(self, script: str) -> None:
        """Wait until an expression is true, looking at every change of the page."""
        await self.run(f"""new Promise((done, fail) => {{
            const look = () => {{ if ({script}) {{ watch.disconnect(); done(true); }} }};
            const watch = new MutationObserver(look);
            watch.observe(document, {{subtree: true, childList: true, attributes: true, characterData: true}});
            const seen = () => document.body.innerText;
            setTimeout(() => fail(new Error("it did not come true: " + seen())), {PATIENCE * 500});
            look();
        }})""")

    async def picture(self, path: Path) -> None:
        """Save what is to be seen."""
        said = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(said["data"]))
