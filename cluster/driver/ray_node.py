"""A further node's part of a driver's Ray: `ray start --block`, which ends with the process that started it.

Run as `python -P -m cluster.driver.ray_node PARENT WORKERS OPTION...`: so many workers get ready in advance, and the
options are those of `ray start`.
"""

import sys

from cluster.driver.ray_head import lean_node, loopback_is_meant
from cluster.machine.processes import follow


def main(argv: list[str]) -> None:
    """Run Ray's own command in this process."""
    follow(int(argv[0]))
    from ray.scripts.scripts import main as ray

    sys.argv = ["ray", "start", "--block", *argv[2:]]
    with loopback_is_meant(), lean_node(int(argv[1])):  # the first if all nodes are on one machine
        ray()


if __name__ == "__main__":
    main(sys.argv[1:])
