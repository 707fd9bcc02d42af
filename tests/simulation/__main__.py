"""Replay one seed and print what happens: `python -m tests.simulation SEED`."""

import sys

from tests.simulation.invariants import broken
from tests.simulation.world import World


def main(seed: int) -> int:
    world = World(seed, verbose=True)
    world.run()
    found = broken(world)
    for line in found:
        print("BROKEN", line)
    print(dict(world.notes.hazards))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
