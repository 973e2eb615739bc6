"""One search, and faults at random moments of its life; what was injected, what it cost, what was violated."""

import random
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.faults import invariants
from benchmarks.faults.inject import INTERRUPTED, KILLED, Fault
from benchmarks.faults.invariants import Row, has_ended
from benchmarks.faults.place import Foreground, Place
from benchmarks.faults.planted import plant
from benchmarks.faults.scene import MissedError, Scene
from cluster.state.records import TrialRecord, load_history

NUM_TRIALS = 18
STEPS = 14
LONG_MIN = 10.0
"""Limit of a trial's silence where none hangs."""
SPACES = {
    "grid": "{learning_rate: [0.01, 0.02, 0.05, 0.1, 0.2, 0.5], start: [-1.0, 0.5, 2.0]}",
    "random": "{learning_rate: {low: 1e-3, high: 0.5, log: true}, start: {low: -2.0, high: 2.0}}",
}
SPEC = f"""\
name: chaos
trainable: benchmarks.faults
objective: {{{{metric: val_error}}}}
base: {{{{steps: {STEPS}, orders: "{{orders}}"}}}}
space: {{space}}
sampler: {{{{name: {{sampler}}}}}}
report: false
budget: {{{{trials: {NUM_TRIALS}, hours: 1}}}}
resources: {{{{cpus: 2, memory_gb_per_trial: 1.0}}}}
waves: {{{{trials: 9}}}}
guard: {{{{min_free_gb: 0.04, stop_free_gb: 0.02, min_free_inodes: 400, max_scratch_gb: 0.15, check_every_s: 0.5}}}}
keep: {{{{top: 3}}}}
retries: 20
trial_timeout_min: {{timeout_min:.2f}}
"""
LOOK_EVERY_S = 0.6
"""Looking takes a twentieth of that, of a CPU that the search could use."""
AT_ONCE = 0.5
"""Share of the faults that strike before the search has recovered from the one before."""
MOST_PAUSE_S = 2.5
"""Between the recovery from one fault and the next."""
FEW_REPORTS = 4
"""Workers go on for a moment when what is around them dies: one report more does not say that they recovered."""
RECOVERY_PATIENCE_S = 600.0
END_PATIENCE_S = 1200.0
LAST_BREATH_S = 180.0
"""How long a foreground process may take to end, once it must: on a machine where much else runs."""
CLEAN_AFTER_S = 45.0
MOST_RESUMES = 4
"""After so many exits that should not have been, the search is given up."""


@dataclass(frozen=True)
class Injection:
    """One fault as it went."""

    kind: str
    what: str = ""
    injected: bool = False
    recovered: bool = False
    lost_s: float | None = None
    """From the end of the fault until the search, and every trial that ran then, has made a few reports or ended."""


@dataclass(frozen=True)
class SearchReport:
    """One search as it went."""

    name: str
    sampler: str
    injections: tuple[Injection, ...]
    violations: tuple[str, ...]
    seconds: float
    rows: Mapping[int, Row] = field(default_factory=dict)
    slowest_s: float = 0.0
    """The longest that a trial took to its first report: the import and the compilation included."""
    kept: str = ""


@dataclass
class _Pending:
    """A fault that the search has not recovered from yet."""

    kind: str
    what: str
    since: float
    running: list[int]
    reports: Counter[int]

    def is_over(self, reports: Counter[int], trials: Mapping[int, TrialRecord]) -> bool:
        """Whether the search goes on, or has ended, and so has every trial that ran."""
        has_ended_all = len(trials) == NUM_TRIALS and all(map(has_ended, trials.values()))
        if reports.total() < self.reports.total() + FEW_REPORTS and not has_ended_all:
            return False
        return all(
            reports[number] >= self.reports[number] + FEW_REPORTS or (number in trials and has_ended(trials[number]))
            for number in self.running
        )


