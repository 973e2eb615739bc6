from dataclasses import replace

import pytest

from cluster.commands.apart import ProcessError
from cluster.commands.check import CheckReport, ProgramUse
from cluster.commands.check_output import describe_estimate, describe_probe
from cluster.commands.probe import choose_programs, estimate, probe_programs
from search_spaces.spec import Spec

MEASURED = {
    "import_s": 1.0,
    "data_s": 0.5,
    "compile_s": 4.0,
    "phases": [{"steps": 100, "step_s": 0.05}, {"steps": 200, "step_s": 0.1}],
    "report_s": 0.2,
    "tests_s": 3.0,
    "report_every": 150,
    "model_mb": 0.25,
    "peak_memory_mb": 512.0,
    "ending": "",
}


def report_of(num_programs, trials, **resources):
    spec = Spec.model_validate(
        {
            "name": "t",
            "trainable": "t",
            "objective": {"metric": "m"},
            "space": {"a": [1]},
            "budget": {"trials": 24},
            "resources": resources,
        }
    )
    programs = tuple(ProgramUse({"size": index}, {"a": index}, 1 + index) for index in range(num_programs))
    return CheckReport(spec, num_programs, trials, num_programs, False, programs, num_programs, {}, (), ())


def test_a_probe_adds_up_phases_reports_and_tests():
    (probe,) = probe_programs(report_of(1, 1), run=lambda *_: MEASURED)
    # 100 steps of 0.05 s, 200 of 0.1 s, one report in the first phase and two in the second, and the tests.
    assert probe.training_s == pytest.approx(5 + 20 + 3 * 0.2 + 3)
    assert probe.step_s == (0.05, 0.1)
    assert describe_probe(probe) == "20.0, 10.0 steps/s, 29 s to train, 4.0 s to compile, 512 MB; {a: 0}"


def test_the_estimate_shares_the_work_among_the_cpus():
    report = report_of(3, 10, cpus_per_trial=2)
    probes = list(probe_programs(report, run=lambda *_: MEASURED))
    found = estimate(report, probes, cpus=8)
    busy_s = 10 * 28.6 + 3 * 4.0
    assert found.slots == 4
    assert found.total_s == pytest.approx(busy_s / 4)
    assert found.core_hours == pytest.approx(busy_s * 2 / 3600)
    assert found.memory_mb == 512.0


def test_the_estimate_heeds_the_memory_as_the_driver_does():
    report = report_of(3, 10, memory_gb_per_trial=1e9)
    assert estimate(report, list(probe_programs(report, run=lambda *_: MEASURED)), cpus=8).slots == 1


def test_programs_weigh_as_many_configurations_as_they_stand_for():
    report = report_of(2, 10)
    quick = {**MEASURED, "phases": [{"steps": 10, "step_s": 0.1}], "report_s": 0.0, "tests_s": 0.0}
    slow = {**quick, "phases": [{"steps": 10, "step_s": 1.0}]}
    probes = list(probe_programs(report, run=lambda _, config, cpus: [quick, slow][config["size"]]))
    assert estimate(report, probes, cpus=1).trial_s == pytest.approx((1 * 1.0 + 2 * 10.0) / 3)


def test_a_failing_probe_says_why_and_the_rest_go_on():
    def run(trainable, config, cpus):
        if config["size"] == 1:
            raise ProcessError("ValueError: no such orbit")
        return MEASURED

    report = report_of(3, 3)
    probes = list(probe_programs(report, run=run))
    assert [probe.failure for probe in probes] == ["", "ValueError: no such orbit", ""]
    assert describe_probe(probes[1]) == "failed: ValueError: no such orbit; {a: 1}"
    found = estimate(report, probes, cpus=1)
    assert (found.num_probed, found.num_failed) == (3, 1)
    assert describe_estimate(found)[0] == "  probed          3 of 3 programs, 1 of them failed"
    assert estimate(report, [probes[1]], cpus=1) is None


def test_the_size_of_kept_models_is_told_if_any_are_kept():
    report = report_of(1, 10)
    probes = list(probe_programs(report, run=lambda *_: MEASURED))
    assert not any("kept models" in line for line in describe_estimate(estimate(report, probes, cpus=1)))
    keep = report.spec.keep.model_copy(update={"every_steps": 50})
    keeping = replace(report, spec=report.spec.model_copy(update={"keep": keep}))
    assert describe_estimate(estimate(keeping, probes, cpus=1))[-1] == "  kept models     at most 0.25 MB each"


def test_a_search_bounded_by_time_alone_has_no_total():
    report = report_of(1, None)
    found = estimate(report, list(probe_programs(report, run=lambda *_: MEASURED)), cpus=1)
    assert found.total_s is None
    assert len(describe_estimate(found)) == 2


@pytest.mark.parametrize(("num", "most", "expected"), [(3, 8, [0, 1, 2]), (288, 4, [0, 96, 191, 287]), (5, 1, [0])])
def test_programs_are_spread_evenly(num, most, expected):
    assert [use.config["size"] for use in choose_programs(report_of(num, num).programs, most)] == expected


@pytest.mark.slow
def test_the_worker_passes_on_the_reason_of_a_failure(tmp_path, monkeypatch):
    (tmp_path / "failing_pkg").mkdir()
    (tmp_path / "failing_pkg" / "__init__.py").write_text("")
    (tmp_path / "failing_pkg" / "mine.py").write_text("print('hello')\nraise ImportError('no orbit library here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    report = report_of(1, 1)
    report = replace(report, spec=report.spec.model_copy(update={"trainable": "failing_pkg.mine"}))
    (probe,) = probe_programs(report)
    assert probe.failure == "ImportError: no orbit library here"


@pytest.mark.slow
def test_a_real_program_is_timed_in_a_process_of_its_own():
    report = report_of(1, 1)
    spec = report.spec.model_copy(update={"trainable": "two_body"})
    config = {"dataset": "complex_TBP_planar_1_train", "steps": 20, "width": 8, "report_every": 10}
    report = CheckReport(spec, 1, 1, 1, False, (ProgramUse(config, {}, 1),), 1, {}, (), ())
    (probe,) = probe_programs(report)
    assert probe.failure == ""
    assert 0 < probe.step_s[0] < 1
    assert probe.compile_s > 0
    assert probe.peak_memory_mb > 50
