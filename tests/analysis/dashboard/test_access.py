"""Who may see the dashboard, and that it only reads."""

import pytest
from starlette.testclient import TestClient

from analysis.dashboard.access import cookie_name
from analysis.dashboard.app import make_app
from tests.analysis.odd_searches import HOSTILE, ODD, make_odd

TOKEN = "a-token-of-a-test"
API = "/api/searches"


@pytest.fixture
def client(searches):
    searches.mkdir(exist_ok=True)
    with TestClient(make_app(searches, TOKEN), base_url="http://127.0.0.1:8000", follow_redirects=False) as made:
        yield made


@pytest.fixture
def known(client):
    client.cookies.set(cookie_name(TOKEN), TOKEN)
    return client


@pytest.mark.parametrize("path", ["/", API, "/static/dashboard.js", "/static/plotly.js"])
def test_nothing_is_shown_without_the_token(client, path):
    for query in ("", "?token=", "?token=a-token-of-a-tes", "?token=ä"):
        assert client.get(path + query).status_code == 403
    client.cookies.set(cookie_name(TOKEN), "another")
    assert client.get(path).status_code == 403


def test_the_token_leaves_the_address_for_a_cookie(client):
    answer = client.get(f"/?token={TOKEN}")
    assert answer.status_code == 200
    assert 'content="0; url=./"' in answer.text
    assert TOKEN not in answer.text
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/").status_code == 200


def test_what_else_an_address_says_stays_and_is_no_markup(client):
    answer = client.get(f'/x"><script>?a="><b>&token={TOKEN}')
    assert 'url=./x%22%3E%3Cscript%3E?a=%22%3E%3Cb%3E"' in answer.text
    assert "<b>" not in answer.text


def test_two_dashboards_of_one_browser_keep_their_cookies_apart(client, searches):
    client.get(f"/?token={TOKEN}")
    with TestClient(make_app(searches, "another"), base_url="http://127.0.0.1:8001", cookies=client.cookies) as second:
        assert second.get("/").status_code == 403
        second.get("/?token=another")
        client.cookies = second.cookies  # a browser has one jar for all ports of a host
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8000", "", "[::2]:80"])
def test_a_foreign_name_that_points_here_is_refused(known, host):
    assert known.get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9", "[::1]:80", "127.0.0.1:1"])
def test_any_local_port_will_do(known, host):
    assert known.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_only_reads(known, method):
    assert known.request(method, API).status_code == 405


def test_pages_let_no_other_origin_in(known):
    headers = known.get("/").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "'unsafe-inline'" not in headers["content-security-policy"].split("script-src")[1].split(";")[0]
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["..%2f..%2fetc", "index.html", "access.py"])
def test_only_the_files_of_the_page_are_served(known, name):
    assert known.get(f"/static/{name}").status_code == 404


@pytest.mark.parametrize("state", list(ODD))
def test_every_odd_search_is_shown(known, tmp_path, state):
    name = make_odd(state, tmp_path).name
    (row,) = [row for row in known.get(API).json() if row["name"] == name]
    assert row["state"]
    for part in ("", "/study"):
        answer = known.get(f"{API}/{name}{part}")
        assert answer.status_code in (200, 503)
        assert answer.status_code == 200 or answer.json()["error"]


def test_an_unchanged_answer_is_not_sent_again(known, tmp_path):
    name = make_odd("repeated", tmp_path).name
    for path in (f"{API}/{name}/study", "/static/base.css"):
        first = known.get(path)
        again = known.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (first.status_code, again.status_code, again.content) == (200, 304, b"")


def test_a_search_that_goes_is_no_error(known, tmp_path):
    import shutil

    paths = make_odd("repeated", tmp_path)
    assert known.get(f"{API}/{paths.name}").status_code == 200
    shutil.rmtree(paths.root)
    answer = known.get(f"{API}/{paths.name}")
    assert (answer.status_code, answer.json()) == (404, {"error": "there is no such search any more"})
    assert known.get(API).json() == []


def test_what_methods_say_is_data(known, tmp_path):
    name = make_odd("all_crashed", tmp_path).name
    answer = known.get(f"{API}/{name}/study")
    assert answer.headers["content-type"] == "application/json"
    said = " ".join(group["what"] for group in answer.json()["failures"])
    assert HOSTILE.splitlines()[0] in said or "</script>" in said
