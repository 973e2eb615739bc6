"""The report as a file: what it says of every search, and that what searches say cannot become part of the page."""

import base64
import gzip
import html
import json
import math
import re
from itertools import pairwise
from types import SimpleNamespace

import pandas as pd
import pytest

import analysis
from analysis.drawing.figure import Figure
from analysis.kept_evaluations import Kept, keep
from analysis.report.command import report_command
from analysis.report.packing import Script, packed, packed_json, policy
from analysis.report.tables import table_of, text_of
from analysis.report.trials import POINTS, curves, trial_data
from analysis.report.write import ReportError, write_report
from cluster.state.outcomes import Outcome
from tests.analysis.odd_searches import HOSTILE
from tests.searching import WIDE, result

SECTIONS = (
    "What was asked, and what came out", "The best trials", "What mattered", "Failures", "Figures", "Cost",
    "Spec, provenance, versions",
)  # fmt: skip
EVIL = "<b>set & more"
NAME = "</script><img src=x onerror=alert(1)>\u2028&amp;\x1b[31m\u202e"


def unpacked(page, name):
    """Return packed data of a page."""
    found = re.search(rf'<script type="text/plain" id="{name}">([A-Za-z0-9+/=]*)</script>', page)
    return gzip.decompress(base64.b64decode(found[1])).decode()


def page_of(tmp_path, *paths):
    path, troubles = write_report([analysis.load(str(one.root)) for one in paths], tmp_path / "r.html")
    assert troubles == []
    return path.read_text(encoding="utf-8")


def visible_text(page):
    body = page[page.index("<main") : page.index("</main>")]
    return html.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<script.*?</script>", "", body, flags=re.DOTALL)))


@pytest.mark.slow
def test_every_odd_search_gets_a_report_with_all_its_sections_in_order(odd_search, tmp_path):
    page = page_of(tmp_path, odd_search)
    places = [page.index(f">{title}</h2>") for title in SECTIONS]
    assert places == sorted(places)
    text = visible_text(page)
    assert not re.search(r"\b(nan|None|NaT|<NA>|Traceback \(most)\b", text.split("Spec, provenance")[0])
    data = json.loads(unpacked(page, "data-0"))
    found = analysis.load(str(odd_search.root))
    assert data["best"] == (None if found.completed.empty else found.completed["trial"].iloc[0])
    assert ("No trial has begun yet." in text) == found.trials.empty


def test_what_searches_say_is_text_and_nothing_of_it_becomes_the_pages(make_search, tmp_path):
    search = make_search(space={**WIDE, "shift": {"choices": {NAME: 1.0, f"{NAME}2": 2.0}}}, budget={"trials": 4})
    study = search.open()
    for place in range(4):
        assigned = study.ask()
        if place % 2:
            study.tell(assigned.number, Outcome.COMPLETED, result(val_error=1.0, **{NAME: 2.0}))
        else:
            study.tell(assigned.number, Outcome.CRASHED, {"error": f"E: {HOSTILE}", "seconds": 1.0, "metrics": {}})
    page = page_of(tmp_path, search.paths)
    assert "</script><img" not in page
    assert "</script><b>" not in page
    assert not set("\u2028\x1b\u202e") & set(page)
    assert "onerror=alert(1)&gt;" in page
    assert page.count("<script") == page.count("</script>")
    data = json.loads(unpacked(page, "data-0"))
    columns = {column["name"]: column["values"] for column in data["columns"]}
    seen = NAME.replace("\u2028", "\\u2028").replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")
    assert seen in columns
    assert set(columns["shift"]) <= {seen, f"{seen}2"}
    assert all("</script><b>[bold]\\x1b" in why for why in data["failures"].values())


def test_the_page_lets_no_script_run_but_its_own_and_asks_nothing_of_anybody(make_search, tmp_path):
    search = make_search(budget={"trials": 2})
    search.run(lambda config: {"val_error": config["shift"]})
    page = page_of(tmp_path, search.paths)
    allowed = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1])
    parts = dict(part.split(" ", 1) for part in allowed.split("; "))
    assert parts["default-src"] == "'none'"
    assert "unsafe" not in parts["script-src"]
    running = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    libraries = [unpacked(page, f"library-{name}") for name in ("datatables", "plotly")]
    assert parts["script-src"].split() == [Script(code).source for code in (*running, *libraries)]
    assert not re.search(r'(?:src|href)="(?!#|data:)', page)


@pytest.mark.slow
def test_a_report_is_the_same_twice_and_names_no_password(make_search, tmp_path):
    search = make_search(budget={"trials": 2})
    search.run(lambda config: {"val_error": config["shift"]})
    search.paths.spec_source.write_text("storage: postgresql://me:geheim@db/swell\n")
    first, second = page_of(tmp_path, search.paths), page_of(tmp_path, search.paths)
    stamp = re.compile(r"Written [\d: -]+UTC")
    assert stamp.sub("", first) == stamp.sub("", second)
    assert "geheim" not in first
    assert "postgresql://me:***@db/swell" in first


