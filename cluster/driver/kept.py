"""Which trials' checkpoints and models stay on the disk."""

from collections import Counter

from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.records import TrialRecord, ranked_trials
from cluster.study.study import SearchStudy


class Kept:
    """Deletes all but the best few trials' checkpoints and models, by the spec's `keep`: a long search stays small.

    What a driver that was killed had told but not yet deleted goes when this is made.
    """

    def __init__(self, study: SearchStudy, paths: SearchPaths) -> None:
        self._spec = study.spec
        self._paths = paths
        self._kept: list[TrialRecord] = []
        self._num_ended: Counter[int] = Counter()
        self._counted: set[int] = set()
        with_models = {int(file.name[6:12]) for file in paths.checkpoints.glob("trial-??????-*.npz")}
        for record in study.records():
            if not record.is_open:
                self._counted.add(record.number)
                self._num_ended[record.configuration] += 1
            if self._may_stay(record) and paths.checkpoint(record.number).exists():
                self._kept.append(record)
            elif not record.is_open and self._spec.keep.checkpoints != "all":
                self._delete(record.number, models=record.number in with_models)
        if self._spec.keep.checkpoints != "all":
            self._drop()

    def after(self, record: TrialRecord) -> None:
        """Take a trial into account that has ended, if it has."""
        if self._spec.keep.checkpoints == "all" or record.is_open or record.number in self._counted:
            return
        self._counted.add(record.number)
        self._num_ended[record.configuration] += 1
        if self._may_stay(record):
            self._kept.append(record)
        else:
            self._delete(record.number)
        self._drop()

    def _may_stay(self, record: TrialRecord) -> bool:
        return record.outcome is Outcome.COMPLETED and self._spec.keep.checkpoints != "none"

    def _delete(self, number: int, *, models: bool = True) -> None:
        self._paths.checkpoint(number).unlink(missing_ok=True)
        if models and self._spec.keep.further_models:
            for step in self._paths.kept_steps(number):
                self._paths.model(number, step).unlink(missing_ok=True)

    def _drop(self) -> None:
        """Delete the worst checkpoints beyond the spec's number; a set of seeds is judged once all of it has ended."""
        judged = [record for record in self._kept if self._num_ended[record.configuration] == len(self._spec.seeds)]
        if len(judged) <= self._spec.keep.top:
            return
        for record in ranked_trials(self._spec, judged)[self._spec.keep.top :]:
            self._kept.remove(record)
            self._delete(record.number)
