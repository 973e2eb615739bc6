"""Tables of other tools as searches: what is guessed and said, what may be told, and what is wrong with a file."""

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.sources.errors import SourceError
from analysis.sources.trial_table import load_table
from analysis.tables.formats import write

COLUMNS = [
    "Name",
    "State",
    "Notes",
    "User",
    "Tags",
    "Created",
    "Runtime",
    "Sweep",
    "batch_size",
    "lr",
    "optimizer",
    "momentum",
    "seed",
    "_step",
    "train_loss",
    "val_acc",
]
WANDB = [
    '"zany-5","finished","-","me","","2024-05-01T10:00:05.000Z","31","","32","0.1","sgd","0.9","1","100","0.3","0.9"',
    '"zany-4","finished","-","me","","2024-05-01T10:00:04.000Z","30","","32","0.1","sgd","0.9","0","100","0.3","0.8"',
    '"zany-3","failed","-","me","","2024-05-01T10:00:03.000Z","2","","64","0.0001","adam","","1","50","NaN",""',
    '"zany-2","killed","-","me","","2024-05-01T10:00:02.000Z","9","","64","0.0001","adam","","0","10","0.3","0.5"',
    '"zany-1","running","-","me","","2024-05-01T10:00:01.000Z","9","","64","0.03","sgd","0.8","0","10","0.3","0.5"',
    '"zany-0","crashed","-","me","","2024-05-01T10:00:00.000Z","9","","64","0.03","sgd","0.8","1","10","0.3",""',
]


@pytest.fixture
def read(tmp_path):
    """Return a function that writes a text to a file and reads the search in it."""

    def read(text, **told):
        file = tmp_path / "runs.csv"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return analysis.from_csv(file, **told)

    return read


def lines(*rows):
    return "\n".join(rows) + "\n"


def test_an_export_of_runs_becomes_a_search_and_says_what_was_guessed(read):
    search = read(lines(",".join(f'"{name}"' for name in COLUMNS), *WANDB))
    assert search.name == "runs"
    assert [(one.column, one.mode) for one in search.objectives] == [("val_acc", "max")]
    assert [(one.column, one.levels) for one in search.factors] == [
        ("batch_size", (32, 64)),
        ("lr", (0.0001, 0.03, 0.1)),
        ("optimizer", ("adam", "sgd")),
        ("momentum", (0.8, 0.9)),
    ]
    assert search.factor("momentum").conditions == {"optimizer": ("sgd",)}
    assert (search.seed, search.seeds) == ("seed", (0, 1))
    trials = search.trials.set_index("trial")
    assert trials.index.tolist() == [5, 4, 0, 1, 2, 3]
    assert trials["rank"].tolist()[:2] == [1, 2]
    assert trials["outcome"].to_dict() == {
        5: "completed", 4: "completed", 3: "crashed", 2: "stopped", 1: "running", 0: "crashed",
    }  # fmt: skip
    assert trials["configuration"].to_dict() == {0: 0, 1: 0, 2: 1, 3: 1, 4: 2, 5: 2}
    assert trials["steps_trained"].loc[5] == 100
    assert trials["wall_time_s"].loc[4] == 30
    assert trials["Name"].loc[5] == "zany-5"
    assert search.config(3) == {"batch_size": 64, "lr": 0.0001, "optimizer": "adam", "seed": 1}
    said = " ".join(search.remarks)
    for part in (
        "trials are numbered from 0 in the order of Created",
        "the objective is val_acc; other metrics: train_loss",
        "large is good for val_acc (its name says so)",
        "State says how a trial ended",
        "_step is how far a trial trained",
        "seed is the seed",
        "the parameters are batch_size (choice of 2), lr (choice of 3), optimizer (choice of 2), ",
        "momentum (choice of 2, if optimizer is sgd)",
    ):
        assert part in said


def test_our_own_exported_table_comes_back_as_it_was(make_search, tmp_path):
    search = make_search(space={"shift": {"low": -1.0, "high": 1.0}, "size": [2, 3]}, repeats={"seeds": [3, 4]})
    search.run(lambda config: {"val_error": config["shift"] ** 2, "train_loss": 1.0})
    write(load_table(search.paths).frame, "csv", tmp_path / "t.csv")
    ours, read = analysis.load("try"), analysis.from_csv(tmp_path / "t.csv")
    assert {one.column: one.levels for one in read.factors} == {one.column: one.levels for one in ours.factors}
    assert (read.objectives, read.seed, read.seeds) == (ours.objectives, ours.seed, ours.seeds)
    same = ["rank", "trial", "outcome", "configuration", "shift", "size", "seed", "val_error", "wall_time_s"]
    pd.testing.assert_frame_equal(read.trials[same], ours.trials[same], check_dtype=False)