def test_what_models_gave_on_further_sets_is_there_trials_by_sets_by_statistics(make_search, tmp_path):
    search, bare = make_search(name="applied", budget={"trials": 3}), make_search(name="bare", budget={"trials": 1})
    for one in (search, bare):
        one.run(lambda config: {"val_error": abs(config["shift"])})
    best, _, third = map(int, analysis.load("applied").completed["trial"])
    for trial, on, mean in ((third, "a.npz", 3.0), (best, "a.npz", 1.5), (best, EVIL, 2.5), (best, "other/a.npz", 9.0)):
        keep(search.paths, Kept(trial, on, "key", {"error_mean": mean, "error_std": 0.25, "error_max": math.inf}, {}))
    page = page_of(tmp_path, search.paths, bare.paths)
    part = page[page.index('id="s0-evaluated"') : page.index('id="s0-failures"')]
    means, spreads = re.findall(r"<table>.*?</table>", part, re.DOTALL)
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in means.split("<tr>")[1:]]
    named = dict(zip(rows[0], zip(*rows[1:], strict=True), strict=True))
    assert named == {
        "trial": (str(best), str(third)),
        html.escape(EVIL): ("2.5", ""), "a.npz": ("1.5", "3"), "other/a.npz": ("9", ""),
    }  # fmt: skip
    assert "error_std of each trial" in spreads
    text = visible_text(part.join(["<main", "</main>"]))
    assert "Models of 2 trials were applied to 3 test sets by swell evaluate: " in text
    assert EVIL in text
    assert len(unpacked(page, "s0-evaluated-csv").splitlines()) == 1 + 4
    assert page.count('<a href="#s0-evaluated">Further test sets</a>') == 1
    assert 'href="#s1-evaluated"' not in page
    assert 'id="s1-evaluated' not in page


def test_figures_of_what_mattered_are_beside_their_tables(tmp_path):
    rows = [(n, step, "ab"[n % 2], n % 3 + 3 / step) for n in range(12) for step in (10, 20)]
    runs = pd.DataFrame(rows, columns=["trial", "step", "head", "error"])
    found = analysis.from_csv(runs, objective="error", parameters=["head"], name="runs")
    found.trials.loc[found.trials["trial"] == 11, "outcome"] = "pruned"
    found.trials["cpu_time_s"] = 3600.0
    page = analysis.write_report(found, tmp_path / "r.html").read_text()
    mattered = page[page.index('id="s0-mattered"') : page.index('id="s0-failures"')]
    for name, caption in (("importance", "How important each factor is"), ("rank_stability", "How the ranks at each")):
        assert mattered.index(f"<caption>{caption}") < mattered.index(f'<figure class="figure" id="s0-{name}"')
        assert len(unpacked(page, f"s0-{name}-csv").splitlines()) > 1
    assert "of them then ahead of the best" in mattered
    figures = page[page.index('id="s0-figures"') : page.index('id="s0-cost"')]
    assert "Best so far" in figures
    assert "Importance of each factor" not in figures
    assert "Early ranks and final ones" not in figures


@pytest.mark.slow
def test_several_searches_have_a_section_each_and_one_joint_table(make_search, tmp_path):
    one, other = make_search(name="one", budget={"trials": 3}), make_search(name="other", budget={"trials": 2})
    for search in (one, other):
        search.run(lambda config: {"val_error": abs(config["shift"])})
    page = page_of(tmp_path, one.paths, other.paths)
    assert re.findall(r'<h2 class="search" id="s(\d)">(\w+)</h2>', page) == [("0", "one"), ("1", "other")]
    assert 'data-searches="0 1"' in page
    assert len(set(re.findall(r'\bid="([^"]+)"', page))) == len(re.findall(r'\bid="([^"]+)"', page))
    assert [len(json.loads(unpacked(page, f"data-{n}"))["columns"][0]["values"]) for n in (0, 1)] == [3, 2]


def test_a_search_from_elsewhere_has_a_report_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [f"{1 / rate},{rate},{head}" for rate in (0.1, 0.2, 0.4) for head in ("a", "b")]
    (tmp_path / "runs.csv").write_text("\n".join(["loss,rate,head", *rows]) + "\n")
    found = analysis.from_csv(tmp_path / "runs.csv", objective="loss", parameters=["rate", "head"])
    path = analysis.write_report(found)
    assert path.resolve() == tmp_path / "report.html"
    text = visible_text(path.read_text(encoding="utf-8"))
    assert "6 trials: 6 completed" in text
    assert "no spec of ours belongs to them" in text
    assert "rate = 0.4" in text


@pytest.mark.slow
def test_headings_step_down_one_level_at_a_time(make_search, tmp_path):
    search = make_search(budget={"trials": 3})
    search.run(lambda config: {"val_error": abs(config["shift"])})
    for paths in ([search.paths], [search.paths, make_search(name="other").paths]):
        levels = [int(level) for level in re.findall(r"<h([1-6])", page_of(tmp_path, *paths))]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))


