"""The report in a real browser, as wide as a phone's and a desktop's: what a reader sees, sorts, filters and opens."""

import csv
import io
import json

import pytest

import analysis
from analysis.report.write import write_report
from cluster.state.outcomes import Outcome
from tests.analysis.odd_searches import HOSTILE
from tests.browser import DESKTOP, PHONE
from tests.searching import WIDE, Search, make_spec, result

pytestmark = pytest.mark.slow

WIDTHS = pytest.mark.parametrize("width", [PHONE, DESKTOP])
EVIL = "</script><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>&amp;"
NUM, STEPS = 24, (10, 20, 30)


def make(folder, name):
    """Make a search of 24 trials with curves, failures, and texts that a page must not believe."""
    space = {**WIDE, "shift": {"choices": {EVIL: 0.5, "plain": -1.0}}, "size": [2, 3]}
    search = Search(make_spec(name=name, space=space, budget={"trials": NUM}), folder)
    study, lines = search.open(), []
    while assigned := study.ask():
        error = abs(assigned.config["shift"]) + assigned.config["learning_rate"]
        for step in STEPS:
            metrics = {"val_error": error * 30 / step, "train_loss": 1 / step}
            lines.append({"trial": assigned.number, "step": step, "seconds": step / 10, "metrics": metrics})
        if assigned.number % 6 == 5:
            told = {"error": f"ValueError: {HOSTILE}", "seconds": 1.0, "step": 20, "metrics": {}}
            study.tell(assigned.number, Outcome.CRASHED, told)
        else:
            study.tell(assigned.number, Outcome.COMPLETED, result(val_error=error, train_loss=1 / 30))
    search.paths.history(1).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return search.paths


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return the file of a report of one search, and that of two."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWELL_ROOT", str(folder / "searches"))
        searches = [analysis.load(str(make(folder, name).root)) for name in ("one", "other")]
    one, one_troubles = write_report(searches[:1], folder / "one.html")
    both, both_troubles = write_report(searches, folder / "both.html")
    assert one_troubles == both_troubles == []
    return one, both


def read_through(seen):
    """Bring everything into view that is made only then, until it has been made."""
    for unmade in (".trials:not(.is-ready)", ".figures .live:not(.is-drawn)"):
        seen.wait_for(f"{{ const one = document.querySelector('{unmade}'); one?.scrollIntoView(); !one; }}")


def column(page, name):
    """Return a column of the table of all trials, as it is shown."""
    heads = [text.strip() for text in page.locator("table.all thead th").all_inner_texts()]
    return page.locator(f"table.all tbody td:nth-child({heads.index(name) + 1})").all_inner_texts()


def table_of(visit, file, width=DESKTOP):
    seen = visit(file, width)
    seen.page.locator(".trials").first.scroll_into_view_if_needed()
    seen.wait_for("document.querySelector('.trials').classList.contains('is-ready')")
    seen.page.locator(".dt-length select").first.select_option("100")
    return seen


@pytest.mark.parametrize(("width", "scheme"), [(PHONE, "dark"), (DESKTOP, "light")])
@pytest.mark.parametrize("which", [0, 1])
def test_the_page_is_whole_and_asks_nothing_of_anybody(visit, files, width, scheme, which):
    seen = visit(files[which], width, scheme)
    read_through(seen)
    assert seen.faults == []
    assert seen.overflow == 0
    assert "owned" not in seen.page.title()
    figures = seen.page.locator(".figures .figure").all()
    assert len(figures) >= 1 + which
    for figure in figures:
        box = figure.locator("svg:visible").first.bounding_box()
        assert box["width"] > 0.6 * min(width, 600)
        assert box["height"] > 100


