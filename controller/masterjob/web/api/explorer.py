"""The explorer: Swagger UI on the API's description, served from the package swagger-ui-py.

Only the files named here are served. The page may only run its own scripts and send requests to this host, and no
other page may frame it.
"""

from importlib.util import find_spec
from pathlib import Path

from aiohttp import web

from masterjob.web.api.routes import Route

_CONTENT_TYPES = {"js": "text/javascript", "css": "text/css", "png": "image/png"}
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Links are relative, so that the page works below any path that this application is mounted at.
_PAGE_HTML = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>MasterJob</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="explorer/favicon-32x32.png">
<link rel="stylesheet" href="explorer/swagger-ui.css">
</head>
<body>
<div id="explorer"></div>
<script src="explorer/swagger-ui-bundle.js"></script>
<script src="explorer/begin.js"></script>
</body>
</html>
"""
_INIT_SCRIPT = """SwaggerUIBundle({
  url: "api/openapi.json",
  dom_id: "#explorer",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
"""
_PACKAGE_FILES = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")


def explorer_routes(description: str) -> list[Route]:
    """Return the public routes: the page must load before a token can be entered in it."""
    explorer = _Explorer(description)
    return [
        Route("GET", "/api/openapi.json", explorer.serve_description, public=True),
        Route("GET", "/explorer", explorer.serve_page, public=True),
        Route("GET", "/explorer", explorer.redirect_to_page, public=True, pattern="/explorer/"),
        Route("GET", "/explorer/{file}", explorer.serve_file, public=True),
    ]


class _Explorer:
    """The description, the page and its files; each file is read once."""

    def __init__(self, description: str) -> None:
        self._description = description
        self._files: dict[str, bytes] = {"begin.js": _INIT_SCRIPT.encode()}

    async def serve_description(self, _: web.Request) -> web.Response:
        return web.Response(text=self._description, content_type="application/json")

    async def serve_page(self, _: web.Request) -> web.Response:
        return web.Response(
            text=_PAGE_HTML,
            content_type="text/html",
            headers={"Content-Security-Policy": _CONTENT_SECURITY_POLICY},
        )

    async def redirect_to_page(self, _: web.Request) -> web.Response:
        return web.Response(status=308, headers={"Location": "../explorer"})

    async def serve_file(self, request: web.Request) -> web.Response:
        name = request.match_info["file"]
        if name not in self._files:
            if name not in _PACKAGE_FILES:
                raise web.HTTPNotFound
            self._files[name] = _read_package_file(name)
        content_type = _CONTENT_TYPES[name.rsplit(".", 1)[-1]]
        headers = {"Cache-Control": "max-age=3600", "Content-Type": f"{content_type}; charset=utf-8"}
        return web.Response(body=self._files[name], headers=headers)


def _read_package_file(name: str) -> bytes:
    """Return a file of the package without importing it: only its files are needed."""
    package_spec = find_spec("swagger_ui")
    if package_spec is None or not package_spec.submodule_search_locations:
        raise web.HTTPNotFound(reason="the package swagger-ui-py is not installed")
    return Path(package_spec.submodule_search_locations[0], "static", name).read_bytes()