def test_a_part_that_fails_is_named_and_the_rest_is_there(make_search, tmp_path, monkeypatch):
    search = make_search(budget={"trials": 3})
    search.run(lambda config: {"val_error": abs(config["shift"])})
    own = SimpleNamespace(name="own", TITLE="Own", SENTENCE="A figure of the user's.", info=lambda *_: 1 / 0)
    monkeypatch.setattr("analysis.drawing.discovery.find_figures", lambda search: [Figure("own", own)])
    monkeypatch.setattr("analysis.report.gather.compare", lambda search: {}["nothing"])
    path, troubles = write_report([analysis.load(str(search.paths.root))], tmp_path / "r.html")
    assert troubles == [
        "try: What mattered could not be computed: KeyError: 'nothing'",
        "try: The figure own could not be drawn: ZeroDivisionError: division by zero",
    ]
    text = visible_text(path.read_text(encoding="utf-8"))
    assert all(trouble.removeprefix("try: ") in text for trouble in troubles)
    assert "The best trial is" in text


@pytest.mark.parametrize("found", [True, False])
def test_the_command_says_where_the_report_is_and_opens_it(make_search, monkeypatch, capsys, found):
    paths, opened = make_search().paths, []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or found)
    assert report_command(["try", "try"], None, is_opened=True) == (0 if found else 1)
    assert opened == [paths.report.as_uri()]
    said = capsys.readouterr()
    assert f"report: {paths.report}" in said.out
    assert ("no browser was found" in said.err) is not found


def test_where_it_cannot_be_written_one_message_says_so(make_search, tmp_path):
    search = analysis.load(str(make_search().paths.root))
    with pytest.raises(ReportError, match="is a folder; give the report a file"):
        write_report([search], tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ReportError, match=r"cannot be written .*choose another file with -o"):
        write_report([search], tmp_path / "file" / "r.html")


def test_one_searchs_report_lies_in_its_directory_and_that_of_several_here(make_search, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, other = (analysis.load(str(make_search(name=name).paths.root)) for name in ("one", "other"))
    assert write_report([one])[0] == one.paths.report
    assert write_report([one, other])[0].resolve() == tmp_path / "report.html"


def test_columns_keep_what_they_are_and_eight_digits(make_search):
    search = make_search(space={**WIDE, "size": [2, 3]}, budget={"trials": 2})
    search.run(lambda config: {"val_error": 1 / 3 if config["shift"] < 0 else float("inf")})
    data = trial_data(analysis.load(str(search.paths.root)), {1: "why"})
    columns = {column["name"]: column for column in data["columns"]}
    assert columns["val_error"]["isNumber"]
    assert set(columns["val_error"]["values"]) <= {0.33333333, "inf"}
    assert columns["size"]["isConfig"]
    assert columns["size"]["isSeen"]
    assert not columns["outcome"]["isNumber"]
    assert data["failures"] == {"1": "why"}
    assert [column["name"] for column in data["columns"]][:4] == ["rank", "trial", "outcome", "val_error"]


def test_curves_that_are_too_long_keep_their_first_and_last_report(make_search):
    search = make_search(budget={"trials": 1})
    search.run(lambda config: {"val_error": 1.0})
    reports = [
        {"trial": 0, "step": step, "seconds": 0.1, "metrics": {"val_error": 1 / step, "name": step % 7}}
        for step in range(1, 1001)
    ]
    search.paths.history(1).write_text("".join(json.dumps(report) + "\n" for report in reports))
    found = curves(analysis.load(str(search.paths.root)))
    steps, errors, names = found["trials"]["0"]
    assert found["metrics"] == ["val_error", "name"]
    assert found["isThinned"]
    assert len(steps) == len(errors) == len(names) == found["points"] == POINTS[1]
    assert (steps[0], steps[-1]) == (1, 1000)
    assert errors == [float(f"{1 / step:.4g}") for step in steps]


def test_packed_data_is_whole_and_has_no_sign_that_html_knows():
    text = NAME * 100
    assert re.fullmatch(r"[A-Za-z0-9+/=]+", packed(text))
    assert gzip.decompress(base64.b64decode(packed(text))).decode() == text
    assert packed("\ud800").isascii()
    with pytest.raises(ValueError, match="not JSON compliant"):
        packed_json({"a": float("nan")})


def test_the_policy_names_the_hash_of_a_script():
    # echo -n 'alert(1)' | openssl dgst -sha256 -binary | base64
    assert "script-src 'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='" in policy([Script("alert(1)")])


def test_values_are_read_as_people_write_them():
    import pandas as pd

    frame = pd.DataFrame({"level": ["a", "b"], "failed_share": [0.25, float("nan")], "best_trial": [3, pd.NA]})
    table = table_of(frame, "c", bars=("failed_share",))
    assert table.head == ("level", "failed share", "best_trial")
    assert table.numeric == (False, True, True)
    assert [cell.text for cell in table.rows[0]] == ["a", "25%", "3"]
    assert [cell.text for cell in table.rows[1]] == ["b", "", ""]
    assert table.rows[0][1].share == 0.25
    assert [*map(text_of, (True, None, 0.000123456, (1, 2.5)))] == ["yes", "", "0.0001235", "1, 2.5"]