class ChaoticSearch:
    """Runs one search to its end while faults strike it."""

    def __init__(
        self, place: Place, name: str, sampler: str, rng: random.Random, timeout_min: float = LONG_MIN
    ) -> None:
        self.place = place
        self.name = name
        self.sampler = sampler
        self.rng = rng
        self.violations: list[str] = []
        self._planted = plant(place)
        self._seen: dict[int, TrialRecord] = {}
        self._pending: list[_Pending] = []
        self._done: list[Injection] = []
        self._commands: list[Foreground] = []
        self._struck: list[list[int]] = []
        """The trials that ran at each fault so far."""
        self._struck_at_once = False
        self._bad_exits = 0
        spec = place.folder / f"{name}.yaml"
        values = {"orders": place.orders, "sampler": sampler, "space": SPACES[sampler], "timeout_min": timeout_min}
        spec.write_text(SPEC.format(**values))
        self._commands.append(place.start("run", str(spec), "--name", name))
        self.scene = Scene(place, name, self._commands[-1], rng)

    def run(self, faults: Sequence[Fault], reference: Mapping[int, Row] | None) -> SearchReport:
        """Run to the end under these faults, and hold what came out against the invariants."""
        started = time.monotonic()
        try:
            for index, fault in enumerate(faults):
                if not self._reach_a_moment():
                    self._done += [Injection(missed.kind) for missed in faults[index:]]
                    break
                self._strike(fault)
            finished = self._reach_the_end()
            self._settle(force=True)
            rows = self._check(reference, finished)
            firsts = [entry["seconds"] for entry in load_history(self.scene.paths) if entry.get("step") == 1]
        finally:
            self.place.end_all()
            self._planted.end()
            self.place.clock.unlink(missing_ok=True)
            for left in invariants.scratch_entries(self.place.scratch, self._planted):
                shutil.rmtree(left, ignore_errors=True)  # noted above; the next search starts in a clean place
        seconds, violations = time.monotonic() - started, tuple(dict.fromkeys(self.violations))
        slowest_s = max(firsts, default=0.0)
        return SearchReport(self.name, self.sampler, tuple(self._done), violations, seconds, rows, slowest_s)

    # -- moments --------------------------------------------------------------------------------------------------

    def _reach_a_moment(self) -> bool:
        """Wait for the next fault's moment; return whether the search still runs."""
        # Not twice in a row, and every trial gets to its end before the third fault after it began: drivers that die
        # without starting a trial end a search, and a trial that brings one down after the other is given up.
        self._struck_at_once = bool(self._pending) and not self._struck_at_once and self.rng.random() < AT_ONCE
        if self._struck_at_once:
            return self._watch(self.rng.uniform(0, 6))
        deadline = time.monotonic() + RECOVERY_PATIENCE_S
        while (self._pending or not self.scene.reports()) and time.monotonic() < deadline:
            if not self._watch(LOOK_EVERY_S):
                return False
        for stuck in self._pending:
            self.violations.append(f"{stuck.kind}: not recovered within {RECOVERY_PATIENCE_S:.0f} s ({stuck.what})")
        self._settle(force=True)
        while len(self._struck) > 1 and not self._have_ended(self._struck[-2]) and time.monotonic() < deadline:
            if not self._watch(LOOK_EVERY_S):
                return False
        return self._watch(self.rng.uniform(0, MOST_PAUSE_S))

    def _watch(self, seconds: float) -> bool:
        """Look on for a while; return whether the search still runs, resumed where it ended as it should not."""
        deadline = time.monotonic() + seconds
        while True:
            self.place.ours()  # notes the waves' tokens
            self._settle()
            code = self.scene.foreground.poll()
            if code == 0:
                return False
            if code is not None and not self._resume_after(code):
                return False
            if time.monotonic() >= deadline:
                return True
            time.sleep(LOOK_EVERY_S)

    def _settle(self, force: bool = False) -> None:
        """Note the faults that the search has recovered from; all of them, recovered or not, when forced."""
        if not self._pending:
            return
        reports, trials = self.scene.reports(), self.scene.trials()
        for fault in list(self._pending):
            over = fault.is_over(reports, trials)
            if over or force:
                self._pending.remove(fault)
                lost_s = time.monotonic() - fault.since if over else None
                self._done.append(Injection(fault.kind, fault.what, True, over, lost_s))

    def _have_ended(self, numbers: Sequence[int]) -> bool:
        trials = self.scene.trials()
        return all(number in trials and has_ended(trials[number]) for number in numbers)

    # -- commands -------------------------------------------------------------------------------------------------

    def _resume(self) -> None:
        self.scene.foreground = self.place.start("resume", self.name, prefix=self.scene.prefix)
        self._commands.append(self.scene.foreground)

    def _resume_after(self, code: int) -> bool:
        """Note an exit that no fault asked for and go on; return False where that has been tried often enough."""
        last = " / ".join(self.scene.foreground.text().strip().splitlines()[-3:])
        self.violations.append(f"`{self.scene.foreground.command}` ended with exit code {code}: {last[-400:]}")
        self._bad_exits += 1
        if self._bad_exits >= MOST_RESUMES:
            return False
        self._resume()
        return True

    def _strike(self, fault: Fault) -> None:
        before = self.scene.trials()
        self._remember(before)
        running = [number for number, record in before.items() if not has_ended(record)]
        self._struck.append(running)
        try:
            what = fault.inject(self.scene)
        except MissedError:
            self._done.append(Injection(fault.kind))
            return
        self._pending.append(_Pending(fault.kind, what, time.monotonic(), running, self.scene.reports()))
        if fault.code is not None:
            self._await_end(fault)
        self._remember(self.scene.trials())

    def _await_end(self, fault: Fault) -> None:
        """Wait for the foreground process to end as the fault has it, and resume."""
        try:
            code = self.scene.foreground.process.wait(LAST_BREATH_S)
        except Exception:
            self.violations.append(f"{fault.kind}: the foreground process did not end within {LAST_BREATH_S:.0f} s")
            self.place.end_all()
            code = self.scene.foreground.process.wait()
        if code == 0:  # it had just finished
            return
        if code != fault.code:
            self.violations.append(f"{fault.kind}: exit code {code}, not {fault.code}")
        if code == INTERRUPTED:
            self.violations += [f"{fault.kind}: {left}" for left in self._left_behind()]
        if code == KILLED and self.rng.random() < 0.5:
            self._clean()
        self._resume()

    def _clean(self) -> None:
        """Run `swell clean` before `swell resume`: at once, which must hurt nobody, or when nothing runs any more."""
        deadline = time.monotonic() + self.rng.choice([0.0, CLEAN_AFTER_S])
        while self.place.ours() and time.monotonic() < deadline:
            time.sleep(0.2)
        runs_on = bool(self.place.ours())
        cleaned = self.place.swell("clean")
        self._commands.append(cleaned)
        if cleaned.poll() != 0:
            self.violations.append(f"`swell clean` ended with exit code {cleaned.poll()}")
        if not runs_on:
            left = invariants.left_scratch(self.place.scratch, self._planted)
            self.violations += [f"after swell clean: {one}" for one in left]

    def _reach_the_end(self) -> bool:
        deadline = time.monotonic() + END_PATIENCE_S
        while time.monotonic() < deadline:
            if not self._watch(0.5):
                break
        else:
            self.violations.append(f"the search did not end within {END_PATIENCE_S:.0f} s")
            return False
        return self.scene.foreground.poll() == 0

    # -- invariants -----------------------------------------------------------------------------------------------

    def _remember(self, trials: Mapping[int, TrialRecord]) -> None:
        self.violations += invariants.changed(self._seen, trials) if trials else []
        self._seen.update(trials)

    def _left_behind(self) -> list[str]:
        """Return what is left of processes and scratch after a search that ended by itself."""
        left = invariants.left_processes(self.place.ours())
        return left + invariants.left_scratch(self.place.scratch, self._planted)

    def _check(self, reference: Mapping[int, Row] | None, finished: bool) -> dict[int, Row]:
        self.violations += self._left_behind()
        self.violations += self._planted.differences()
        if finished:
            for command in (["table", self.name, "--format", "csv"], ["status", self.name]):
                done = self.place.swell(*command)
                self._commands.append(done)
                if done.poll() != 0:
                    self.violations.append(f"`{done.command}` ended with exit code {done.poll()}")
        for command in self._commands:
            self.violations += invariants.printed_problems(command.command, command.text())
        trials = self.scene.trials()
        if not trials:
            self.violations.append("the journal cannot be read")
            return {}
        rows = invariants.table(trials)
        if finished:
            self.violations += invariants.changed(self._seen, trials)
            self.violations += invariants.numbered(trials.values(), NUM_TRIALS)
            self.violations += invariants.left_unfinished(self.scene.paths)
            self.violations += invariants.history_problems(self.scene.paths, trials, STEPS)
            self.violations += invariants.differing(rows, reference) if reference is not None else []
        return rows

    def output(self) -> list[Path]:
        """Return the files of what the commands printed."""
        return [command.output for command in self._commands]
