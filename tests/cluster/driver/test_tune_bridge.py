"""Ray Tune as the driver uses it, in a process of its own, which Tune fills with a thousand modules."""

import subprocess
import sys

CHECKED = """
import sys
from cluster.driver import tune_bridge as bridge

own = bridge.tune_controller.RayActorManager
counted = bridge.usage.tag_callbacks
with bridge.lean_tune():
    assert bridge.tune_controller.RayActorManager is bridge._PlainActors
    resources = bridge.tune_controller.PlacementGroupResourceManager()
    request = bridge.tune.PlacementGroupFactory([{"CPU": 64, "GPU": 8}])
    resources.request_resources(request)
    assert resources.has_resources_ready(request)
    bridge.usage.tag_callbacks([bridge.WaveCallback(print)])
assert (bridge.tune_controller.RayActorManager, bridge.usage.tag_callbacks) == (own, counted)
print(sorted({"wandb", "jax", "torch"} & set(sys.modules)))
"""


def test_tune_neither_imports_wandb_nor_reserves_anything():
    done = subprocess.run([sys.executable, "-c", CHECKED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
