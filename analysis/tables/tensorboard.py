"""Writes a trial's history as a run of TensorBoard's: the only module that knows its files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.tables.cells import Cell

RUN_FILE = "events.out.tfevents.0000000000.swell"
"""TensorBoard reads what has `tfevents` in its name; without time and host in it, a second export replaces it."""
_VERSION = "brain.Event:2"


@dataclass(frozen=True)
class Run:
    """A trial's history as TensorBoard shows it."""

    hparams: Mapping[str, Cell]
    results: Mapping[str, float]
    """What the table of hyperparameters shows beside them: the trial's objectives."""
    began_at: float
    """When the trial began, in seconds since 1970; 0 if that is not known."""
    steps: Sequence[int]
    seconds: Sequence[float]
    """When each step was reported, since the trial began."""
    metrics: Mapping[str, Sequence[Cell]]
    """The values of each metric at those steps; what is no number is left out."""

    def write(self, path: Path) -> None:
        """Write the run to a file."""
        from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]  # made at run time
        from tensorboardX.record_writer import RecordWriter
        from tensorboardX.summary import hparams, scalar

        writer = RecordWriter(str(path))
        try:

            def put(step: int, seconds: float, summary: Any) -> None:
                event = Event(wall_time=self.began_at + seconds, step=step, summary=summary)
                writer.write(event.SerializeToString())

            writer.write(Event(wall_time=self.began_at, file_version=_VERSION).SerializeToString())
            for summary in hparams(dict(self.hparams), dict(self.results)):
                put(0, 0.0, summary)
            for row, (step, seconds) in enumerate(zip(self.steps, self.seconds, strict=True)):
                for name, values in self.metrics.items():
                    value = values[row]
                    if isinstance(value, int | float) and not isinstance(value, bool):
                        put(step, seconds, scalar(name, value))
            last = (self.steps[-1], self.seconds[-1]) if self.steps else (0, 0.0)
            for name, value in self.results.items():
                if name not in self.metrics:
                    put(*last, scalar(name, value))
        finally:
            writer.close()
