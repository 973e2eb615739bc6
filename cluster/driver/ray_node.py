"""A further node's part of a driver's Ray: `ray start --block`, which ends with the process that started it.

Run as `python -P -m cluster.driver.ray_node PARENT OPTION...`, the options being those of `ray start`.
"""

import sys

from cluster.driver.ray_head import loopback_is_meant
from cluster.machine.processes import follow


def main(argv: list[str]) -> None:
    """Run Ray's own command in this process."""
    follow(int(argv[0]))
    from ray.scripts.scripts import main as ray

    sys.argv = ["ray", "start", "--block", *argv[1:]]
    with loopback_is_meant():  # if all nodes are on one machine
        ray()


if __name__ == "__main__":
    main(sys.argv[1:])
