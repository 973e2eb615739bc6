"""The dashboard as an application: pages, and the values that they show as JSON."""

import hashlib
import json
import math
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from analysis.dashboard.access import Guarded
from analysis.dashboard.state import Watch
from cluster.machine.files import DamagedFileError
from search_spaces.errors import UserError

PAGE = Path(__file__).parent / "page"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
STATIC = ("dashboard.js", "dashboard.css", "base.css", "plotly.js")


def make_app(root: Path, token: str, only: str = "", optuna: str = "") -> Guarded:
    """Return the application for the searches below a root.

    `only` is the search to begin with, and `optuna` the address of an optuna-dashboard, or why there is none.
    """
    watch = Watch(root)

    def settings(_request: Request) -> Any:
        return {"root": str(root), "first": only, "optuna": optuna}

    def searches(_request: Request) -> Any:
        return watch.searches()

    def quick(request: Request) -> Any:
        found = watch.search(request.path_params["name"])
        return None if found is None else found.quick(watch.answer())

    def whole(request: Request) -> Any:
        found = watch.search(request.path_params["name"])
        return None if found is None else found.whole()

    routes = [
        Route("/", _page),
        Route("/static/{name}", _static),
        Route("/api/settings", _json(settings)),
        Route("/api/searches", _json(searches)),
        Route("/api/searches/{name}", _json(quick)),
        Route("/api/searches/{name}/study", _json(whole)),
    ]
    return Guarded(Starlette(routes=routes), token)


def _json(values: Any) -> Any:
    """Return an endpoint that answers with a function's values, or with 304 if the asker has them already."""

    async def answer(request: Request) -> Response:
        try:
            found = await run_in_threadpool(values, request)
        except (OSError, UserError, DamagedFileError) as error:
            return _text({"error": str(error)}, 503)
        if found is None:
            return _text({"error": "there is no such search any more"}, 404)
        body = json.dumps(_plain(found), allow_nan=False, separators=(",", ":")).encode()
        tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
        headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="application/json", headers=headers)

    return answer


def _text(value: Any, status: int) -> Response:
    return Response(json.dumps(value), status, {"Cache-Control": "no-store"}, "application/json")


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: what is no finite number becomes null."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


async def _page(_request: Request) -> Response:
    return Response((PAGE / "index.html").read_bytes(), media_type="text/html", headers={"Cache-Control": "no-cache"})


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in STATIC:
        return Response(status_code=404)
    content = _content(name)
    tag = f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=TYPES[Path(name).suffix], headers=headers)


@cache
def _content(name: str) -> bytes:
    if name == "plotly.js":
        return (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    if name == "base.css":
        return (files("analysis.report") / "templates" / "report.css").read_bytes()
    return (PAGE / name).read_bytes()