def test_what_is_told_is_not_guessed(read):
    text = lines("who,a,b,quality,val_loss", "x,1,5,0.5,9", "y,2,5,0.7,8", "z,2,6,,7")
    search = read(text, objective="quality", mode="max", parameters=["b"], trial="who", name="mine")
    assert (search.name, search.objective.column, search.objective.mode) == ("mine", "quality", "max")
    assert [one.column for one in search.factors] == ["b"]
    assert search.trials["who"].tolist() == ["y", "x", "z"]
    assert search.trials["outcome"].tolist() == ["completed", "completed", "crashed"]
    assert search.remarks == (
        "trials are numbered from 0 in the order of the rows; who has their names",
        "1 row without a finite objective: taken as crashed trials",
    )


def test_several_objectives_are_ranked_by_how_many_dominate_them(read):
    text = lines("x,loss,accuracy", "1,1.0,0.5", "2,2.0,0.9", "3,3.0,0.8", "4,3.0,0.4")
    search = read(text, objective=["loss", "accuracy"])
    assert [one.mode for one in search.objectives] == ["min", "max"]
    assert search.trials["trial"].tolist() == [0, 1, 2, 3]
    assert search.is_multi_objective


def test_numbers_are_ranges_or_choices_by_how_often_they_repeat():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "rate": 10 ** rng.uniform(-5, -1, 30),
            "depth": rng.choice([1, 2, 3], 30),
            "width": np.arange(30) + 7,
            "flag": rng.choice([True, False], 30),
            "kind": rng.choice(["v10", "v9"], 30),
            "loss": rng.random(30),
        }
    )
    search = analysis.from_csv(frame)
    assert [(one.column, one.levels, one.is_log, one.is_whole) for one in search.factors] == [
        ("rate", None, True, False),
        ("depth", (1, 2, 3), False, False),
        ("width", None, False, True),
        ("flag", (False, True), False, False),
        ("kind", ("v9", "v10"), False, False),
    ]
    assert search.name == "table"


@pytest.mark.parametrize(
    ("names", "objective", "parameters"),
    [
        (["lr", "train_loss", "test_loss", "val_loss"], "val_loss", ["lr"]),
        (["loss_weight", "val_split", "weight_decay", "mean_test_score"], "mean_test_score",
         ["loss_weight", "val_split", "weight_decay"]),
        (["params_lr", "params_depth", "number", "value", "user_attrs_note"], "value", ["params_lr", "params_depth"]),
        (["config/lr", "lr", "loss", "time_total_s"], "loss", ["config/lr"]),
        (["lora_rank", "rank", "peak_memory_mb", "eval/accuracy"], "eval/accuracy", ["lora_rank", "config.rank"]),
        (["learningRate", "valAccelError_pct", "best_step", "end_time"], "valAccelError_pct", ["learningRate"]),
    ],
)  # fmt: skip
def test_names_tell_metrics_settings_and_descriptions_apart(names, objective, parameters):
    rng = np.random.default_rng(1)
    search = analysis.from_csv(pd.DataFrame({name: rng.random(12) for name in names}))
    assert search.objective.column == objective
    assert [one.column for one in search.factors] == parameters


def test_rows_of_reports_become_histories(read):
    text = lines("trial,step,lr,loss", "7,2,0.1,3.0", "7,1,0.1,4.0", "9,1,0.2,5.0", "9,2,0.2,1.0", "9,3,0.2,2.0")
    search = read(text)
    assert search.trials[["trial", "loss", "steps_trained"]].values.tolist() == [[9, 2.0, 3.0], [7, 3.0, 2.0]]
    assert search.histories[["trial", "step", "loss"]].values.tolist() == [
        [7, 1, 4.0], [7, 2, 3.0], [9, 1, 5.0], [9, 2, 1.0], [9, 3, 2.0],
    ]  # fmt: skip
    assert [one.column for one in search.factors] == ["lr"]


