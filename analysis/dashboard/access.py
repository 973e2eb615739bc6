"""Who may see the pages: this machine's loopback alone, with the token that was printed at the start."""

import hashlib
import hmac
import html
from collections.abc import Awaitable, Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, quote, urlencode

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
"""Names under which a browser may ask; another one means that a foreign page had its name point here."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Plotly sets styles of elements; scripts come from here alone."""


def cookie_name(token: str) -> str:
    """Return the name of the cookie that holds a token.

    A browser sends a cookie to every port of a host: under one name, two dashboards would lock each other out.
    """
    return f"swell-{hashlib.blake2b(token.encode(), digest_size=8).hexdigest()}"


class Guarded:
    """Lets through what only reads, asks for loopback, and has the token; a token in the URL becomes a cookie."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token
        self._cookie = cookie_name(token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no web sockets here
        answer = self._refusal(scope) or self._welcome(scope)
        await (answer or self._app)(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        name = host.rpartition(":")[0] if ":" in host.rpartition("]")[2] else host
        if name not in LOOPBACK:
            return PlainTextResponse("Ask for 127.0.0.1 or localhost: this page is for this machine alone.\n", 421)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("This page changes nothing: only GET and HEAD.\n", 405, {"Allow": "GET, HEAD"})
        if not any(self._fits(token) for token in (_in_cookie(headers, self._cookie), _in_query(scope))):
            return PlainTextResponse("The address needs the token that `swell dashboard` has printed.\n", 403)
        return None

    def _welcome(self, scope: Scope) -> Response | None:
        """Return a page that keeps a token in a cookie and goes on without it; None if it is not in the address.

        A redirect would not do: after a click in a terminal that is itself a web page (JupyterHub's, Open OnDemand's)
        browsers hold back a strict cookie until a page of this server asks.
        """
        if not self._fits(_in_query(scope)):
            return None
        rest = {k: v for k, v in parse_qs(scope["query_string"].decode("latin-1")).items() if k != "token"}
        query = f"?{urlencode(rest, doseq=True)}" if rest else ""
        further = html.escape(f"./{quote(scope['path'].rpartition('/')[2])}{query}")
        head = '<!doctype html><title>swell</title><link rel="icon" href="data:,">'
        page = f'{head}<meta http-equiv="refresh" content="0; url={further}">'
        answer = HTMLResponse(page, headers={"Cache-Control": "no-store"})
        answer.set_cookie(self._cookie, self._token, httponly=True, samesite="strict", path="/")
        return answer

    def _fits(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self._token.encode())


def _in_query(scope: Scope) -> str:
    return parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]


def _in_cookie(headers: Headers, name: str) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _with_headers(send: Send) -> Callable[..., Awaitable[None]]:
    async def sending(message: dict) -> None:
        if message["type"] == "http.response.start":
            message.setdefault("headers", [])
            message["headers"] += [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
        await send(message)

    return sending
