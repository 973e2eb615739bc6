"""A real browser for tests: Debian's chromium without a window, driven by playwright.

It notes what a page prints as errors, what it raises, and everything that it asks for.
"""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from tests.needed import missing

if TYPE_CHECKING:  # tests without a browser do not wait for its import
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

PHONE, DESKTOP = 390, 1440
"""Widths of the window, in pixels, at which every page must be good."""
HEIGHT = 900
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OF_THE_PAGE = ("data:", "blob:", "about:")
"""What such addresses name is in the page itself: nothing leaves it."""
PATIENCE_MS = 60_000


@dataclass
class Visit:
    """A page that is open in the browser, and what it has said, raised and asked for since."""

    page: "Page"
    url: str
    console: list[str] = field(default_factory=list)
    """Errors and warnings that the page, or the browser about the page, has printed."""
    raised: list[str] = field(default_factory=list)
    """Exceptions that no script has caught."""
    requests: list[str] = field(default_factory=list)
    """The address of everything asked for, the page itself included, web sockets too."""

    @property
    def elsewhere(self) -> list[str]:
        """What was asked of anybody but the page's own file, or the page's own server."""
        is_own = self.url.split("#")[0].__eq__ if self.url.startswith("file:") else self._is_of_server
        return [url for url in self.requests if not url.startswith(OF_THE_PAGE) and not is_own(url.split("#")[0])]

    def _is_of_server(self, url: str) -> bool:
        return url.split("/")[2:3] == self.url.split("/")[2:3]

    @property
    def faults(self) -> list[str]:
        """All that must be empty: errors on the console, uncaught exceptions, requests elsewhere."""
        return [*self.console, *self.raised, *(f"asked for {url}" for url in self.elsewhere)]

    def wait_for(self, expression: str) -> None:
        """Wait until an expression of JavaScript is true; playwright's own way needs pages that allow `eval`."""
        until = time.monotonic() + PATIENCE_MS / 1000
        while not self.page.evaluate(expression):
            assert time.monotonic() < until, f"never true: {expression}; {self.faults}"
            self.page.wait_for_timeout(30)

    @property
    def overflow(self) -> int:
        """By how many pixels the page is wider than the window; 0 if nobody has to scroll sideways."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


Visitor = Callable[..., Visit]


@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    """Return a running chromium, one per file of tests: while it runs, its process cannot start an asyncio loop."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        missing("there is no chromium here")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # The pages are our own, and its sandbox does not work for root or in most containers.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: "Browser") -> Iterator[Visitor]:
    """Return a function that opens a file or an address in a fresh profile, `visit(path_or_url, width, scheme="dark")`.

    It returns the Visit once the page has loaded; further arguments are those of playwright's `new_context`.
    """
    with contextlib.ExitStack() as opened:

        def open_page(
            target: Path | str, width: int = DESKTOP, scheme: Literal["light", "dark"] = "light", **options: Any
        ) -> Visit:
            options = {"viewport": {"width": width, "height": HEIGHT}, "color_scheme": scheme} | options
            context = chromium.new_context(**options)
            opened.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(PATIENCE_MS)
            made = Visit(page, target.resolve().as_uri() if isinstance(target, Path) else target)
            _listen(made)
            page.goto(made.url)
            return made

        yield open_page


def _listen(visit: Visit) -> None:
    def printed(message: "ConsoleMessage") -> None:
        if message.type in ("error", "warning"):
            visit.console.append(f"{message.type}: {message.text}")

    def asked(request: "Request") -> None:
        visit.requests.append(request.url)

    visit.page.on("console", printed)
    visit.page.on("pageerror", lambda error: visit.raised.append(str(error)))
    visit.page.on("request", asked)
    visit.page.on("websocket", lambda socket: visit.requests.append(socket.url))
