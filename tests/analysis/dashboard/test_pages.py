"""The dashboard in a real browser, served as people serve it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.analysis.odd_searches import make_odd
from tests.browser import DESKTOP, PHONE, chromium, visit  # noqa: F401 - fixtures
from tests.conftest import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def serve(searches):
    """Return a function that serves `swell dashboard` with arguments; returns its first lines and the address."""
    started = []

    def start(*arguments):
        command = [sys.executable, "-u", "-P", "-m", "swell", "dashboard", *arguments]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "COLUMNS": "200"},
            cwd=ROOT,
        )
        started.append(process)
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        said = "".join(lines)
        return process, said, re.search(r"http://127\S+token=\S+", said)[0]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_a_search_is_shown_and_follows_its_files(serve, visit, tmp_path, width):  # noqa: F811
    paths = make_odd("running", tmp_path)
    make_odd("all_crashed", tmp_path)
    _, said, address = serve(paths.name)
    assert re.search(r"ssh -L (\d+):127.0.0.1:\1 ", said)
    seen = visit(address, width)
    page = seen.page
    page.wait_for_selector("[data-best] tr, [data-failures] p")
    assert "token" not in page.url
    assert page.text_content("h1") == paths.name
    page.wait_for_selector(".plot .main-svg")
    before = page.text_content("[data-counts]")
    paths.status.write_text(paths.status.read_text().replace('"outcomes": {', '"outcomes": {"crashed": 7, ', 1)) if (
        paths.status.exists()
    ) else paths.status.write_text('{"outcomes": {"crashed": 7}, "running": []}')
    page.wait_for_function("before => document.querySelector('[data-counts]').textContent !== before", arg=before)
    assert "7 crashed" in page.text_content("[data-counts]")
    page.click("#home")
    page.wait_for_selector("[data-rows] tr")
    assert len(page.query_selector_all("[data-rows] tr")) == 2
    assert seen.overflow == 0
    assert seen.faults == []


def test_whichever_comes_first_curves_have_their_names_and_no_table_is_empty(serve, visit, tmp_path):  # noqa: F811
    shown = make_odd("running", tmp_path)
    _, _, address = serve()
    seen, held = visit(address), []
    page = seen.page
    page.wait_for_selector("[data-rows] a")
    # How far it is comes after its study.
    page.route(f"**/api/searches/{shown.name}", lambda route: route.continue_() if held else held.append(route))
    page.click("[data-rows] a")
    page.wait_for_selector("[data-course] .ytitle")
    assert page.text_content("[data-course] .ytitle") == "val_error"
    assert page.text_content("[data-counts]") == ""
    held[0].continue_()
    seen.wait_for("document.querySelector('[data-counts]').textContent !== ''")
    assert page.text_content("[data-run-note]") == "No trial runs now."
    tables = "[...document.querySelectorAll('main table')].filter(one => one.checkVisibility())"
    assert page.evaluate(f"{tables}.map(one => one.tBodies[0].rows.length)") == [2]  # the best trials alone
    assert seen.faults == []


def test_what_methods_say_is_shown_as_text(serve, visit, tmp_path):  # noqa: F811
    paths = make_odd("all_crashed", tmp_path)
    _, _, address = serve(paths.name)
    seen = visit(address)
    seen.page.wait_for_selector(".failure")
    assert "</script>" in seen.page.text_content("[data-failures]")
    assert seen.page.query_selector("[data-failures] b") is None
    assert seen.faults == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_it_ends_without_a_traceback_and_takes_optunas_page_along(serve, tmp_path, how):
    import psutil

    paths = make_odd("repeated", tmp_path)
    before = paths.journal.read_bytes()
    process, said, _ = serve(paths.name, "--optuna")
    optuna = re.search(r"on a copy of the study: http://127.0.0.1:(\d+)/", said)[1]
    assert re.search(rf"ssh -L (\d+):127.0.0.1:\1 -L {optuna}:127.0.0.1:{optuna} ", said)
    children = psutil.Process(process.pid).children(recursive=True)
    copies = [Path(word) for child in children for word in child.cmdline() if word.endswith("study.journal")]
    assert copies
    process.send_signal(how)
    rest, _ = process.communicate(timeout=600)
    assert (process.returncode, rest) == (-how if how == signal.SIGKILL else 0, "")
    psutil.wait_procs(children, timeout=60)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    assert not any(copy.parent.exists() for copy in copies)
    assert paths.journal.read_bytes() == before


def test_a_link_on_another_sites_page_opens_it(serve, visit, tmp_path):  # noqa: F811
    """Terminals that are web pages show the address as a link; strict cookies stay at home on the way from there."""
    make_odd("repeated", tmp_path)
    _, _, address = serve()
    _, _, other = serve()
    page = visit(other.replace("127.0.0.1", "localhost")).page
    page.wait_for_selector("[data-rows] a")
    page.evaluate(
        "address => { const a = document.createElement('a'); a.id = 'way'; a.href = address; a.textContent = 'way';"
        " document.body.append(a); }",
        address,
    )
    page.click("#way")
    page.wait_for_url(address.partition("?")[0])
    page.wait_for_selector("[data-rows] a")


def test_a_keyboard_reaches_the_content_and_keeps_its_place(serve, visit, tmp_path):  # noqa: F811
    shown, other = make_odd("repeated", tmp_path), make_odd("all_crashed", tmp_path)
    _, _, address = serve(shown.name, "--optuna")
    page = visit(address).page
    page.wait_for_selector("[data-failures] p")
    assert page.query_selector("[data-optuna] a")
    assert page.text_content("[data-course-note]") == "Of single trials, not of the means over seeds."
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    assert page.text_content("h1") == shown.name
    page.evaluate("name => { location.hash = name; }", other.name)
    page.wait_for_selector("[data-failures] .failure")
    assert page.query_selector("[data-optuna] a") is None  # it is of the first search alone
    page.click("#home")
    page.focus(f"[data-rows] a[href='#{other.name}']")
    page.evaluate("document.activeElement.dataset.old = 'yes'")
    other.status.write_text('{"outcomes": {"crashed": 7}, "running": []}')
    page.wait_for_selector(f"[data-rows] a[href='#{other.name}']:not([data-old])")
    assert page.evaluate("document.activeElement.getAttribute('href')") == f"#{other.name}"
    assert page.text_content("#said") == ""


def test_a_taken_port_is_said(serve, tmp_path):
    make_odd("repeated", tmp_path)
    _, _, address = serve()
    port = re.search(r":(\d+)/", address)[1]
    command = [sys.executable, "-P", "-m", "swell", "dashboard", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr == f"--port {port}: Address already in use; without it a free one is taken\n"
