from analysis.show import show_ending
from cluster.state.outcomes import Outcome
from tests.searching import result


def test_the_end_of_a_search_prints_its_best_and_where_everything_lies(make_search, capsys):
    search = make_search(budget={"trials": 4})
    search.run(lambda config: {"val_error": abs(config["shift"])})
    show_ending(search.paths)
    text = capsys.readouterr().out
    assert len(text.splitlines()) == 1 + 4 + 2
    assert f"everything: {search.paths.root}" in text


def test_the_end_of_a_search_with_seeds_prints_configurations(make_search, capsys):
    search = make_search(repeats={"seeds": [1, 2]}, budget={"trials": 4})
    search.run(lambda config: {"val_error": abs(config["shift"])})
    show_ending(search.paths)
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["rank", "configuration", "seeds_completed"]
    assert len(rows) == 2 + 2


def test_the_end_of_a_search_without_trials_says_where_it_lies(make_search, capsys):
    search = make_search()
    show_ending(search.paths)
    assert capsys.readouterr().out.startswith("all trials: swell table try")


def test_the_end_of_a_search_of_several_codes_has_a_warning(make_search, capsys):
    search = make_search(budget={"trials": 2})
    study = search.open()
    for code in ("aaaa1111", "bbbb2222"):
        study.tell(study.ask().number, Outcome.COMPLETED, {**result(val_error=1.0), "code": code})
    study.close()
    show_ending(search.paths)
    said = capsys.readouterr().out
    assert "warning: these trials come from 2 versions of the code (column code): compare them with care" in said
    assert "aaaa1111" in said
