import json
import struct

import pandas as pd
import pytest
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

import analysis
from analysis.best import ExportError
from analysis.search import Factor, NotThereError
from analysis.sources.directory import load_search
from analysis.tables.errors import TableError
from analysis.tables.export import export_histories, long_table
from analysis.tables.tensorboard import RUN_FILE
from analysis.tables.trial_numbers import numbers_in
from tests.planted import planted_search

REPORTS = pd.DataFrame(
    {
        "trial": [0, 0, 1],
        "step": [10, 20, 10],
        "seconds": [0.5, 1.0, 0.7],
        "error": [3.0, 2.0, float("nan")],
        "head": [1.0, 1.0, 2.0],  # a metric called like a factor
    }
)


def made(**parts):
    rows = [
        {"trial": 0, "outcome": "completed", "head": "a", "rate": 0.1, "error": 2.0, "began_at": 1e9},
        {"trial": 1, "outcome": "crashed", "head": "b", "rate": None, "error": None, "began_at": 2e9},
        {"trial": 2, "outcome": "running", "head": "b", "rate": 0.3, "error": None, "began_at": None},
    ]
    rows = [{**row, "configuration": row["trial"]} for row in rows]
    factors = [Factor("head", levels=("a", "b")), Factor("rate", low=0.0, high=1.0)]
    return planted_search(rows, factors, read_histories=lambda: REPORTS, **parts)


def events(path):
    """Return the events of a run as (step, time, tag, value); of hyperparameters, the value is their content."""
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("Q", data[:8])
        event = Event.FromString(data[12 : 12 + length])
        data = data[16 + length :]
        for one in event.summary.value:
            content = one.metadata.plugin_data.content
            value = HParamsPluginData.FromString(content) if content else one.simple_value
            found.append((event.step, event.wall_time, one.tag, value))
    return found


def test_the_long_table_has_a_row_per_report_with_what_was_searched():
    table = long_table(made())
    assert list(table.columns) == [
        "trial", "configuration", "outcome", "head", "rate", "step", "seconds", "error", "metric.head",
    ]  # fmt: skip
    assert table[["trial", "head", "step", "metric.head"]].to_numpy().tolist() == [
        [0, "a", 10, 1.0], [0, "a", 20, 1.0], [1, "b", 10, 2.0],
    ]  # fmt: skip


@pytest.mark.parametrize(("to", "read"), [("csv", pd.read_csv), ("parquet", pd.read_parquet)])
def test_a_table_of_chosen_trials_is_written(tmp_path, to, read):
    handed = export_histories(made(), to, tmp_path / "out", [1, 2])
    back = read(handed.folder / handed.files[0])
    assert back["trial"].tolist() == [1]
    assert (handed.num_trials, handed.without) == (1, (2,))


def test_what_is_exported_can_be_read_as_a_search_again(tmp_path):
    folder = analysis.export(made(), "csv", tmp_path)
    back = analysis.from_csv(folder / "histories.csv", objective="error", trial="trial", steps="step")
    assert back.histories[["trial", "step"]].to_numpy().tolist() == REPORTS[["trial", "step"]].to_numpy().tolist()
    assert back.trials.set_index("trial").loc[0, "error"] == 2.0


def test_tensorboard_gets_a_run_for_each_trial_with_steps_times_and_hyperparameters(tmp_path):
    handed = export_histories(made(), "tensorboard", tmp_path)
    assert handed.files == (f"trial-000000/{RUN_FILE}", f"trial-000001/{RUN_FILE}")
    found = events(tmp_path / handed.files[0])
    scalars = [one for one in found if not one[2].startswith("_hparams_")]
    assert scalars == [
        (10, 1e9 + 0.5, "error", 3.0), (10, 1e9 + 0.5, "metric.head", 1.0),
        (20, 1e9 + 1.0, "error", 2.0), (20, 1e9 + 1.0, "metric.head", 1.0),
    ]  # fmt: skip
    (started,) = (value for *_, tag, value in found if tag == "_hparams_/session_start_info")
    hparams = started.session_start_info.hparams
    assert (hparams["head"].string_value, hparams["rate"].number_value) == ("a", 0.1)
    assert [one[2:] for one in events(tmp_path / handed.files[1])][3:] == [("metric.head", 2.0)]  # no NaN


def test_a_second_export_replaces_the_first_and_nothing_else(tmp_path):
    first = export_histories(made(), "tensorboard", tmp_path)
    (tmp_path / "mine.txt").write_text("keep")
    before = (tmp_path / first.files[0]).read_bytes()
    export_histories(made(), "tensorboard", tmp_path, [0])
    assert (tmp_path / first.files[0]).read_bytes() == before
    assert not (tmp_path / first.files[1]).exists()
    assert (tmp_path / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize("name", ["histories.csv", "export.json"])
def test_a_foreign_file_is_never_overwritten(tmp_path, name):
    (tmp_path / name).write_text('{"trial": 3, "files": []}')
    with pytest.raises(ExportError, match=f"has a {name} that is not of an earlier export; choose another --output"):
        export_histories(made(), "csv", tmp_path)
    assert (tmp_path / name).read_text() == '{"trial": 3, "files": []}'


def test_a_record_that_points_elsewhere_deletes_nothing(tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("keep")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "export.json").write_text(json.dumps({"histories": ["../outside.txt", str(outside)]}))
    export_histories(made(), "csv", tmp_path / "in")
    assert outside.read_text() == "keep"


def test_what_cannot_be_exported_says_why(tmp_path):
    with pytest.raises(ExportError, match="planted has no reports of these trials"):
        export_histories(made(), "csv", tmp_path, [2])
    with pytest.raises(ExportError, match="planted is no search directory: say which folder"):
        export_histories(made(), "csv")
    with pytest.raises(NotThereError, match="planted has no trial 7"):
        export_histories(made(), "csv", tmp_path, [7])
    assert list(tmp_path.iterdir()) == []


def test_a_search_directory_has_a_folder_for_exports(made_odd):
    search = load_search(made_odd("repeated"))
    handed = export_histories(search, "tensorboard")
    assert handed.folder == search.paths.root / "export" / "tensorboard"
    assert handed.num_trials + len(handed.without) == len(search.trials)
    assert long_table(search).columns[:6].tolist() == [
        "trial", "configuration", "outcome", "learning_rate", "shift", "seed",
    ]  # fmt: skip


def test_odd_searches_hand_over_what_they_have(odd_search, tmp_path):
    search = load_search(odd_search)
    if search.histories.empty:
        with pytest.raises(ExportError, match="has no reports"):
            export_histories(search, "csv", tmp_path / "out")
    else:
        assert export_histories(search, "csv", tmp_path / "out").num_trials == search.histories["trial"].nunique()


def test_numbers_of_trials_are_listed_with_ranges():
    assert numbers_in("3,15, 20-22,3") == [3, 15, 20, 21, 22]
    for wrong in ("3,4-", "a", "", "1-2-3", "-1", "0-99999999"):
        with pytest.raises(TableError, match="is no trial; allowed: numbers and ranges, 3,15,20-24"):
            numbers_in(wrong)
