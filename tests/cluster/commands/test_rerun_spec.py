"""A rerun as a search of its own, and trials that cannot be run again."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from cluster.commands.rerun import (
    RerunError,
    create_rerun,
    find_trial,
    require_method,
    rerun_command,
    rerun_name,
    rerun_spec,
)
from cluster.console import Console
from cluster.machine.files import read_json
from cluster.machine.scratch import ScratchError
from cluster.state.code import code_in_use
from cluster.state.records import load_spec, load_trials
from cluster.study.study import SearchStudy
from search_spaces.spec import load_spec as read_spec
from tests.methods.ripple.config import Config
from tests.searching import make_spec


def refused(paths, trial):
    with pytest.raises(RerunError) as error:
        rerun_command(paths, trial, here=True, console=Console())
    return str(error.value)


def test_an_unknown_trial_is_told_with_those_there_are(make_search):
    search = make_search()
    assert refused(search.paths, 0) == "no trial 0 in try; there are none yet"
    study = search.open()
    for _ in range(3):
        study.ask()
    assert refused(search.paths, 7) == "no trial 7 in try; there are 0 to 2"


def test_a_trial_without_a_configuration_is_told(make_search):
    search = make_search()
    search.open()._study.ask()
    assert refused(search.paths, 0) == "trial 0 of try has no configuration yet: it was only just asked for"


@pytest.mark.parametrize("harm", ["gone", "broken"])
def test_a_method_that_can_no_longer_be_imported_is_told(make_search, own_method, monkeypatch, harm):
    folder = own_method("pass", package=f"lab_{harm}")
    monkeypatch.chdir(folder)
    search = make_search(trainable=f"lab_{harm}.own", budget={"trials": 1})
    search.open().ask()
    shutil.rmtree(search.paths.code)  # as in the searches of versions that kept no copies
    if harm == "gone":
        shutil.rmtree(folder / "lab_gone")
    else:
        (folder / "lab_broken" / "own" / "config.py").write_text("raise ValueError('half-written')")
    said = refused(search.paths, 0)
    assert said.startswith(f"lab_{harm}.own can no longer be imported, from {folder} or from here: ")
    assert ("ValueError: half-written" if harm == "broken" else "is not found: there is no folder 'lab_gone'") in said


def test_a_method_whose_files_are_gone_is_rerun_from_the_copies_of_its_search(make_search, own_method, monkeypatch):
    folder = own_method("pass", package="lab_kept_copy")
    monkeypatch.chdir(folder)
    search = make_search(trainable="lab_kept_copy.own", budget={"trials": 1})
    search.open().ask()
    shutil.rmtree(folder / "lab_kept_copy")
    with pytest.raises(RerunError, match="is not found"):
        require_method("lab_kept_copy.own", [folder])
    require_method("lab_kept_copy.own", [folder], code_in_use(search.paths))


def test_a_rerun_asks_exactly_the_recorded_configuration_once(make_search):
    space = {"size": {"low": 2, "high": 5, "type": "int"}, "learning_rate": {"low": 0.001, "high": 1.0, "log": True}}
    search = make_search(
        base={"steps": 20, "optional": 0.1},
        space=space,
        repeats={"seeds": [3, 5]},
        early_stopping={"name": "asha", "grace_steps": 10},
        budget={"hours": 1, "trials": 4},
        resources={"cpus_per_trial": 2},
        retries=1,
        constraints=[{"metric": "train_loss", "max": 1.0}],
    )
    study = search.open()
    configs = [study.ask().config for _ in range(4)]
    record = find_trial(search.paths, 3)
    again = create_rerun(search.paths, search.spec, record)
    assert again.name == "try-rerun-3"
    spec = load_spec(again)
    assert (spec.name, spec.retries, spec.repeats) == ("try-rerun-3", 1, None)
    assert (spec.resources, spec.objective, spec.constraints) == (
        search.spec.resources,
        search.spec.objective,
        search.spec.constraints,
    )
    assert (spec.early_stopping.name, spec.budget.hours) == ("none", None)
    assert read_spec(again.spec_source).spec == spec
    asked = SearchStudy(again, spec, Config)
    assert asked.ask().config == configs[3]
    assert configs[3]["seed"] == 5
    assert asked.ask() is None


def test_a_trial_from_before_a_field_is_rerun_with_what_was_in_effect_without_it(make_search, monkeypatch):
    search = make_search()
    study = search.open()
    begun = study.ask().config
    older = {name: value for name, value in begun.items() if name != "size"}
    study._running[0].set_user_attr("assigned", {"configuration": 0, "config": older})
    study.close()
    monkeypatch.setattr(Config, "later_fields", {"size": 7})
    ran = []
    monkeypatch.setattr("cluster.commands.rerun._run_here", lambda paths, spec, record, *_: ran.append(record.config))
    rerun_command(search.paths, 0, here=True, code="current", console=Console())
    assert ran == [{**begun, "size": 7}]


def test_a_second_rerun_has_a_directory_of_its_own(recorded):
    paths = recorded()
    names = [create_rerun(paths, load_spec(paths), load_trials(paths)[0]).name for _ in range(2)]
    assert names == ["try-rerun-0", "try-rerun-0-2"]


def test_a_rerun_knows_where_it_comes_from(recorded, tmp_path, monkeypatch):
    paths = recorded()
    launched_from = str(Path.cwd())
    monkeypatch.chdir(tmp_path)
    known = read_json(create_rerun(paths, load_spec(paths), load_trials(paths)[0]).provenance)
    assert known["rerun_of"] == {"search": str(paths.root), "trial": 0}
    assert known["working_directory"] == launched_from
    assert known["versions"]


@pytest.mark.parametrize("value", [[{"steps": 3}], {"a": 1}, None])
def test_a_configuration_of_structures_alone_can_be_searched_too(make_search, value):
    search = make_search()
    record = SimpleNamespace(number=0, config={"optional": value}, code="")
    spec = rerun_spec(search.spec, record, "again")
    assert (list(spec.space), spec.base) == (["optional"], {})
    assert spec.space["optional"].choices == {"recorded": value}


def test_text_that_looks_like_another_value_stays_text(make_search):
    search = make_search()
    record = SimpleNamespace(number=0, config={"a": "1e-4", "b": "yes", "c": "null", "d": "ü: [red]"}, code="")
    # The method has no such fields: only the spec is looked at.
    assert read_spec(create_rerun(search.paths, search.spec, record).spec_source).spec.base == {
        "b": "yes",
        "c": "null",
        "d": "ü: [red]",
    }


@pytest.mark.parametrize(
    ("search", "name"),
    [("heads", "heads-rerun-12"), ("a" * 80, f"{'a' * 55}-rerun-12"), (".my search", "my-search-rerun-12")],
)
def test_the_name_of_a_rerun_is_fit_for_a_spec_and_a_directory(search, name):
    assert rerun_name(search, 12) == name
    assert make_spec(name=name).name == name


def test_a_scratch_that_cannot_be_used_leaves_no_directory(recorded, monkeypatch, searches):
    paths = recorded()
    monkeypatch.setenv("SWELL_SCRATCH", "/" + "x" * 100)
    with pytest.raises(ScratchError, match="SWELL_SCRATCH"):
        rerun_command(paths, 0, here=False, console=Console())
    assert [path.name for path in searches.iterdir()] == ["try"]
