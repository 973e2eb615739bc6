"""Records of an earlier version hold the defaults of then: they stay what they were, however many fields came since."""

import json
from pathlib import Path

import pytest

from trainables._shared.checkpoint import Checkpoint
from trainables._shared.discovery import load_config_type

EARLIER = json.loads(Path(__file__).parents[1].joinpath("golden", "earlier_configs.json").read_text())
"""By method, `Config()` as it was when there was no `init_from`, `scored_on`, `data_seed` or `base_point` yet."""


@pytest.mark.parametrize("name", EARLIER)
def test_a_training_goes_on_from_a_checkpoint_of_an_earlier_version(name):
    config_type = load_config_type(name)
    config = config_type.of_values(config_type.recorded(EARLIER[name]))
    Checkpoint(Path("old.npz"), {"config": EARLIER[name]}, {}).require_config(config)