@WIDTHS
def test_a_click_on_a_head_sorts_and_what_is_missing_comes_last(visit, files, width):
    seen = table_of(visit, files[0], width)
    head = seen.page.locator("table.all thead th", has_text="val_error")
    for direction, sign in (("ascending", 1), ("descending", -1)):
        head.click()
        seen.page.locator(f"table.all thead th[aria-sort={direction}]", has_text="val_error").wait_for()
        values = column(seen.page, "val_error")
        numbers = [float(value) for value in values if value]
        assert len(values) == NUM
        assert numbers == sorted(numbers, key=lambda value: sign * value)
        assert values == [*filter(None, values), *[""] * values.count("")]
        assert values.count("") == NUM // 6
    assert seen.faults == []


def test_the_keyboard_sorts_opens_a_trial_and_comes_back_to_where_it_was(visit, files):
    page = table_of(visit, files[0]).page
    page.locator("table.all thead th", has_text="learning_rate").locator("[tabindex='0']").first.focus()
    page.keyboard.press("Enter")
    page.locator("table.all thead th[aria-sort=ascending]", has_text="learning_rate").wait_for()
    values = [float(value) for value in column(page, "learning_rate")]
    assert values == sorted(values)
    button = page.locator("table.all tbody button").nth(2)
    button.focus()
    page.keyboard.press("Enter")
    page.locator("dialog[open]").wait_for()
    assert page.evaluate("document.activeElement.closest('dialog') !== null")
    page.keyboard.press("Escape")
    page.locator("dialog[open]").wait_for(state="detached")
    assert page.evaluate("document.activeElement.textContent") == button.inner_text()


@WIDTHS
def test_rows_are_searched_and_filtered_by_column(visit, files, width):
    seen = table_of(visit, files[0], width)
    page = seen.page
    page.get_by_label("Search in all columns").fill("crashed")
    assert set(column(page, "outcome")) == {"crashed"}
    assert "1 to 4 of 4 trials" in page.locator(".dt-info").inner_text()
    page.get_by_label("Search in all columns").fill("")
    page.get_by_text("Filter by column").click()
    page.get_by_label("Filter shift").select_option("plain")
    assert set(column(page, "shift")) == {"plain"}
    page.get_by_label("Filter val_error to").fill("1.3")
    found = column(page, "val_error")
    assert found
    assert all(float(value) <= 1.3 for value in found)
    page.get_by_label("Filter val_error to").fill("-1")
    assert "No trial fits" in page.locator("table.all tbody").inner_text()
    page.get_by_text("Choose columns").click()
    page.get_by_label("wall_time_s", exact=True).uncheck()
    assert "wall_time_s" not in page.locator("table.all thead").inner_text()
    assert seen.faults == []


@WIDTHS
def test_a_click_on_a_trial_shows_how_it_differs_from_the_best_its_error_and_its_curves(visit, files, width):
    seen = table_of(visit, files[0], width)
    page = seen.page
    best = column(page, "trial")[0]
    page.locator("table.all tbody tr", has_text="crashed").first.click()
    dialog = page.locator("dialog[open]")
    dialog.locator(".charts .main-svg").first.wait_for()
    text = dialog.inner_text()
    assert "Trial 5 of one" in text
    assert "</script><b>[bold]\\x1b[31m" in text
    rows = dialog.locator("table").first.locator("tr").all_inner_texts()
    assert f"trial {best} (best)" in rows[0]
    fields = {row.split("\t")[0] for row in rows[1:]}
    assert {"learning_rate"} <= fields <= {"shift", "learning_rate", "size"}
    assert dialog.locator(".charts > div").count() == 2
    assert dialog.evaluate("one => one.scrollWidth <= one.clientWidth")
    page.keyboard.press("Escape")
    page.locator("table.best button").first.click()
    assert f"Trial {best} of one" in page.locator("dialog[open]").inner_text()
    assert seen.faults == []


def test_the_joint_table_has_the_trials_of_all_searches_and_opens_the_right_one(visit, files):
    page = table_of(visit, files[1]).page
    joint = page.locator("#trials-joint")
    assert f"of {2 * NUM} trials" in joint.locator(".dt-info").inner_text()
    joint.get_by_label("Search in all columns").fill("other")
    joint.locator("tbody tr").first.click()
    assert " of other" in page.locator("dialog[open] h2").inner_text()


