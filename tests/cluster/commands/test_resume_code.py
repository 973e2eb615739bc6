"""A method edited since the launch: which of the two codes a search goes on with, and a rerun runs with."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import swell
from analysis.sources.trial_table import load_table
from cluster.commands.rerun import explain_code
from cluster.commands.resume import Changes, RefusedError, resume_elsewhere
from cluster.console import Console
from cluster.jobs.request import Options
from cluster.machine.files import read_json, write_json
from cluster.state.code import CodeChangedError, code_in_use
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.records import TrialRecord
from search_spaces.errors import SpecError, UserError
from tests.rerunning import ROOT
from trainables._shared.frozen import MANIFEST, FrozenImporter

METHOD = """\
from tests.methods.ripple.method import Config, Ripple


class Own(Ripple):
    def validate(self, config, hyper, model, data):
        return {"val_error": super().validate(config, hyper, model, data)["val_error"] + OFFSET}


OFFSET = 0.0
method = Own()
"""
NUMBER = iter(range(1000))


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """Return a user's method in the folder that searches are launched from, and a function that changes its file."""
    name = f"lab_of_resume_{next(NUMBER)}"  # what Python has imported in another test is not imported again
    file = tmp_path / name / "m.py"
    file.parent.mkdir()
    file.write_text(METHOD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def edit(before, after):
        assert before in file.read_text()
        file.write_text(file.read_text().replace(before, after))

    return SimpleNamespace(file=file, trainable=f"{name}.m", edit=edit)


@pytest.fixture
def search(lab, make_search):
    return make_search(trainable=lab.trainable, budget={"trials": 3})


def resume(search, code=None, **budget):
    """Do all of a resume but the work itself."""
    resume_elsewhere(search.paths, None, None, Options(), Changes(budget), Console(), code)


def test_a_resume_is_refused_while_nobody_has_chosen_between_two_codes(lab, search):
    lab.edit("OFFSET = 0.0", "OFFSET = 1000.0")
    before = code_in_use(search.paths)
    with pytest.raises(CodeChangedError) as caught:
        resume(search, trials=4)
    said = str(caught.value)
    assert said.startswith(f"{lab.file} has changed since {search.paths.name} was launched: `--code current` goes on")
    assert f"`--code launched` goes on with the copy in {before}" in said
    assert isinstance(caught.value, UserError)  # one line, exit code 2
    assert code_in_use(search.paths) == before
    assert not (search.paths.root / "budget-changes.json").exists()


def test_the_code_of_the_launch_stays_and_the_current_one_is_kept_from_then_on(lab, search):
    before = code_in_use(search.paths)
    lab.edit("OFFSET = 0.0", "OFFSET = 1000.0")
    resume(search, "launched", trials=4)
    assert code_in_use(search.paths) == before
    resume(search, "current", trials=5)
    now = code_in_use(search.paths)
    assert now != before
    assert "OFFSET = 1000.0" in (now / "files" / lab.file.parent.name / "m.py").read_text()
    lab.edit("OFFSET = 1000.0", "OFFSET = 7.0")
    with pytest.raises(CodeChangedError):
        resume(search, trials=6)


def test_the_current_code_has_what_only_trials_have_imported(lab, search):
    lazy, launched = lab.file.with_name("lazy.py"), code_in_use(search.paths)
    lazy.write_text("def broken(:")
    FrozenImporter(launched)._keep(f"{lab.file.parent.name}.lazy", lazy)  # as a trial does
    resume(search, "current")
    assert code_in_use(search.paths) == launched
    lazy.write_text("mended = True")
    with pytest.raises(CodeChangedError, match=r"lazy\.py has changed since"):
        resume(search)
    resume(search, "current")
    assert code_in_use(search.paths) != launched
    assert (code_in_use(search.paths) / "files" / lazy.parent.name / "lazy.py").read_text() == "mended = True"
    resume(search)


@pytest.mark.parametrize("has_begun", [False, True])
def test_a_damaged_record_of_the_code_refuses_a_resume_and_a_rerun_in_one_sentence(lab, search, has_begun):
    study = search.open()
    study.ask()
    if has_begun:
        study.save_active()
    study.close()
    manifest = code_in_use(search.paths) / MANIFEST
    manifest.write_text('{"id"')
    for again in (["resume"], ["resume", "--code", "launched"], ["rerun", "0", "--here"], ["rerun", "0"]):
        done = CliRunner().invoke(swell.app, [again[0], search.paths.name, *again[1:]])
        assert done.exit_code == 2
        said = " ".join(done.output.split())
        assert said.count(f"{manifest} is damaged (") == 1
        assert said.endswith("let `--code current` take the modules as they are now")
        assert "imported" not in said
    resume(search, "current")
    resume(search)


def test_an_unchanged_method_needs_no_choice(lab, search):
    before = code_in_use(search.paths)
    for choice in (None, "launched", "current"):
        resume(search, choice)
    assert code_in_use(search.paths) == before


def test_a_resume_that_is_refused_leaves_the_search_with_the_code_that_it_had(lab, search):
    before = code_in_use(search.paths), read_json(search.paths.provenance)
    lab.edit("OFFSET = 0.0", "OFFSET = 1000.0")
    with pytest.raises(SpecError, match=r"budget\.trials = 0"):
        resume(search, "current", trials=0)
    assert (code_in_use(search.paths), read_json(search.paths.provenance)) == before
    study = search.open()
    study.ask()
    study.save_active()
    study.close()
    lab.edit("OFFSET = 1000.0", "a syntax error")
    with pytest.raises(RefusedError, match="SyntaxError"):
        resume(search, "current")
    assert (code_in_use(search.paths), read_json(search.paths.provenance)) == before
    resume(search, "launched")


def test_of_code_that_was_not_copied_only_the_current_can_be_chosen(lab, search):
    earlier = search.paths.code_folder("ea511e12")
    code_in_use(search.paths).rename(earlier)
    write_json(search.paths.code_history, [{"id": earlier.name, "since": "2026-01-01T00:00:00+0000"}])
    values = read_json(earlier / MANIFEST)
    values["modules"]["trainables._shared.training"]["sha256"] = "that of an earlier version of ours"
    write_json(earlier / MANIFEST, values)
    for choice in (None, "launched"):
        with pytest.raises(CodeChangedError) as caught:
            resume(search, choice, trials=4)
        assert "training.py has changed since" in str(caught.value)
        assert "or bring back" in str(caught.value)
        assert "--code launched" not in str(caught.value)
    resume(search, "current", trials=4)
    resume(search, trials=5)


def test_a_rerun_says_how_its_code_is_not_that_of_the_trial(lab, search):
    first = code_in_use(search.paths)
    ended = {"number": 0, "configuration": 0, "outcome": Outcome.COMPLETED, "params": {}, "config": {}}
    simple, mixed = (TrialRecord(**ended, code=code) for code in (first.name, f"{first.name}+b"))
    assert explain_code(simple, first) == explain_code(simple, None) == []
    (said,) = explain_code(mixed, None)
    assert said == f"trial 0 was made by several codes, {first.name}+b: all of it runs with the current one"
    values = read_json(first / MANIFEST)
    values["modules"]["trainables._shared.training"]["sha256"] = "that of an earlier version of ours"
    write_json(first / MANIFEST, values)
    lab.edit("OFFSET = 0.0", "OFFSET = 1000.0")
    said = explain_code(mixed, first)
    assert [line.rpartition(": ")[2] for line in said] == [
        "all of it runs with the last of them",
        "it runs with its own code; --code current takes the new one",
        "it runs with the new code",
    ]
    assert said[1].startswith(str(lab.file))
    assert "training.py has changed since, and the search has no copy" in said[2]


@pytest.mark.slow
def test_each_trial_is_made_by_the_code_that_its_resume_chose(lab, tmp_path, searches):
    (tmp_path / "edited.yaml").write_text(
        f"name: edited\ntrainable: {lab.trainable}\nobjective: {{metric: val_error}}\nresources: {{cpus: 1}}\n"
        "report: false\nspace: {shift: [0.0, 0.5, 1.0]}\nsampler: {name: grid}\nbudget: {trials: 1}\n"
        "tracking: {wandb: disabled}\n"
    )

    def swell(*arguments, status=0):
        command = [sys.executable, "-P", "-m", "swell", *arguments]
        done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    swell("run", "edited.yaml")
    lab.edit("OFFSET = 0.0", "OFFSET = 1000.0")
    assert "has changed since edited was launched" in swell("resume", "edited", "--trials", "2", status=2)
    swell("resume", "edited", "--trials", "2", "--code", "launched")
    said = swell("resume", "edited", "--trials", "3", "--code", "current")
    assert "warning: these trials come from 2 versions of the code (column code)" in said
    frame = load_table(SearchPaths(searches / "edited")).frame.set_index("trial").sort_index()
    assert list(frame["val_error"] > 999) == [False, False, True]
    assert frame["code"][0] == frame["code"][1] != frame["code"][2]
    assert frame["code"][2] == code_in_use(SearchPaths(searches / "edited")).name