@pytest.mark.parametrize(
    "text",
    [
        "\ufefflr;loss\r\n0,1;1,5\r\n0,2;1.002,5\r\n".encode(),
        "lr\tloss\n0.1\t1.5\n0.2\t1002.5\n".encode("utf-16"),
        b'lr,loss\n0.1,1.5\n\n0.2,"1,002.5"\n',
        b',lr,loss\n0,0.1,1.5\n1,0.2,1002.5\n',
        b"lr|loss\n 0.1 |1.5\n0.2|1.0025e3\n",
    ],
    ids=["decimal commas, byte order mark", "utf-16, tabs", "thousands, empty lines", "index of pandas", "bars"],
)  # fmt: skip
def test_files_are_read_however_they_are_written(read, text):
    search = read(text)
    assert search.trials[["lr", "loss"]].values.tolist() == [[0.1, 1.5], [0.2, 1002.5]]


def test_a_text_that_is_not_utf8_is_read_and_said(read):
    search = read("Gerät,loss\nä,1\nö,2\n".encode("cp1252"))
    assert search.factors[0].levels == ("ä", "ö")
    assert search.remarks[0] == "runs.csv is not UTF-8: it was read as Windows-1252"


def test_seeds_that_repeat_nothing_are_said(read):
    search = read(lines("x,seed,loss", "1.5,0,1", "2.5,1,2", "3.5,2,3"))
    assert search.seed is None
    assert "no parameters were tried with more than one seed: nothing was repeated" in search.remarks


def test_complete_sets_of_seeds_come_first(read):
    rows = ["a,0,3.0", "a,1,3.2", "b,0,1.0", "c,0,2.0", "c,1,2.1"]
    search = read(lines("kind,seed,loss", *rows))
    assert search.trials["kind"].tolist() == ["c", "c", "a", "a", "b"]


@pytest.mark.parametrize(
    ("text", "told", "message"),
    [
        ("x,loss\n1,2\n", {"objective": "los"}, r"runs.csv has no column 'los' \(objective\). Did you mean 'loss'\?"),
        ("x,loss\n1,2\n2,3\n", {"parameters": ["y"]}, r"no column 'y' \(parameters\)\. There are: x, loss"),
        ("x,loss\n1,2\n2,3\n", {"parameters": ["loss"]}, "'loss' is given as a parameter, but it has another role"),
        ("x,loss\n1,2\n2,3\n", {"mode": "maximise"}, r"mode = 'maximise': must be min \(small is good\) or max"),
        ("x,loss\n1,2\n2,3\n", {"objective": ["loss", "x"], "mode": ["min"] * 3}, "mode has 3 entries"),
        ("x,loss\n", {}, "runs.csv has no rows"),
        ("\n\n", {}, "runs.csv is empty"),
        ("x,x,loss\n1,2,3\n", {}, "several columns are called 'x'"),
        ("x,loss\n1,2\n1,2,3\n", {}, "runs.csv:3: the row has 3 cells, but there are 2 columns"),
        ("x,loss\n1,2\n\n2,bad\n", {"objective": "loss"}, "runs.csv:4: loss = 'bad' is no number"),
        ("x,y\n1,2\n2,3\n", {}, "no column is called like an objective; say .* Columns of numbers: x, y"),
        ("x,loss\n1,\n2,\n", {"objective": "loss"}, "the objective loss has no value in any row"),
        ("x,loss,how\n1,2,fine\n", {"outcome": "how"}, "runs.csv:2: how = 'fine' is no outcome. Allowed: completed"),
        ("trial,x,loss\n3,1,2\n3,2,3\n", {"trial": "trial"}, "runs.csv:3: trial = 3 is there a second time"),
        ("Step,zany-1 - loss,zany-1 - loss__MIN\n1,2,3\n", {}, "W&B's export of a chart"),
        (b"PAR1....", {}, "is no text file"),
        ('x,loss\n1,"2\n', {"objective": "loss"}, "runs.csv:2"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_table_is_said(read, text, told, message):
    with pytest.raises(SourceError, match=message):
        read(text, **told)


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(SourceError, match=r"there is no file .*none\.csv"):
        analysis.from_csv(tmp_path / "none.csv")
    with pytest.raises(SourceError, match="is a folder"):
        analysis.from_csv(tmp_path)


def test_frames_with_doubled_or_stacked_columns_are_refused():
    with pytest.raises(SourceError, match="several columns are called 'x'"):
        analysis.from_csv(pd.DataFrame([[1, 2, 3]], columns=["x", "x", "loss"]))
    stacked = pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")]))
    with pytest.raises(SourceError, match="several levels of column names"):
        analysis.from_csv(stacked)


def test_hostile_cells_stay_texts(read):
    search = read(lines("note,kind,loss", '"=1+1","</script>",1', '"[bold]x","a,b",2', '"p","</script>",3'))
    assert search.factors[-1].levels == ("</script>", "a,b")
