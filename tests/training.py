"""Trainings of the small method, on programs that the tests share."""

import functools

from tests.methods.ripple.method import Config, Ripple, method
from trainables._shared.contract import Phase
from trainables._shared.datasets import DatasetStore
from trainables._shared.program import Program
from trainables._shared.training import Training


@functools.cache
def program_of(of, trouble, size):
    """Return a program for all configs that differ only in how long they train and when they report."""
    return Program(of, Config(trouble=trouble, size=size))


def begin(config=None, of=method, program=None):
    config = config or Config()
    program = program or program_of(of, config.trouble, config.size)
    return Training(program, config, of.data(config, DatasetStore()))


def to_the_end(training):
    reports = [training.advance()]
    while not reports[-1].ending:
        reports.append(training.advance())
    return reports


class TwoPhases(Ripple):
    """25 steps at the config's learning rate, then 12 at twenty times it."""

    def phases(self, config):
        return [Phase(25, config.learning_rate), Phase(12, config.learning_rate * 20)]

    def data(self, config, store):
        data = super().data(config, store)
        return data._replace(phases=[*data.phases, *data.phases])


TWO_PHASES = TwoPhases()