def test_data_are_saved_from_the_page_itself(visit, files, tmp_path):
    seen = table_of(visit, files[0])
    with seen.page.expect_download() as trials:
        seen.page.get_by_text("These rows as CSV").click()
    trials.value.save_as(tmp_path / "trials.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "trials.csv").read_text())))
    assert len(rows) == NUM
    assert {row["shift"] for row in rows} == {EVIL, "plain"}
    button = seen.page.locator("button.download").first
    with seen.page.expect_download() as data:
        button.click()
    assert data.value.suggested_filename.endswith(".csv")
    data.value.save_as(tmp_path / "data.csv")
    count = len(list(csv.reader(io.StringIO((tmp_path / "data.csv").read_text())))) - 1
    assert f"({count} row" in button.inner_text()
    assert seen.faults == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_that_readers_need(visit, files, scheme):
    seen = visit(files[0], DESKTOP, scheme)
    read_through(seen)
    assert seen.page.evaluate(CONTRAST) == []


CONTRAST = """() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const weights = [0.2126, 0.7152, 0.0722];
  const luminance = (rgb) => weights.reduce((sum, weight, at) => sum + weight * linear(rgb[at] / 255), 0);
  const ground = (one) => {
    for (; one; one = one.parentElement) {
      const rgb = numbers(getComputedStyle(one).backgroundColor);
      if (rgb.length < 4 || rgb[3] > 0) return rgb;
    }
    return [255, 255, 255];
  };
  const texts = "main p, main li, main td, main th, caption, summary, label, button, a, dt, dd, pre, h1, h2, h3";
  const poor = new Set();
  for (const one of document.querySelectorAll(texts)) {
    if (!one.textContent.trim() || one.getAttribute("aria-disabled") || !one.checkVisibility()) continue;
    const [a, b] = [luminance(numbers(getComputedStyle(one).color)), luminance(ground(one))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.add(`${one.tagName} ${one.className} ${ratio.toFixed(2)}`);
  }
  return [...poor];
}"""


def test_on_paper_there_are_drawings_and_all_that_is_folded_and_no_controls(visit, files):
    seen = visit(files[0])
    read_through(seen)
    page = seen.page
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("nav:visible, .tools:visible, figcaption button:visible").count() == 0
    assert page.locator(".static:visible").count() >= 1
    assert page.locator(".live:visible").count() == 0
    assert page.locator("details:not([open]):visible").count() == 0


def test_without_scripts_all_but_the_table_of_all_trials_can_be_read(visit, files):
    page = visit(files[0], java_script_enabled=False).page
    assert "The best trial is" in page.locator("main").inner_text()
    assert page.locator(".static svg:visible").count() >= 1
    assert "needs JavaScript" in page.locator(".trials").inner_text()


def test_screen_readers_find_landmarks_names_and_heads(visit, files):
    page = table_of(visit, files[0]).page
    for landmark in ("main", "header", "footer", "nav[aria-label]"):
        assert page.locator(f"body > {landmark}").count() == 1
    assert page.locator("html[lang='en']").count() == 1
    name = "document.getElementById(one.getAttribute('aria-labelledby'))"
    assert page.evaluate(f"[...document.querySelectorAll('section')].every(one => {name})")
    assert page.locator("main table:not(.all):not(:has(caption))").count() == 0
    assert page.locator("main thead th:not([scope]):not(.all th)").count() == 0
    figures = page.locator(".figure [role=img]").all()
    assert figures
    assert all(len(one.get_attribute("aria-label")) > 20 for one in figures)
    controls = "[...document.querySelectorAll('button, input, select')]"
    named = "one.labels?.length || one.textContent.trim() || one.ariaLabel"
    assert page.evaluate(f"{controls}.filter(one => !({named})).length") == 0
