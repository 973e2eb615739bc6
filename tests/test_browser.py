"""The browser of the tests: a page at fault is seen to be."""

import pytest

from tests.browser import DESKTOP, PHONE

ELSEWHERE = "http://127.0.0.1:9/away.js"  # nobody listens there


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_a_good_page_has_no_faults_and_the_width_asked_for(visit, tmp_path, width):
    page = tmp_path / "good.html"
    page.write_text("<!doctype html><title>t</title><p>good<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>")
    seen = visit(page, width, "dark")
    assert seen.page.evaluate("innerWidth") == width
    assert seen.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert seen.requests[0] == page.as_uri()
    assert seen.faults == []
    assert seen.overflow == 0


def test_errors_exceptions_requests_and_overflow_are_seen(visit, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text(
        f"<!doctype html><title>t</title><div style='width:1500px'>wide</div><script src='{ELSEWHERE}'></script>"
        "<script>console.error('said'); throw new Error('raised')</script>"
    )
    seen = visit(page)
    assert any("said" in text for text in seen.console)
    assert any("raised" in text for text in seen.raised)
    assert seen.elsewhere == [ELSEWHERE]
    assert len(seen.faults) >= 3
    assert seen.overflow > 0


def test_what_the_page_forbids_itself_is_seen_although_nothing_leaves(visit, tmp_path):
    page = tmp_path / "strict.html"
    page.write_text(
        """<!doctype html><title>t</title><meta http-equiv="Content-Security-Policy" content="default-src 'none'">"""
        f"<script src='{ELSEWHERE}'></script>"
    )
    assert any("Content Security Policy" in text for text in visit(page).faults)
