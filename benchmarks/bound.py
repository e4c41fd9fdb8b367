"""What images of one conformation tell at best: refinement from the true map.

python benchmarks/bound.py DATA [--iterations 4] [--threads 1]

DATA is a folder that `multicryogan simulate` wrote of a single state. The true map,
nothing taken away, is refined as `multicryogan refine` does, in two halves, over all
shells. This ends in the maximum of the likelihood that lies nearest the truth: no start
leads to a better map by this program, and one that looks better has seen the truth.
For each iteration: the shells through which the halves agree (0.143) and the map meets
the truth (0.5), without a break, the area of that curve, and the log-likelihood of
images that neither half sees, beside that under the true map.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor

from multicryogan.config import RefineConfig, RunConfig
from multicryogan.errors import InputError
from multicryogan.evaluation import fsc, fsc_area
from multicryogan.inference import Manifold
from multicryogan.inference.refine import open_work
from multicryogan.inference.refinement import State
from multicryogan.io import read_particles
from multicryogan.rng import Shard
from multicryogan.synthetic import read_truth
from multicryogan.training import open_stage


def main() -> None:
    """Refine the true map and print how well it keeps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--iterations", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    truth = read_truth(options.data)
    if len(truth.maps) != 1:
        raise InputError(f"{options.data}: give data of a single state")
    stack = read_particles(options.data / "particles.star")
    stage = open_stage(RunConfig(), stack, 1, stack.box, Shard(), "cpu")
    work = open_work(stage, RunConfig(), RefineConfig(start_shell=stack.box // 2))
    one = Manifold.separate(truth.maps, torch.full((1, 1), 0.5), torch.ones(1))
    state = work.begin(one)
    at_truth = work.held_out(state.manifold, work.last_shell)
    print(f"true map: held out {at_truth:.3f} nats an image", flush=True)
    for _ in range(options.iterations):
        start = time.monotonic()
        state = work.step(state)
        line = describe(state, truth.maps[0])
        print(f"{line}; {time.monotonic() - start:.0f} s", flush=True)


def describe(state: State, truth: Tensor) -> str:
    """Say in a line how near the truth the last iteration is."""
    record = state.history[-1]
    curve = fsc(state.manifold.volumes[0], truth)
    half = torch.tensor(record["agreement"][0])
    return (
        f"iteration {state.iteration}: halves agree through shell "
        f"{through(half, 0.143)}, truth through shell {through(curve, 0.5)}, area "
        f"{fsc_area(curve):.3f}, held out {record['held_out']:.3f}"
    )


def through(curve: Tensor, least: float) -> int:
    """Find the last shell before a curve falls below a level; shell 0 is not shown."""
    below = (curve[1:] < least).nonzero()
    return int(below[0]) if len(below) else len(curve) - 1


if __name__ == "__main__":
    main()
