"""The page, its files, and BokehJS from the wheel of bokeh: each from a fixed list, found at the start."""

import functools
import html
from importlib import resources, util
from pathlib import Path

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from cryptometrics.web.site import Site

ROUTES = ("/", "/pair/{venue}/{pair}", "/risk", "/alerts", "/pipeline")
"""Each shows the same page, which reads its address."""
TOKEN_MARK = "{{token}}"  # noqa: S105  (where the page has its token)
FRAME = "index"
TEMPLATES_MARK = "{{templates}}"
MEDIA_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
}
BOKEH_FILES = (
    "bokeh.min.js",
    "bokeh-api.min.js",
    "bokeh-gl.min.js",
    "bokeh-widgets.min.js",
    "bokeh-tables.min.js",
)


def router(site: Site) -> APIRouter:
    """Return the routes of the page and its files."""
    routes = APIRouter(include_in_schema=False)
    files = static_files()

    async def page() -> Response:
        text = _page().replace(TOKEN_MARK, html.escape(site.access.form_token))
        return Response(text, media_type="text/html; charset=utf-8")

    for path in ROUTES:
        routes.add_api_route(path, page, methods=["GET"])

    @routes.get("/static/{name:path}")
    def static(name: str, request: Request) -> Response:
        if (path := files.get(name)) is None:
            raise HTTPException(404, f"there is no file {name}")
        tag = _tag(path)
        headers = {"etag": tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(path.read_bytes(), headers=headers, media_type=MEDIA_TYPES[path.suffix])

    @routes.get("/favicon.ico")
    def favicon() -> Response:
        if (path := files.get("favicon.svg")) is None:
            return Response(status_code=204)
        return Response(path.read_bytes(), media_type=MEDIA_TYPES[path.suffix])

    return routes


def static_files() -> dict[str, Path]:
    """Return the files that are served, by their path below /static/."""
    folder = Path(str(resources.files("cryptometrics.web"))) / "static"
    found = {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.suffix in MEDIA_TYPES
    }
    if (spec := util.find_spec("bokeh")) is not None and spec.origin is not None:
        bokeh = Path(spec.origin).parent / "server" / "static" / "js"
        found |= {f"bokeh/{name}": bokeh / name for name in BOKEH_FILES if (bokeh / name).is_file()}
    return found


@functools.cache
def _page() -> str:
    """Return the page: one frame, and a template for each of its views and dialogs."""
    texts = {
        path.name.removesuffix(".html"): path.read_text("utf-8")
        for path in (resources.files("cryptometrics.web") / "pages").iterdir()
        if path.name.endswith(".html")
    }
    frame = texts.pop(FRAME)
    templates = [f'<template id="{name}">\n{text}</template>' for name, text in sorted(texts.items())]
    return frame.replace(TEMPLATES_MARK, "\n".join(templates))


def _tag(path: Path) -> str:
    status = path.stat()
    return f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
